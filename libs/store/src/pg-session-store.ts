import { and, asc, desc, eq, inArray, lt, sql } from "drizzle-orm";
import type { Database, Tx } from "./database.ts";
import { checkLimit, pagePosition, pageToken } from "./page.ts";
import { pgMoves } from "./pg-moves.ts";
import { route } from "./pg-route.ts";
import { pgSessionSweep } from "./pg-session-sweep.ts";
import { instanceDrains as d, instances as i, sessions as t } from "./schema.ts";
import { ofSession, rowOf, stateNumbers } from "./session-rows.ts";
import type { SessionStore, StatusReport } from "./session-store.ts";
import { StoreError } from "./store-error.ts";

const ended = stateNumbers.ended;
const endpointsMax = 16;
const reportsMax = 1_000;

export function pgSessionStore(db: Database): SessionStore {
  return {
    route: (ask) => db.transaction((tx) => route(tx, ask)),
    reportMany: (statuses) => reportMany(db, statuses),
    get: (session) =>
      db.transaction(async (tx) => {
        const [row] = await tx.select().from(t).where(ofSession(session));
        return row && rowOf(row);
      }),
    list: (ask) => list(db, ask),
    ...pgMoves(db),
    ...pgSessionSweep(db),
    reportInstance: (instance) => {
      if (Object.keys(instance.endpoints).length > endpointsMax) {
        throw new StoreError("invalid", `An instance has at most ${endpointsMax} endpoints`, "Name fewer");
      }
      const values = { ...instance, endpoints: { ...instance.endpoints } };
      return db.transaction(async (tx) => {
        await tx
          .insert(i)
          .values(values)
          .onConflictDoUpdate({
            target: i.instanceId,
            set: values,
            setWhere: sql`${i.reportedWallMs} <= excluded.reported_wall_ms`,
          });
      });
    },
    loseInstance: (instanceId, reportedWallMs) =>
      db.transaction(async (tx) => {
        const same = and(eq(i.instanceId, instanceId), eq(i.reportedWallMs, reportedWallMs));
        await tx.update(i).set({ ready: false }).where(same);
      }),
    instances: (limit) => {
      if (limit < 1 || limit > 4_096)
        throw new StoreError("invalid", "A view holds 1 to 4096 instances", "Ask for fewer");
      return db.transaction(async (tx) => {
        const rows = await tx
          .select({ instance: i, drained: d.instanceId })
          .from(i)
          .leftJoin(d, eq(d.instanceId, i.instanceId))
          .orderBy(asc(i.instanceId))
          .limit(limit);
        return rows.map(({ instance: { suspectUntilWallMs: _until, ...instance }, drained }) => ({
          ...instance,
          draining: instance.draining || drained !== null,
        }));
      });
    },
    forgetInstances: (before) =>
      db.transaction(async (tx) => (await tx.delete(i).where(lt(i.reportedWallMs, before)).returning()).length),
  };
}

/** A statement each for reports on different sessions, which is one for all that a runtime sends. */
async function reportMany(db: Database, statuses: readonly StatusReport[]): Promise<readonly boolean[]> {
  if (statuses.length > reportsMax) {
    throw new StoreError("invalid", `There are at most ${reportsMax} reports at once`, "Send fewer");
  }
  const taken = statuses.map(() => false);
  let left = [...statuses.keys()];
  while (left.length > 0) {
    const now = new Map<string, number>();
    const again: number[] = [];
    for (const at of left) {
      const session = statuses[at]?.session;
      const key = JSON.stringify([session?.tenantId, session?.sessionId]);
      if (now.has(key)) again.push(at);
      else now.set(key, at);
    }
    const places = [...now.values()];
    const reports = places.flatMap((at) => statuses[at] ?? []);
    for (const nth of await db.transaction((tx) => report(tx, reports))) taken[places[nth] ?? 0] = true;
    left = again;
  }
  return taken;
}

