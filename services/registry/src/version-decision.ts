/** Which version a session gets, why, and what its tenant may use (F-093, F-102): read once, before it is placed. */
import { decideRollout } from "@rspp/spec/rollout/decide";
import type { Rollout } from "@rspp/spec/rollout/rollout";
import { overPlatform, sessionLimitsOf, type TenantConfig } from "@rspp/spec/tenant/tenant-config";
import { PLATFORM_TENANT } from "@rspp/store/active-versions";
import type { ArtifactStore, InForce } from "@rspp/store/artifact-store";
import type { PipelineStore, VersionInfo } from "@rspp/store/pipeline-store";
import type { ArtifactPointer, RouteLimits, SessionDecision, SessionRow } from "@rspp/store/session-store";

export interface DecisionAsk {
  readonly tenantId: string;
  readonly pipelineName: string;
  /** 0: by rollout, else the one in force. */
  readonly pipelineVersion: number;
  readonly sessionId: string;
  readonly variables: Readonly<Record<string, string>>;
}

export interface Decided {
  readonly pipeline: SessionRow["pipeline"];
  readonly decision: SessionDecision;
  readonly limits: RouteLimits;
}

/** Undefined: no such version, or none in force. StoreErrors go through. */
export type DecideVersion = (ask: DecisionAsk) => Promise<Decided | undefined>;

export interface DecisionPorts {
  readonly artifacts: ArtifactStore;
  readonly pipelines: PipelineStore;
}

/** What is kept of immutable versions; past it everything is read anew. */
const keptMax = 1_024;
/** Versions looked through for one that is not deprecated. */
const versionsLookedAt = 100;
/** Of one decision, as the contracts have it. */
const inForceMax = 64;

interface Picked {
  readonly version: VersionInfo;
  readonly source: NonNullable<SessionDecision["source"]>;
  readonly rollout?: { readonly of: InForce; readonly bucket: number };
}

export function createVersionDecision(ports: DecisionPorts): DecideVersion {
  const infos = new Kept<VersionInfo>();
  const contents = new Kept<unknown>();
  /** What a version says never changes, only whether it is deprecated, which is not asked here. */
  const info = async (tenantId: string, name: string, version: number): Promise<VersionInfo | undefined> => {
    const key = JSON.stringify([tenantId, name, version]);
    const known = infos.get(key);
    if (known !== undefined) return known;
    const found = await ports.artifacts.info(tenantId, "pipeline", name, version);
    if (found !== undefined) infos.put(key, found);
    return found;
  };
  /** The tenant's own of that number, else the platform's: the store gives no number to both. */
  const effective = async (tenantId: string, name: string, version: number): Promise<VersionInfo | undefined> =>
    (await info(tenantId, name, version)) ?? info(PLATFORM_TENANT, name, version);
  const contentOf = <T>(of: InForce | undefined, field: string): T | null => {
    if (of === undefined) return null;
    const known = contents.get(of.digest) ?? JSON.parse(new TextDecoder().decode(of.content));
    contents.put(of.digest, known);
    return (known as Record<string, T>)[field] ?? null;
  };
  const pick = async (ask: DecisionAsk, found: readonly InForce[]): Promise<Picked | undefined> => {
    const { tenantId, pipelineName: name, pipelineVersion } = ask;
    if (pipelineVersion !== 0) {
      const version = await effective(tenantId, name, pipelineVersion);
      return version && { version, source: "requested" };
    }
    const of = (kind: string, owner: string) =>
      found.find((one) => one.kind === kind && one.tenantId === owner && one.name === name);
    for (const owner of [tenantId, PLATFORM_TENANT]) {
      const rollout = of("rollout", owner);
      const rules = contentOf<Rollout>(rollout, "rollout");
      if (rollout !== undefined && rules !== null) {
        const { version: wanted, source, bucket } = decideRollout(rules, ask);
        const version = owner === tenantId ? await effective(owner, name, wanted) : await info(owner, name, wanted);
        return version && { version, source, rollout: { of: rollout, bucket } };
      }
      const active = of("pipeline", owner);
      if (active !== undefined && !active.deprecated) {
        const version = await info(owner, name, active.version);
        return version && { version, source: "active" };
      }
      if (active !== undefined) return newest(ports.pipelines, owner, name);
    }
    return undefined;
  };
  return async (ask) => {
    const found = await ports.artifacts.inForce(ask.tenantId, ask.pipelineName);
    const picked = await pick(ask, found);
    if (picked === undefined) return undefined;
    const config = (owner: string) =>
      contentOf<TenantConfig>(
        found.find(({ kind, tenantId }) => kind === "tenant_config" && tenantId === owner),
        "config",
      );
    const { version, source, rollout } = picked;
    const decision: SessionDecision = {
      source,
      ownerTenantId: version.tenantId,
      ...(rollout === undefined ? {} : { rollout: pointerOf(rollout.of), bucket: rollout.bucket }),
      inForce: inForceOf(found),
    };
    return {
      pipeline: { name: version.name, version: version.version, digest: version.digest },
      decision,
      limits: sessionLimitsOf(overPlatform(config(ask.tenantId), config(PLATFORM_TENANT))),
    };
  };
}

/** The tenant's configuration that holds, apart from a route: its own over the platform's. */
export function createTenantConfigs(artifacts: ArtifactStore): (tenantId: string) => Promise<TenantConfig> {
  return async (tenantId) => {
    const found = await artifacts.inForce(tenantId, "");
    const config = (owner: string): TenantConfig | null => {
      const one = found.find((of) => of.kind === "tenant_config" && of.tenantId === owner);
      if (one === undefined) return null;
      return (JSON.parse(new TextDecoder().decode(one.content)) as { config: TenantConfig }).config;
    };
    return overPlatform(config(tenantId), config(PLATFORM_TENANT));
  };
}

/** In force, but deprecated since: nobody said what is to follow, so the newest that is not. */
async function newest(store: PipelineStore, tenantId: string, name: string): Promise<Picked | undefined> {
  const { versions } = await store.list({ tenantId, kind: "pipeline", name, limit: versionsLookedAt });
  const version = versions.find(({ deprecated }) => !deprecated);
  return version && { version, source: "newest" };
}

const pointerOf = ({ kind, tenantId, name, version }: InForce): ArtifactPointer => ({ kind, tenantId, name, version });

/** Policies and configurations that hold for the tenant: its own over the platform's of the same name (F-102). */
function inForceOf(found: readonly InForce[]): ArtifactPointer[] {
  const holding = new Map<string, ArtifactPointer>();
  for (const one of found) {
    if (one.kind === "pipeline" || one.kind === "rollout") continue;
    const key = `${one.kind}/${one.name}`;
    if (one.tenantId !== PLATFORM_TENANT || !holding.has(key)) holding.set(key, pointerOf(one));
  }
  return [...holding.entries()]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([, pointer]) => pointer)
    .slice(0, inForceMax);
}

class Kept<T> {
  readonly #kept = new Map<string, T>();

  get(key: string): T | undefined {
    return this.#kept.get(key);
  }

  put(key: string, value: T): void {
    if (this.#kept.size >= keptMax && !this.#kept.has(key)) this.#kept.clear();
    this.#kept.set(key, value);
  }
}
