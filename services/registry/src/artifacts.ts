/** Everything that is published besides pipelines, and which version of anything is in force (F-100, F-102). */
import { canonicalJson } from "@rspp/base/canonical-json";
import { err, ok, type Result } from "@rspp/base/result";
import type { SpecProblem } from "@rspp/spec/problem";
import { type PublishedDocument, type PublishedKind, parsePublished } from "@rspp/spec/published/documents";
import type { Rollout } from "@rspp/spec/rollout/rollout";
import { versionsOf } from "@rspp/spec/rollout/rollout";
import { PLATFORM_TENANT } from "@rspp/store/active-versions";
import type { ArtifactStore, RollbackOutcome } from "@rspp/store/artifact-store";
import type { ArtifactKind, PipelineStore } from "@rspp/store/pipeline-store";
import type { SpecFinding, WallClock } from "./ports.ts";
import { createRolloutFreeze, type FrozenRefusal, type RolloutFreeze } from "./rollout-freeze.ts";
import { findingOf } from "./spec-check.ts";
import { immutable, type Published, type PublishRefusal } from "./versions.ts";

export interface PublishDocumentAsk {
  readonly tenantId: string;
  /** Undefined: the one the text says. */
  readonly kind?: PublishedKind;
  /** 0: the next. */
  readonly version: number;
  readonly author: string;
  readonly note: string;
  readonly source: string;
  readonly sourceFormat: "yaml" | "json";
  readonly validateOnly: boolean;
  readonly keepActive: boolean;
  /** Why a rollout passes a freeze; default empty: it does not. */
  readonly overrideFreeze?: string;
}

export type ParseDocument = (
  text: string,
  fileName: string,
  kind?: PublishedKind,
) => Result<PublishedDocument, SpecProblem[]>;

export interface ArtifactsPorts {
  readonly pipelines: PipelineStore;
  readonly artifacts: ArtifactStore;
  readonly clock: WallClock;
  /** Default: nothing is ever frozen. */
  readonly freeze?: RolloutFreeze;
  /** Default {@link parsePublished}. */
  readonly parse?: ParseDocument;
}

export interface Artifacts extends Pick<ArtifactStore, "active" | "read" | "withdraw"> {
  rollback(ask: Parameters<ArtifactStore["rollback"]>[0]): Promise<RollbackOutcome | FrozenRefusal>;
  publish(ask: PublishDocumentAsk): Promise<Result<Published, PublishRefusal>>;
  /** Newest first. */
  list: PipelineStore["list"];
}

export function createArtifacts(ports: ArtifactsPorts): Artifacts {
  const { pipelines, artifacts, clock, parse = parsePublished } = ports;
  const freeze = ports.freeze ?? createRolloutFreeze(artifacts, null);
  return {
    publish: async (ask) => {
      const read = parse(ask.source, `document.${ask.sourceFormat}`, ask.kind);
      if (!read.ok) return err({ kind: "invalid", findings: read.error.map((problem) => findingOf(problem)) });
      const document = read.value;
      const missing = await missingVersions(artifacts, ask.tenantId, document);
      if (missing.length > 0) return err({ kind: "invalid", findings: missing });
      if (ask.validateOnly) return ok({ kind: "valid", name: document.name, warnings: [] });
      const { tenantId, version, author, note, sourceFormat, keepActive, overrideFreeze = "" } = ask;
      const { kind, content } = document;
      // What does not come into force gives nobody anything.
      const frozen =
        kind === "rollout" && !keepActive
          ? await freeze({ tenantId, next: content.rollout as Rollout, override: overrideFreeze })
          : { warnings: [] };
      if (frozen.refusal !== undefined) return err(frozen.refusal);
      const outcome = await pipelines.publish({
        tenantId,
        kind: document.kind,
        name: document.name,
        version: version === 0 ? null : version,
        author,
        publishedWallMs: clock.wallMs(),
        note,
        content: new TextEncoder().encode(canonicalJson(document.content)),
        source: new TextEncoder().encode(ask.source),
        sourceFormat,
        keepActive,
        ...(frozen.audit === undefined ? {} : { auditDetail: frozen.audit }),
      });
      if (outcome.kind === "immutable") return err(immutable(outcome.existing, outcome.offeredDigest));
      return ok({ ...outcome, warnings: frozen.warnings });
    },
    list: (ask) => pipelines.list(ask),
    active: (ask) => artifacts.active(ask),
    read: (tenantId: string, kind: ArtifactKind, name: string, version: number) =>
      artifacts.read(tenantId, kind, name, version),
    rollback: async (ask) => (await forward(artifacts, freeze, ask)) ?? artifacts.rollback(ask),
    withdraw: (ask) => artifacts.withdraw(ask),
  };
}

/** The way back is never frozen; the same call with a newer version of a rollout is as a publication of it. */
async function forward(
  artifacts: ArtifactStore,
  freeze: RolloutFreeze,
  { tenantId, kind, name, version }: Parameters<ArtifactStore["rollback"]>[0],
): Promise<FrozenRefusal | undefined> {
  if (kind !== "rollout" || version === 0) return undefined;
  const active = await artifacts.active({ tenantId, kinds: [kind] });
  const own = active.find((one) => one.tenantId === tenantId && one.name === name);
  if (own !== undefined && version <= own.version) return undefined;
  const target = await artifacts.read(tenantId, kind, name, version);
  if (target === undefined) return undefined;
  const { rollout } = JSON.parse(new TextDecoder().decode(target.content)) as { rollout: Rollout };
  return (await freeze({ tenantId, next: rollout, override: "" })).refusal;
}

/** A rollout sends nobody to a version that is not there. */
async function missingVersions(
  store: ArtifactStore,
  tenantId: string,
  { kind, name, content }: PublishedDocument,
): Promise<readonly SpecFinding[]> {
  if (kind !== "rollout") return [];
  const findings: SpecFinding[] = [];
  for (const version of versionsOf(content.rollout as Rollout)) {
    const own = await store.info(tenantId, "pipeline", name, version);
    if (own !== undefined || (await store.info(PLATFORM_TENANT, "pipeline", name, version)) !== undefined) continue;
    const message = `${name}@${version} is not published`;
    const remedy = `publish it first (rspp pipelines ${name} lists what is), or name another version`;
    findings.push({ severity: "error", path: "rollout", line: 1, column: 1, message, remedy });
  }
  return findings;
}
