import { err, ok, type Result } from "@rspp/base/result";
import { majorOf } from "@rspp/spec/breaking";
import { readNodePackage } from "@rspp/spec/published/node-package";
import { PLATFORM_TENANT } from "@rspp/store/active-versions";
import type { PipelineStore, StoredVersion, VersionInfo, VersionPage } from "@rspp/store/pipeline-store";
import type { CheckedSpec, SpecFinding, WallClock } from "./ports.ts";
import type { FrozenRefusal } from "./rollout-freeze.ts";
import { contractOf } from "./spec-check.ts";

export interface PublishAsk {
  readonly tenantId: string;
  /** 0: the next. */
  readonly version: number;
  readonly author: string;
  readonly note: string;
  /** As written; kept with its comments. */
  readonly source: string;
  readonly sourceFormat: "yaml" | "json";
  /** True: check, publish nothing. */
  readonly validateOnly: boolean;
  /** True: the version in force stays. Default false. */
  readonly keepActive?: boolean;
}

export type PublishRefusal =
  | FrozenRefusal
  | { readonly kind: "invalid"; readonly findings: readonly SpecFinding[] }
  /** F-015: names both hashes, so that the author sees which bytes stand and which were offered. */
  | {
      readonly kind: "version_immutable";
      readonly existing: VersionInfo;
      readonly offeredDigest: string;
      readonly message: string;
      readonly remedy: string;
    };

export type Published =
  | {
      readonly kind: "published" | "unchanged";
      readonly version: VersionInfo;
      /** In force from now on. */
      readonly activated: boolean;
      readonly warnings: readonly SpecFinding[];
    }
  | { readonly kind: "valid"; readonly name: string; readonly warnings: readonly SpecFinding[] };

/** Immutable pipeline versions (F-015, F-092). What the store rejects with (StoreError) goes through. */
export interface Versions {
  publish(ask: PublishAsk): Promise<Result<Published, PublishRefusal>>;
  /** `version` 0: the newest of the tenant's own. A version the tenant has not is the platform's of that number. */
  get(tenantId: string, name: string, version: number): Promise<StoredVersion | undefined>;
  list(ask: { tenantId: string; name?: string; limit: number; after?: string | null }): Promise<VersionPage>;
  setDeprecated(tenantId: string, name: string, version: number, deprecated: boolean, actor: string): Promise<boolean>;
}

export interface VersionsPorts {
  readonly store: PipelineStore;
  readonly clock: WallClock;
  readonly check: (source: string, fileName: string) => Result<CheckedSpec, SpecFinding[]>;
}

const kind = "pipeline";

/** Versions looked through for the newest of a MAJOR. */
const versionsLookedAt = 64;

