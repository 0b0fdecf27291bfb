import { and, asc, desc, eq, inArray, lt, type SQL, sql } from "drizzle-orm";
import type { Database, Tx } from "./database.ts";
import { checkLimit, pagePosition, pageToken } from "./page.ts";
import { instances as i, sessions as t } from "./schema.ts";
import type {
  RouteAsk,
  RouteOutcome,
  SessionRow,
  SessionStateName,
  SessionStore,
  StatusReport,
} from "./session-store.ts";
import type { SessionKey } from "./state-store.ts";
import { StoreError } from "./store-error.ts";

const stateNumbers: Readonly<Record<SessionStateName, number>> = { connecting: 1, active: 2, draining: 3, ended: 4 };
const stateNames: readonly SessionStateName[] = ["connecting", "active", "draining", "ended"];
const ended = stateNumbers.ended;
const endpointsMax = 16;
const reportsMax = 1_000;

const ofSession = ({ tenantId, sessionId }: SessionKey) => and(eq(t.tenantId, tenantId), eq(t.sessionId, sessionId));

function rowOf(row: typeof t.$inferSelect): SessionRow {
  const {
    tenantId,
    sessionId,
    pipelineName,
    pipelineVersion,
    pipelineDigest,
    requestKey: _k,
    requestDigest: _d,
    ...rest
  } = row;
  return {
    ...rest,
    session: { tenantId, sessionId },
    pipeline: { name: pipelineName, version: pipelineVersion, digest: Buffer.from(pipelineDigest).toString("hex") },
    state: stateNames[row.state - 1] ?? "ended",
  };
}

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
      return db.transaction((tx) => tx.select().from(i).orderBy(asc(i.instanceId)).limit(limit));
    },
    forgetInstances: (before) =>
      db.transaction(async (tx) => (await tx.delete(i).where(lt(i.reportedWallMs, before)).returning()).length),
  };
}

async function route(tx: Tx, ask: RouteAsk): Promise<RouteOutcome> {
  const { tenantId, sessionId } = ask.session;
  await tx.execute(
    sql`SELECT pg_advisory_xact_lock(hashtextextended(${JSON.stringify([tenantId, ask.requestKey])}, 92))`,
  );
  const [before] = await tx
    .select()
    .from(t)
    .where(and(eq(t.tenantId, tenantId), eq(t.requestKey, ask.requestKey)));
  if (before !== undefined) {
    return before.requestDigest === ask.requestDigest
      ? { kind: "repeated", row: rowOf(before) }
      : { kind: "key_reused" };
  }
  const chosen = await choose(tx, ask);
  if ("reason" in chosen) return { kind: "no_instance", reason: chosen.reason };
  const [row] = await tx
    .insert(t)
    .values({
      tenantId,
      sessionId,
      requestKey: ask.requestKey,
      requestDigest: ask.requestDigest,
      pipelineName: ask.pipeline.name,
      pipelineVersion: ask.pipeline.version,
      pipelineDigest: Buffer.from(ask.pipeline.digest, "hex"),
      transport: ask.transport,
      instanceId: chosen.instanceId,
      endpointUrl: chosen.url,
      region: chosen.region,
      tokenId: ask.tokenId,
      routedWallMs: ask.nowWallMs,
      routeExpiresWallMs: ask.routeExpiresWallMs,
      state: stateNumbers.connecting,
    })
    .onConflictDoNothing({ target: [t.tenantId, t.sessionId] })
    .returning();
  return row === undefined ? { kind: "session_exists" } : { kind: "routed", row: rowOf(row) };
}

type Candidate = {
  readonly instanceId: string;
  readonly url: string;
  readonly region: string;
  readonly full: boolean;
};

const runtimeRole = "runtime";

/** Instances that tell of themselves, may take sessions, and their load with what is on its way to them. */
function candidates(ask: RouteAsk, isTheirs: SQL) {
  return sql`
    SELECT ${i.instanceId} AS id, ${i.region} AS region, ${i.address} AS address,
      ${i.capacitySessions} AS capacity, ${i.endpoints} ->> ${ask.transport} AS url,
      ${i.sessions} + (SELECT count(*) FROM ${t} WHERE ${isTheirs}
        AND ${t.state} = ${stateNumbers.connecting} AND ${t.asOfWallMs} = 0
        AND ${t.routeExpiresWallMs} > ${ask.nowWallMs}) AS load
    FROM ${i}
    WHERE ${i.ready} AND NOT ${i.draining} AND ${i.reportedWallMs} >= ${ask.nowWallMs - ask.instanceFreshMs}
      AND ${i.capacitySessions} > 0`;
}

/**
 * A runtime: the wanted region first, then the least loaded. Clients reach it at its own endpoint for the transport, else at
 * that of an adapter, which is chosen in the same way, near the runtime. Load is what an instance last told and, besides, the
 * routes to it that have not been taken up and have not run out. Routers take turns on the view, or two would fill the same
 * last place.
 */
async function choose(tx: Tx, ask: RouteAsk): Promise<Candidate | { readonly reason: "none_ready" | "all_full" }> {
  await tx.execute(sql`SELECT pg_advisory_xact_lock(92, 92)`);
  // By way of the runtimes, for which there is an index.
  const throughAdapter = sql`${t.instanceId} IN (SELECT id FROM runtimes)
    AND ${t.endpointUrl} = ${i.endpoints} ->> ${ask.transport}`;
  const { rows } = await tx.execute<Candidate>(sql`
    WITH runtimes AS (${candidates(ask, sql`${t.instanceId} = ${i.instanceId}`)} AND ${i.role} = ${runtimeRole}),
      adapters AS (${candidates(ask, throughAdapter)}
        AND ${i.role} <> ${runtimeRole} AND ${i.endpoints} ? ${ask.transport})
    SELECT r.id AS "instanceId", coalesce(r.url, a.url) AS url, r.region,
      r.load >= r.capacity OR (r.url IS NULL AND a.load >= a.capacity) AS full
    FROM runtimes r LEFT JOIN LATERAL (
      SELECT * FROM adapters
      ORDER BY adapters.load >= adapters.capacity, adapters.region <> r.region,
        adapters.load::float8 / adapters.capacity, adapters.id
      LIMIT 1
    ) a ON r.url IS NULL AND r.address <> ''
    WHERE coalesce(r.url, a.url) IS NOT NULL
    ORDER BY "full", r.region <> ${ask.region}, r.load::float8 / r.capacity, r.id
    LIMIT 1`);
  const best = rows[0];
  if (best === undefined) return { reason: "none_ready" };
  return best.full ? { reason: "all_full" } : best;
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
      open_turn_number = n.open_turn_number, recording_level = n.recording_level, as_of_wall_ms = n.as_of_wall_ms
    FROM told n JOIN held USING (tenant_id, session_id)
    WHERE s.tenant_id = n.tenant_id AND s.session_id = n.session_id AND s.state <> ${ended}
      -- What a holder of before says late never hides what its successor said.
      AND (s.authority_epoch, s.as_of_wall_ms) <= (n.authority_epoch, n.as_of_wall_ms)
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
