import { and, desc, eq, inArray, lt, or, sql } from "drizzle-orm";
import {
  activeVersion,
  hasRollout,
  lockName,
  type NameOf,
  noteVersion,
  PLATFORM_TENANT,
  setActive,
} from "./active-versions.ts";
import type { ActiveVersion, ArtifactStore, ChangeAsk, RollbackOutcome } from "./artifact-store.ts";
import type { Database, Tx } from "./database.ts";
import { infoColumns, infoOf } from "./pg-pipeline-store.ts";
import type { ArtifactKind, VersionInfo } from "./pipeline-store.ts";
import { activeVersions as a, publishedVersions as v } from "./schema.ts";

const activeMax = 4_096;
/** Of what decides over one session. */
const inForceMax = 128;

const activeColumns = {
  tenantId: a.tenantId,
  kind: a.kind,
  name: a.name,
  version: a.version,
  digest: v.digest,
  deprecated: v.deprecated,
  changedWallMs: a.changedWallMs,
  changedBy: a.changedBy,
};
const joined = and(
  eq(v.tenantId, a.tenantId),
  eq(v.kind, a.kind),
  eq(v.name, a.name),
  // A withdrawn one has version 0, which nobody published.
  eq(v.version, a.version),
);

const identity = ({ tenantId, kind, name }: NameOf) =>
  and(eq(v.tenantId, tenantId), eq(v.kind, kind), eq(v.name, name));

type Row = Omit<ActiveVersion, "digest" | "kind"> & { digest: Uint8Array; kind: string };
function activeOf<R extends Row>(row: R): Omit<R, "digest" | "kind"> & { digest: string; kind: ArtifactKind } {
  return { ...row, kind: row.kind as ArtifactKind, digest: Buffer.from(row.digest).toString("hex") };
}

export function pgArtifactStore(db: Database): ArtifactStore {
  return {
    active: ({ tenantId, kinds = [] }) => db.transaction((tx) => active(tx, tenantId, kinds)),
    inForce: (tenantId, pipelineName) => db.transaction((tx) => inForce(tx, tenantId, pipelineName)),
    info: (tenantId, kind, name, version) =>
      db.transaction(async (tx) => {
        const [row] = await tx
          .select(infoColumns)
          .from(v)
          .where(and(identity({ tenantId, kind, name }), eq(v.version, version)));
        return row && infoOf(row);
      }),
    read: (tenantId, kind, name, version) => db.transaction((tx) => read(tx, { tenantId, kind, name }, version)),
    rollback: (ask) => db.transaction((tx) => rollback(tx, ask)),
    withdraw: (ask) =>
      db.transaction(async (tx) => {
        await lockName(tx, ask);
        return withdraw(tx, ask);
      }),
  };
}

async function active(tx: Tx, tenantId: string, kinds: readonly ArtifactKind[]): Promise<readonly ActiveVersion[]> {
  const rows = await tx
    .selectDistinctOn([a.kind, a.name], activeColumns)
    .from(a)
    .innerJoin(v, joined)
    .where(
      and(inArray(a.tenantId, [tenantId, PLATFORM_TENANT]), kinds.length > 0 ? inArray(a.kind, [...kinds]) : undefined),
    )
    .orderBy(a.kind, a.name, sql`${a.tenantId} = ${PLATFORM_TENANT}`)
    .limit(activeMax);
  return rows.map(activeOf);
}

const deciding: readonly ArtifactKind[] = ["policy", "provider_config", "tenant_config"];

async function inForce(tx: Tx, tenantId: string, pipelineName: string) {
  const named = and(inArray(a.kind, ["pipeline", "rollout"]), eq(a.name, pipelineName));
  const content = sql<Uint8Array>`CASE WHEN ${a.kind} IN ('rollout', 'tenant_config') THEN ${v.content} ELSE '' END`;
  const rows = await tx
    .select({ ...activeColumns, content })
    .from(a)
    .innerJoin(v, joined)
    .where(and(inArray(a.tenantId, [tenantId, PLATFORM_TENANT]), or(inArray(a.kind, [...deciding]), named)))
    .limit(inForceMax);
  return rows.map(activeOf);
}

async function read(tx: Tx, of: NameOf, version: number) {
  const own = sql`(${v.tenantId} = ${PLATFORM_TENANT})`;
  const anywhere = and(inArray(v.tenantId, [of.tenantId, PLATFORM_TENANT]), eq(v.kind, of.kind), eq(v.name, of.name));
  if (version !== 0) {
    const rows = await tx
      .select()
      .from(v)
      .where(and(anywhere, eq(v.version, version)))
      .orderBy(own)
      .limit(1);
    return rows[0] && infoOf(rows[0]);
  }
  const rows = await tx
    .select({ row: v })
    .from(v)
    .leftJoin(a, joined)
    .where(anywhere)
    .orderBy(sql`(${a.version} IS NULL)`, own, desc(v.version))
    .limit(1);
  return rows[0] && infoOf(rows[0].row);
}

async function rollback(tx: Tx, ask: ChangeAsk & { readonly version: number }): Promise<RollbackOutcome> {
  await lockName(tx, ask);
  const fromVersion = (await activeVersion(tx, ask)) ?? 0;
  const target = await targetOf(tx, ask, fromVersion);
  if (target === undefined) {
    return ask.version === 0 && fromVersion > 0
      ? { kind: "nothing_older", activeVersion: fromVersion }
      : { kind: "not_found" };
  }
  if (target.deprecated) return { kind: "deprecated", version: target.version };
  const { tenantId, name, reason } = ask;
  await setActive(tx, target, ask);
  const rolloutWithdrawn = ask.kind === "pipeline" && (await hasRollout(tx, ask));
  if (rolloutWithdrawn) await withdraw(tx, { ...ask, tenantId, kind: "rollout", name });
  await noteVersion(tx, target, "rollback", ask, { from_version: fromVersion, reason });
  return { kind: "rolled_back", version: target, fromVersion, rolloutWithdrawn };
}

async function targetOf(
  tx: Tx,
  ask: ChangeAsk & { readonly version: number },
  fromVersion: number,
): Promise<VersionInfo | undefined> {
  const wanted =
    ask.version === 0 ? and(lt(v.version, fromVersion), eq(v.deprecated, false)) : eq(v.version, ask.version);
  const [row] = await tx
    .select(infoColumns)
    .from(v)
    .where(and(identity(ask), wanted))
    .orderBy(desc(v.version))
    .limit(1);
  return row && infoOf(row);
}

/** Under the lock on the name it was asked for; a rollout goes with its pipeline, whose name it bears. */
async function withdraw(tx: Tx, ask: ChangeAsk): Promise<number> {
  const version = (await activeVersion(tx, ask)) ?? 0;
  if (version === 0) return 0;
  const { tenantId, kind, name, reason } = ask;
  await setActive(tx, { tenantId, kind, name, version: 0 }, ask);
  await noteVersion(tx, { tenantId, kind, name, version, digest: "" }, "withdraw", ask, { reason });
  return version;
}