export function createVersions({ store, clock, check }: VersionsPorts): Versions {
  /**
   * F-028, NF-010: within one MAJOR nothing may break what the newest version of that MAJOR offers. A version that stands
   * already is not compared: the store refuses other bytes for it, or finds that nothing changes.
   */
  const breaksOf = async ({ tenantId, version }: PublishAsk, checked: CheckedSpec): Promise<readonly SpecFinding[]> => {
    const { name, major } = checked;
    if (version !== 0 && (await store.get(tenantId, kind, name, version)) !== undefined) return [];
    let found = await store.get(tenantId, kind, name, 0);
    for (let looked = 1; found !== undefined && looked < versionsLookedAt; looked++) {
      if (contractMajor(found.content) === major)
        return checked.breakingSince(found.content, `${name}@${found.version}`);
      found = found.version > 1 ? await olderOf(tenantId, name, found.version) : undefined;
    }
    return [];
  };
  /** The newest version before that one; numbers may have gaps. */
  const olderOf = async (tenantId: string, name: string, before: number): Promise<StoredVersion | undefined> => {
    const { versions } = await store.list({ tenantId, kind, name, limit: versionsLookedAt });
    const older = versions.find(({ version }) => version < before);
    return older === undefined ? undefined : store.get(tenantId, kind, name, older.version);
  };
  return {
    publish: async (ask) => {
      const checked = check(ask.source, `pipeline.${ask.sourceFormat}`);
      if (!checked.ok) return err({ kind: "invalid", findings: checked.error });
      const { name, normalised } = checked.value;
      const breaks = await breaksOf(ask, checked.value);
      if (breaks.length > 0) return err({ kind: "invalid", findings: breaks });
      const pinned = await pins(store, ask.tenantId, checked.value.packages);
      const warnings = [...checked.value.warnings, ...pinned.warnings];
      if (ask.validateOnly) return ok({ kind: "valid", name, warnings });
      const outcome = await store.publish({
        tenantId: ask.tenantId,
        kind,
        name,
        version: ask.version === 0 ? null : ask.version,
        author: ask.author,
        publishedWallMs: clock.wallMs(),
        note: ask.note,
        content: normalised(pinned.packages),
        source: new TextEncoder().encode(ask.source),
        sourceFormat: ask.sourceFormat,
        keepActive: ask.keepActive ?? false,
      });
      if (outcome.kind === "immutable") return err(immutable(outcome.existing, outcome.offeredDigest));
      return ok({ ...outcome, warnings });
    },
    get: async (tenantId, name, version) =>
      (await store.get(tenantId, kind, name, version)) ?? store.get(PLATFORM_TENANT, kind, name, version),
    list: (ask) => store.list({ ...ask, kind }),
    setDeprecated: (tenantId, name, version, deprecated, actor) =>
      store.setDeprecated({ tenantId, kind, name, version }, deprecated, { actor, atWallMs: clock.wallMs() }),
  };
}

/**
 * F-121: the package's own version is looked up among what is published under its name, the tenant's before the platform's,
 * and its digest frozen with the pipeline: whatever a folder holds later, this version runs these bytes or none.
 */
async function pins(
  store: PipelineStore,
  tenantId: string,
  named: CheckedSpec["packages"],
): Promise<{ packages: Record<string, string>; warnings: readonly SpecFinding[] }> {
  const packages: Record<string, string> = {};
  const warnings: SpecFinding[] = [];
  for (const { name, path } of named) {
    if (packages[name] !== undefined) continue;
    const digest =
      (await publishedDigest(store, tenantId, name)) ?? (await publishedDigest(store, PLATFORM_TENANT, name));
    if (digest !== undefined) {
      packages[name] = digest;
      continue;
    }
    const message = `package ${name} is not published: which bytes run under that name is not pinned`;
    const remedy = "publish the folder of the package first (rspp publish FOLDER), then the pipeline";
    warnings.push({ severity: "warning", path, line: 1, column: 1, message, remedy });
  }
  return { packages, warnings };
}

async function publishedDigest(store: PipelineStore, tenantId: string, wanted: string): Promise<string | undefined> {
  const at = wanted.lastIndexOf("@");
  const [name, version] = [wanted.slice(0, at), wanted.slice(at + 1)];
  const { versions } = await store.list({ tenantId, kind: "node_package", name, limit: versionsLookedAt });
  for (const { version: number } of versions) {
    const found = await store.get(tenantId, "node_package", name, number);
    const read = found === undefined ? null : readNodePackage(found.content);
    if (read?.version === version) return read.sha256;
  }
  return undefined;
}

function contractMajor(content: Uint8Array): string | null {
  const contract = contractOf(content);
  return contract === null ? null : majorOf(contract.version);
}

export function immutable(existing: VersionInfo, offeredDigest: string): PublishRefusal {
  const at = `${existing.name}@${existing.version}`;
  return {
    kind: "version_immutable",
    existing,
    offeredDigest,
    message: `${at} was published with sha256 ${existing.digest}; these bytes have sha256 ${offeredDigest}`,
    remedy: `Publish them as the next version (leave the version out), or publish the bytes of ${at} unchanged`,
  };
}
