/** Moves of live sessions and drains of instances (F-096, F-106), with their audit. */
import { and, eq, gt, inArray, ne, sql } from "drizzle-orm";
import { PLATFORM_TENANT } from "./active-versions.ts";
import type { Database, Tx } from "./database.ts";
import { appendAudit } from "./pg-audit-store.ts";
import { type Chosen, choose, lockPlaces } from "./pg-placement.ts";
import { instanceDrains as d, instances as i, sessionMoves as m, sessions as t } from "./schema.ts";
import { ofSession, rowOf, stateNumbers } from "./session-rows.ts";
import type {
  DrainAsk,
  Instance,
  InstanceOrders,
  Placement,
  ReassignAsk,
  ReassignOutcome,
  SessionStore,
} from "./session-store.ts";
import type { SessionKey } from "./state-store.ts";

type Row = typeof t.$inferSelect;

const drainModes: readonly DrainAsk["mode"][] = ["finish", "migrate"];
const migrateMax = 256;
/** Runtimes that lost a session, of which it is remembered. */
const lostMax = 16;

export function pgMoves(
  db: Database,
): Pick<SessionStore, "reassign" | "askMigration" | "drain" | "undrain" | "orders"> {
  return {
    reassign: (ask) => db.transaction((tx) => reassign(tx, ask)),
    askMigration: (session, { actor, atWallMs, reason }) =>
      db.transaction(async (tx) => {
        const live = and(ofSession(session), ne(t.state, stateNumbers.ended));
        const [row] = await tx.update(t).set({ migrateWantedWallMs: atWallMs }).where(live).returning();
        if (row === undefined) return undefined;
        const { tenantId, sessionId } = session;
        const detail = { instance: row.instanceId, reason };
        await appendAudit(tx, {
          tenantId,
          atWallMs,
          actor,
          action: "migrate",
          subject: `session/${sessionId}`,
          detail,
        });
        return row.instanceId;
      }),
    drain: (ask) => db.transaction((tx) => drain(tx, ask)),
    undrain: (instanceId, { actor, atWallMs }) =>
      db.transaction(async (tx) => {
        const gone = await tx.delete(d).where(eq(d.instanceId, instanceId)).returning();
        if (gone.length === 0) return false;
        await noteInstance(tx, { instanceId, actor, atWallMs, action: "undrain", detail: {} });
        return true;
      }),
    orders: (instanceId) => db.transaction((tx) => orders(tx, instanceId)),
  };
}

async function reassign(tx: Tx, ask: ReassignAsk): Promise<ReassignOutcome> {
  const { tenantId, sessionId } = ask.session;
  const before = await answered(tx, ask);
  if (before !== undefined) return before;
  await lockPlaces(tx);
  // Once more: who asked under the same key at the same time has answered by now.
  const meanwhile = await answered(tx, ask);
  if (meanwhile !== undefined) return meanwhile;
  const [row] = await tx.select().from(t).where(ofSession(ask.session)).for("update");
  if (row === undefined) return { kind: "not_found" };
  // What was only concluded to have ended is taken back by an adapter that still holds the caller.
  if (row.state === stateNumbers.ended && row.endReason === "") return { kind: "ended" };
  if (row.instanceId !== ask.fromInstanceId) return moved(tx, ask, row);
  const chosen = await chooseFor(tx, ask, row);
  if ("reason" in chosen) return { kind: "no_instance", reason: chosen.reason };
  const placed = await settle(tx, ask, row, chosen);
  const { fromInstanceId: from, reason, actor, nowWallMs: atWallMs } = ask;
  const detail = {
    from,
    to: chosen.instanceId,
    reason,
    placement_number: placed.placement.placementNumber,
    ...ask.detail,
  };
  await appendAudit(tx, { tenantId, atWallMs, actor, action: "reassign", subject: `session/${sessionId}`, detail });
  return placed;
}

/** Where it never was lost; else where it was and all is well again, since a call that no runtime takes is over. */
async function chooseFor(tx: Tx, ask: ReassignAsk, row: Row) {
  const { tenantId } = ask.session;
  const region = ask.region || row.region;
  const not = [...ask.avoidInstanceIds, row.instanceId];
  const where = { ...ask, tenantId, region, transport: row.transport, endpoint: false };
  const { chosen } = await choose(tx, { ...where, avoid: [...row.lostInstances, ...not] });
  if (!("reason" in chosen) || row.lostInstances.length === 0) return chosen;
  const sick = await tx
    .select({ id: i.instanceId })
    .from(i)
    .where(and(inArray(i.instanceId, row.lostInstances), gt(i.suspectUntilWallMs, ask.nowWallMs)));
  const back = await choose(tx, { ...where, avoid: [...sick.map(({ id }) => id), ...not] });
  return "reason" in back.chosen ? chosen : back.chosen;
}

async function answered(tx: Tx, { session, requestKey, requestDigest }: ReassignAsk) {
  const { tenantId, sessionId } = session;
  const [move] = await tx
    .select()
    .from(m)
    .where(and(eq(m.tenantId, tenantId), eq(m.sessionId, sessionId), eq(m.requestKey, requestKey)));
  if (move === undefined) return undefined;
  if (move.requestDigest !== requestDigest) return { kind: "key_reused" } as const;
  const [row] = await tx.select().from(t).where(ofSession(session));
  if (row === undefined) return { kind: "not_found" } as const;
  return { kind: "unchanged", row: rowOf(row), placement: move.placement } as const;
}

