/** Calls of ArtifactService. */

import { canonicalJson } from "@rspp/base/canonical-json";
import type { ArtifactService } from "@rspp/gen/rspp/registry/v1/artifact_service_pb";
import { ArtifactKind } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { fieldError, overStore } from "@rspp/host/store-failure";
import { actorOf, setAudited } from "@rspp/rpc/caller";
import type { route } from "@rspp/rpc/route";
import type { PublishedKind } from "@rspp/spec/published/documents";
import type { TenantConfig } from "@rspp/spec/tenant/tenant-config";
import { PLATFORM_TENANT } from "@rspp/store/active-versions";
import type { ArtifactKind as KindName, VersionInfo } from "@rspp/store/pipeline-store";
import type { Artifacts } from "./artifacts.ts";
import type { WallClock } from "./ports.ts";
import { artifactNotFound, domain, frozenError, publishError, rollbackError } from "./refusals.ts";
import { pageOf, sourceOf } from "./requests.ts";
import type { Published, Versions } from "./versions.ts";
import { bytesOf, findingToWire, kindOfWire, pointerToWire, versionToWire } from "./wire.ts";

interface ArtifactLogic {
  readonly versions: Versions;
  readonly artifacts: Artifacts;
  readonly configOf: (tenantId: string) => Promise<TenantConfig>;
  readonly clock: WallClock;
}

export function artifactCalls(logic: ArtifactLogic) {
  const { artifacts, configOf } = logic;
  return {
    publishArtifact: (ask, { values }) =>
      overStore(domain, async () => {
        const { tenantId, version, note, validateOnly, keepActive, overrideFreeze } = ask;
        const common = {
          tenantId,
          version,
          note,
          validateOnly,
          keepActive,
          overrideFreeze,
          author: actorOf(values, ask.author),
        };
        const published = await publish(logic, ask.kind, { ...common, ...sourceOf(ask) });
        if (!published.ok) throw publishError(published.error);
        if (published.value.kind === "published") setAudited(values);
        return publishedToWire(published.value);
      }),
    getArtifact: ({ tenantId, kind, name, version }) =>
      overStore(domain, async () => {
        const of = nameOf(kind);
        const found = await artifacts.read(tenantId, of, name, version);
        if (found === undefined) throw artifactNotFound(of, name, version);
        const { source, sourceFormat, content } = found;
        const active = await activeKeys(artifacts, found.tenantId, [of]);
        return {
          version: versionToWire(found, active.has(keyOf(found))),
          tenantId: found.tenantId,
          source: new Uint8Array(source),
          sourceFormat,
          content: new Uint8Array(content),
        };
      }),
    listArtifacts: ({ tenantId, kind, name, page }) =>
      overStore(domain, async () => {
        const of = nameOf(kind);
        const ask = { tenantId, kind: of, ...pageOf(page), ...(name === "" ? {} : { name }) };
        const { versions, next } = await artifacts.list(ask);
        const active = await activeKeys(artifacts, tenantId, [of]);
        const told = versions.map((version) => versionToWire(version, active.has(keyOf(version))));
        return { versions: told, nextPageToken: next ?? "" };
      }),
    listActiveArtifacts: ({ tenantId, kinds }) =>
      overStore(domain, async () => {
        const found = await artifacts.active({ tenantId, kinds: kinds.map(nameOf) });
        return {
          tenantConfig: configText(await configOf(tenantId)),
          artifacts: found.map((one) => ({
            artifact: pointerToWire(one),
            digest: bytesOf(one.digest),
            changedWallMs: BigInt(one.changedWallMs),
            changedBy: one.changedBy,
            inherited: one.tenantId !== tenantId && one.tenantId === PLATFORM_TENANT,
          })),
        };
      }),
    ...changes(logic),
  } satisfies Parameters<typeof route<typeof ArtifactService>>[1];
}

function changes({ artifacts, clock }: ArtifactLogic) {
  return {
    rollbackArtifact: ({ tenantId, kind, name, version, actor, reason }, { values }) =>
      overStore(domain, async () => {
        const by = { actor: actorOf(values, actor), atWallMs: clock.wallMs(), reason };
        const ask = { tenantId, kind: nameOf(kind), name, version, ...by };
        const done = await artifacts.rollback(ask);
        if (done.kind === "rollout_frozen") throw frozenError(done);
        if (done.kind !== "rolled_back") throw rollbackError(done, ask);
        setAudited(values);
        const { fromVersion, rolloutWithdrawn } = done;
        return { version: versionToWire(done.version, true), fromVersion, rolloutWithdrawn };
      }),
    withdrawArtifact: ({ tenantId, kind, name, actor, reason }, { values }) =>
      overStore(domain, async () => {
        const by = { actor: actorOf(values, actor), atWallMs: clock.wallMs(), reason };
        const fromVersion = await artifacts.withdraw({ tenantId, kind: nameOf(kind), name, ...by });
        if (fromVersion === 0) throw artifactNotFound(nameOf(kind), name, 0);
        setAudited(values);
        return { fromVersion };
      }),
  } satisfies Parameters<typeof route<typeof ArtifactService>>[1];
}

type Ask = Parameters<Versions["publish"]>[0] & { readonly keepActive: boolean; readonly overrideFreeze: string };

/** A pipeline goes the way of pipelines, whose changes are compared. */
function publish({ versions, artifacts }: ArtifactLogic, kind: ArtifactKind, ask: Ask) {
  if (kind === ArtifactKind.PIPELINE) return versions.publish(ask);
  if (kind === ArtifactKind.UNSPECIFIED) return artifacts.publish(ask);
  if (kind === ArtifactKind.PROFILE) {
    const message = "profiles are a part of the build: none is published";
    throw fieldError(domain, { field: "kind", rule: "kind", message });
  }
  return artifacts.publish({ ...ask, kind: nameOf(kind) as PublishedKind });
}

export function publishedToWire(value: Published) {
  const warnings = value.warnings.map(findingToWire);
  if (value.kind === "valid") return { warnings };
  const { activated } = value;
  return {
    version: versionToWire(value.version, activated),
    unchanged: value.kind === "unchanged",
    warnings,
    activated,
  };
}

/** Empty where nothing is said of the tenant. */
function configText(config: TenantConfig): string {
  const said = Object.entries(config).filter(([, fields]) => Object.keys(fields ?? {}).length > 0);
  return said.length === 0 ? "" : canonicalJson(Object.fromEntries(said));
}

/** The contract refuses kinds it does not know. */
function nameOf(kind: ArtifactKind): KindName {
  const name = kindOfWire(kind);
  if (name === undefined)
    throw fieldError(domain, { field: "kind", rule: "kind", message: "is no kind of this build" });
  return name;
}

export const keyOf = ({ tenantId, kind, name, version }: Pick<VersionInfo, "tenantId" | "kind" | "name" | "version">) =>
  JSON.stringify([tenantId, kind, name, version]);

/** Versions in force. */
export async function activeKeys(
  artifacts: Artifacts,
  tenantId: string,
  kinds: readonly KindName[],
): Promise<Set<string>> {
  return new Set((await artifacts.active({ tenantId, kinds })).map(keyOf));
}
