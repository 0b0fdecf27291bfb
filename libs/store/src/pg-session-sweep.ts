/** What becomes of sessions nobody tells of any more. */
import { sql } from "drizzle-orm";
import { PLATFORM_TENANT } from "./active-versions.ts";
import type { Database, Tx } from "./database.ts";
import { appendAudit } from "./pg-audit-store.ts";
import { instanceDrains as d, instances as i, sessionMoves as m, sessions as t } from "./schema.ts";
import { holdsPlace, stateNumbers } from "./session-rows.ts";
import type { SessionStore, SessionsKept, SweepAsk, SweepOutcome } from "./session-store.ts";

/** Of one sweep; the next one goes on. */
const sweepMax = 1_000;
const tenantsMax = 4_096;
const ended = stateNumbers.ended;

export function pgSessionSweep(db: Database): Pick<SessionStore, "sweepSessions" | "liveByTenant"> {
  return {
    sweepSessions: async (ask) => {
      const unopened = await db.transaction((tx) => endUnopened(tx, ask));
      const { lost, endedLost } = await db.transaction((tx) => lose(tx, ask));
      const purged = await db.transaction((tx) => purge(tx, ask));
      return { unopened, lost, endedLost, purged } satisfies SweepOutcome;
    },
    liveByTenant: (nowWallMs, reserveGraceMs) =>
      db.transaction(async (tx) => {
        const rows = await tx
          .select({ tenantId: t.tenantId, live: sql<number>`count(*)::integer` })
          .from(t)
          .where(holdsPlace(nowWallMs, reserveGraceMs))
          .groupBy(t.tenantId)
          .limit(tenantsMax);
        return new Map(rows.map(({ tenantId, live }) => [tenantId, live]));
      }),
  };
}

/** Rows are taken in one order, and those that somebody else holds are left for the next time. */
const some = (which: ReturnType<typeof sql>) => sql`(${t.tenantId}, ${t.sessionId}) IN (
  SELECT tenant_id, session_id FROM ${t} WHERE ${which} ORDER BY tenant_id, session_id LIMIT ${sweepMax}
  FOR UPDATE SKIP LOCKED)`;

async function endUnopened(tx: Tx, { nowWallMs, reserveGraceMs }: SweepAsk): Promise<number> {
  const which = sql`${t.state} <> ${ended} AND NOT (${holdsPlace(nowWallMs, reserveGraceMs)})`;
  const set = { state: ended, endReason: "unopened", endedWallMs: nowWallMs };
  return (await tx.update(t).set(set).where(some(which)).returning({ id: t.sessionId })).length;
}

async function lose(tx: Tx, ask: SweepAsk): Promise<{ lost: number; endedLost: number }> {
  const { nowWallMs, aliveSinceWallMs, markLost, lostEndMs } = ask;
  const there = sql`EXISTS (SELECT FROM ${i} WHERE ${i.instanceId} = ${t.instanceId}
    AND ${i.reportedWallMs} >= ${aliveSinceWallMs})`;
  // One that is back has its sessions, until it says otherwise.
  await tx
    .update(t)
    .set({ lostSinceWallMs: 0 })
    .where(some(sql`${t.state} <> ${ended} AND ${t.lostSinceWallMs} > 0 AND ${there}`));
  if (!markLost) return { lost: 0, endedLost: 0 };
  const since = sql`${t.state} <> ${ended} AND ${t.lostSinceWallMs} > 0 AND ${t.lostSinceWallMs} <= ${nowWallMs - lostEndMs}`;
  const over = await tx
    .update(t)
    .set({ state: ended, endReason: "lost", endedWallMs: nowWallMs })
    .where(some(since))
    .returning({ id: t.sessionId });
  // A moment for a session that has just been placed.
  const silent = sql`${t.state} <> ${ended} AND ${t.lostSinceWallMs} = 0 AND ${t.asOfWallMs} > 0
    AND ${t.placedWallMs} < ${aliveSinceWallMs} AND NOT ${there}`;
  const marked = await tx
    .update(t)
    .set({ lostSinceWallMs: nowWallMs })
    .where(some(silent))
    .returning({ id: t.sessionId });
  return { lost: marked.length, endedLost: over.length };
}

async function purge(tx: Tx, ask: SweepAsk): Promise<number> {
  const { nowWallMs, keepEndedMs, aliveSinceWallMs, kept = [] } = ask;
  const platform = kept.find(({ tenantId }) => tenantId === PLATFORM_TENANT);
  const own = kept.filter((one) => one !== platform);
  const named = sql.param(own.map(({ tenantId }) => tenantId));
  const befores = sql.param(own.map(({ keepMs }) => nowWallMs - keepMs));
  const before = sql`coalesce((SELECT k.before FROM unnest(${named}::text[], ${befores}::bigint[]) AS k(tenant_id, before)
    WHERE k.tenant_id = ${t.tenantId}), ${nowWallMs - (platform?.keepMs ?? keepEndedMs)}::bigint)`;
  // None is younger than the shortest: for which there is an index.
  const shortestMs = Math.min(platform?.keepMs ?? keepEndedMs, ...own.map(({ keepMs }) => keepMs));
  const old = sql`${t.state} = ${ended} AND ${t.endedWallMs} < ${nowWallMs - shortestMs} AND ${t.endedWallMs} < ${before}`;
  const gone = await tx.delete(t).where(some(old)).returning({ tenantId: t.tenantId, sessionId: t.sessionId });
  if (gone.length > 0) {
    const tenants = sql.param(gone.map(({ tenantId }) => tenantId));
    const ids = sql.param(gone.map(({ sessionId }) => sessionId));
    await tx.execute(sql`DELETE FROM ${m} USING unnest(${tenants}::text[], ${ids}::text[]) AS g(tenant_id, session_id)
      WHERE ${m.tenantId} = g.tenant_id AND ${m.sessionId} = g.session_id`);
  }
  for (const one of kept) await noteExpired(tx, one, own, gone, ask);
  // A drain outlives its instance by as much, for one that comes back under its name.
  await tx.execute(sql`DELETE FROM ${d} WHERE ${d.askedWallMs} < ${aliveSinceWallMs - keepEndedMs}
    AND NOT EXISTS (SELECT FROM ${i} WHERE ${i.instanceId} = ${d.instanceId})`);
  return gone.length;
}

/** F-116: what a policy removed stands in the audit log, tenant by tenant, in the transaction that removed it. */
async function noteExpired(
  tx: Tx,
  { tenantId, keepMs, reason }: SessionsKept,
  own: readonly SessionsKept[],
  gone: readonly { readonly tenantId: string; readonly sessionId: string }[],
  { nowWallMs }: SweepAsk,
): Promise<void> {
  const counts = new Map<string, number>();
  for (const one of gone) {
    const governed =
      tenantId === PLATFORM_TENANT ? own.every((other) => other.tenantId !== one.tenantId) : one.tenantId === tenantId;
    if (governed) counts.set(one.tenantId, (counts.get(one.tenantId) ?? 0) + 1);
  }
  for (const [of, sessions] of counts) {
    await appendAudit(tx, {
      tenantId: of,
      atWallMs: nowWallMs,
      actor: "registry",
      action: "retention.expire",
      subject: "sessions",
      detail: { ...reason, before_wall_ms: nowWallMs - keepMs, sessions },
    });
  }
}