/** @returns the places of those that were taken. Rows are locked in one order: two batches never wait for each other. */
async function report(tx: Tx, reports: readonly StatusReport[]): Promise<number[]> {
  const column = <T>(of: (status: StatusReport) => T) => sql.param(reports.map(of));
  const { rows } = await tx.execute<{ at: number }>(sql`
    WITH told AS (
      SELECT * FROM unnest(
        ${column(({ session }) => session.tenantId)}::text[], ${column(({ session }) => session.sessionId)}::text[],
        ${column(({ instanceId }) => instanceId)}::text[], ${column(({ state }) => stateNumbers[state])}::smallint[],
        ${column(({ reconnecting }) => reconnecting)}::boolean[], ${column(({ degraded }) => degraded)}::boolean[],
        ${column(({ authorityEpoch }) => authorityEpoch)}::bigint[],
        ${column(({ startedWallMs }) => startedWallMs)}::bigint[], ${column(({ turns }) => turns)}::integer[],
        ${column(({ openTurnNumber }) => openTurnNumber)}::integer[],
        ${column(({ recordingLevel }) => recordingLevel)}::smallint[],
        ${column(({ asOfWallMs }) => asOfWallMs)}::bigint[]
      ) WITH ORDINALITY AS f(tenant_id, session_id, instance_id, state, reconnecting, degraded, authority_epoch,
        started_wall_ms, turns, open_turn_number, recording_level, as_of_wall_ms, at)
    ), held AS (
      SELECT s.tenant_id, s.session_id FROM ${t} s JOIN told USING (tenant_id, session_id)
      ORDER BY s.tenant_id, s.session_id FOR UPDATE OF s
    )
    UPDATE ${t} s SET instance_id = n.instance_id, state = n.state, reconnecting = n.reconnecting,
      degraded = n.degraded, authority_epoch = n.authority_epoch, started_wall_ms = n.started_wall_ms, turns = n.turns,
      open_turn_number = n.open_turn_number, recording_level = n.recording_level, as_of_wall_ms = n.as_of_wall_ms,
      lost_since_wall_ms = 0, end_reason = '', ended_wall_ms = CASE WHEN n.state = ${ended} THEN n.as_of_wall_ms ELSE 0 END
    FROM told n JOIN held USING (tenant_id, session_id)
    WHERE s.tenant_id = n.tenant_id AND s.session_id = n.session_id
      -- An end that was only concluded is taken back.
      AND (s.state <> ${ended} OR s.end_reason <> '')
      -- What a holder of before says late never hides what its successor said, nor that it was placed elsewhere.
      AND (s.authority_epoch, s.as_of_wall_ms) <= (n.authority_epoch, n.as_of_wall_ms)
      AND (s.instance_id = n.instance_id
        OR (s.authority_epoch < n.authority_epoch AND n.instance_id <> ALL(s.lost_instances)))
    RETURNING n.at::integer AS at`);
  return rows.map(({ at }) => at - 1);
}

async function list(db: Database, ask: Parameters<SessionStore["list"]>[0]) {
  checkLimit(ask.limit);
  const position = ask.after ? pagePosition(ask.after, ["number", "string"]) : undefined;
  const states = (ask.states ?? []).map((name) => stateNumbers[name]);
  const rows = await db.transaction((tx) =>
    tx
      .select()
      .from(t)
      .where(
        and(
          eq(t.tenantId, ask.tenantId),
          states.length > 0 ? inArray(t.state, states) : undefined,
          position && sql`(${t.routedWallMs}, ${t.sessionId}) < (${position[0]}::bigint, ${position[1]})`,
        ),
      )
      .orderBy(desc(t.routedWallMs), desc(t.sessionId))
      .limit(ask.limit + 1),
  );
  const sessions = rows.slice(0, ask.limit).map(rowOf);
  const last = sessions.at(-1);
  const more = rows.length > ask.limit && last !== undefined;
  return { sessions, next: more ? pageToken([last.routedWallMs, last.session.sessionId]) : null };
}