/** It is elsewhere already: somebody else moved it, or the asker is mistaken. */
async function moved(tx: Tx, ask: ReassignAsk, row: Row): Promise<ReassignOutcome> {
  const wasThere = row.lostInstances.includes(ask.fromInstanceId) || row.predecessorInstanceId === ask.fromInstanceId;
  if (!wasThere) return { kind: "not_there", instanceId: row.instanceId };
  const [instance] = await tx.select().from(i).where(eq(i.instanceId, row.instanceId));
  const { instanceId, region, placementNumber, placedWallMs, predecessorInstanceId } = row;
  const address = instance?.address ?? "";
  const placement = { instanceId, address, region, placementNumber, placedWallMs, predecessorInstanceId };
  return { kind: "unchanged", row: rowOf(row), placement };
}

async function settle(tx: Tx, ask: ReassignAsk, row: Row, chosen: Chosen) {
  const { instanceId, address, region } = chosen;
  const { reason, nowWallMs, fromInstanceId } = ask;
  const lost = reason === "runtime_lost" || reason === "region_sick";
  const lostInstances = lost ? [...row.lostInstances, fromInstanceId].slice(-lostMax) : row.lostInstances;
  const placementNumber = row.placementNumber + 1;
  const [after] = await tx
    .update(t)
    .set({
      instanceId,
      region,
      predecessorInstanceId: fromInstanceId,
      placementNumber,
      placedWallMs: nowWallMs,
      lostInstances,
      migrateWantedWallMs: 0,
      lostSinceWallMs: 0,
      ...(row.state === stateNumbers.ended ? { state: stateNumbers.active, endedWallMs: 0, endReason: "" } : {}),
    })
    .where(ofSession(ask.session))
    .returning();
  if (reason === "runtime_lost") {
    const until = nowWallMs + ask.suspectMs;
    await tx.update(i).set({ suspectUntilWallMs: until }).where(eq(i.instanceId, fromInstanceId));
  }
  const placement: Placement = {
    instanceId,
    address,
    region,
    placementNumber,
    predecessorInstanceId: fromInstanceId,
    placedWallMs: nowWallMs,
  };
  const { requestKey, requestDigest, session } = ask;
  await tx.insert(m).values({ ...session, requestKey, requestDigest, placement, movedWallMs: nowWallMs });
  return { kind: "placed", row: rowOf(after ?? row), placement } as const;
}

async function drain(tx: Tx, ask: DrainAsk): Promise<{ instance: Instance; sessions: number } | undefined> {
  const { instanceId, mode, deadlineWallMs, reason, actor, atWallMs } = ask;
  const [found] = await tx.select().from(i).where(eq(i.instanceId, instanceId));
  if (found === undefined) return undefined;
  const values = {
    instanceId,
    mode: drainModes.indexOf(mode) + 1,
    deadlineWallMs,
    reason,
    askedBy: actor,
    askedWallMs: atWallMs,
  };
  await tx.insert(d).values(values).onConflictDoUpdate({ target: d.instanceId, set: values });
  const here = and(eq(t.instanceId, instanceId), ne(t.state, stateNumbers.ended));
  const [held] = await tx.select({ sessions: sql<number>`count(*)::integer` }).from(t).where(here);
  const detail = { mode, deadline_wall_ms: deadlineWallMs, reason };
  await noteInstance(tx, { instanceId, actor, atWallMs, action: "drain", detail });
  const { suspectUntilWallMs: _until, ...instance } = found;
  return { instance: { ...instance, draining: true }, sessions: held?.sessions ?? 0 };
}

/** Instances belong to nobody but the platform. */
function noteInstance(
  tx: Tx,
  of: { instanceId: string; actor: string; atWallMs: number; action: string; detail: Record<string, unknown> },
): Promise<void> {
  const { instanceId, ...entry } = of;
  return appendAudit(tx, { ...entry, tenantId: PLATFORM_TENANT, subject: `instance/${instanceId}` });
}

/** One statement: it is asked with every report of every instance. */
async function orders(tx: Tx, instanceId: string): Promise<InstanceOrders> {
  const { rows } = await tx.execute<{ drain: InstanceOrders["drain"]; migrate: SessionKey[] }>(sql`
    SELECT (
      SELECT json_build_object('mode', CASE ${d.mode} WHEN 2 THEN 'migrate' ELSE 'finish' END,
        'deadlineWallMs', ${d.deadlineWallMs}, 'reason', ${d.reason})
      FROM ${d} WHERE ${d.instanceId} = ${instanceId}
    ) AS drain, (
      SELECT coalesce(json_agg(json_build_object('tenantId', w.tenant_id, 'sessionId', w.session_id)), '[]')
      FROM (
        SELECT ${t.tenantId}, ${t.sessionId} FROM ${t}
        WHERE ${t.instanceId} = ${instanceId} AND ${t.state} <> ${stateNumbers.ended} AND ${t.migrateWantedWallMs} > 0
        ORDER BY ${t.migrateWantedWallMs} LIMIT ${migrateMax}
      ) w
    ) AS migrate`);
  return { drain: rows[0]?.drain ?? null, migrate: rows[0]?.migrate ?? [] };
}
