import { and, asc, eq, gt, gte, inArray, lt, lte, type SQL, sql } from "drizzle-orm";
import type { Database, Tx } from "./database.ts";
import type {
  LeaseChangeRow,
  LeaseDecision,
  LeaseFilter,
  LeaseRequest,
  LeaseRow,
  LeaseStore,
  LeaseStoreState,
  LeaseView,
  ReceiverFloorRow,
} from "./lease-store.ts";
import { renewAllMax } from "./lease-store.ts";
import { checkLimit } from "./page.ts";
import { leaseFloors as f, leases as l, leaseRequests as q, leaseStore as store } from "./schema.ts";
import type { SessionKey } from "./state-store.ts";
import { StoreError } from "./store-error.ts";

const epochSpan = 2 ** 32;
const incarnationMax = 2 ** 21 - 1;
/** Bounds of one receiver's sync: more sessions than that it could not hold (libs/protocol, RECEIVER_SESSIONS_MAX). */
const receiverLeasesMax = 10_000;
const floorsMax = 256;
const floorsOfSessionMax = 64;
const channel = "rspp_leases";
const slotMs = 600_000;
const slotOriginWallMs = Date.UTC(2025, 0, 1);

const clockMs = sql<number>`floor(extract(epoch from clock_timestamp()) * 1000)::bigint`.mapWith(Number);
const ofSession = ({ tenantId, sessionId }: SessionKey) => and(eq(l.tenantId, tenantId), eq(l.sessionId, sessionId));

/**
 * An incarnation that no earlier life of the store had: one more than the data says, and not below the ten-minute slot of
 * today, since a store that is restored twice, or wiped, no longer knows how far it once was. 21 bits last until 2064.
 */
export function nextIncarnation(known: number, wallMs: number): number {
  return Math.min(incarnationMax, Math.max(known + 1, 1, Math.floor((wallMs - slotOriginWallMs) / slotMs)));
}

/**
 * Leases in PostgreSQL. Opening it makes the store's one row, and raises the incarnation when the database is not the one
 * that wrote it (another system identifier or timeline: a dump loaded, a point in time restored). A copy of the files is
 * not to be told from the original: whoever restores one calls {@link LeaseStore.reopen}.
 */
export async function openPgLeaseStore(db: Database, termMs: number): Promise<LeaseStore> {
  await db.transaction((tx) => makeOrReopen(tx, termMs));
  return {
    update: (session, mode, decide, requestKey = "") =>
      db.transaction(async (tx) => {
        const view = await lockView(tx, session, mode === "issue", requestKey);
        const decision = decide(view.view);
        await write(tx, session, mode, view, decision);
        await remember(tx, session, requestKey, decision.request, view.view.nowWallMs);
        return decision.answer;
      }),
    renewAll: (sessions, decide) => renewAll(db, sessions, decide),
    get: (session) =>
      db.transaction(async (tx) => {
        const [row] = await tx.select({ lease: l, now: clockMs }).from(l).where(ofSession(session));
        return row && { lease: leaseOf(row.lease), ended: row.lease.endedWallMs > 0, nowWallMs: row.now };
      }),
    ofReceiver: (receiver) => db.transaction((tx) => ofReceiver(tx, receiver)),
    head: () => db.transaction(async (tx) => (await theStore(tx)).changeSeq),
    live: (filter, after, upTo, limit) =>
      list(db, [...conditionsOf(filter), eq(l.endedWallMs, 0), gt(l.changeSeq, after), lte(l.changeSeq, upTo)], limit),
    changes: (filter, after, limit) => list(db, [...conditionsOf(filter), gt(l.changeSeq, after)], limit),
    expired: (before, limit) => expired(db, before, limit),
    onChange: (wake) => db.listen(channel, wake),
    acknowledgeFloors: (floors) => db.transaction((tx) => acknowledge(tx, floors)),
    floors: (session) => db.transaction((tx) => floorsOf(tx, session)),
    reopen: (term, atLeast = 0) => db.transaction((tx) => reopen(tx, term, atLeast)),
    distrustClock: (term) =>
      db.transaction(async (tx) => {
        await tx.update(store).set({ lostRunOutWallMs: sql`${clockMs} + ${term}::bigint` });
      }),
    incarnation: () => db.transaction(async (tx) => (await theStore(tx)).incarnation),
    purgeEnded: (before, limit) => db.transaction((tx) => purge(tx, before, limit)),
  };
}

type StoreRow = typeof store.$inferSelect;

async function theStore(tx: Tx): Promise<StoreRow> {
  const [row] = await tx.select().from(store);
  if (row !== undefined) return row;
  throw new StoreError(
    "corrupt",
    "The lease store's own row is gone",
    "Restore the database and reopen the lease store",
  );
}

/** Which database this is, as far as it can tell; empty where the account may not ask. */
async function originOf(tx: Tx): Promise<string> {
  const [may] = (
    await tx.execute<{ may: boolean }>(sql`SELECT
      has_function_privilege('pg_control_system()', 'execute')
      AND has_function_privilege('pg_control_checkpoint()', 'execute') AS may`)
  ).rows;
  if (may?.may !== true) return "";
  const { rows } = await tx.execute<{ origin: string }>(sql`SELECT
    (SELECT system_identifier::text FROM pg_control_system()) || '/' ||
    (SELECT timeline_id::text FROM pg_control_checkpoint()) || '/' || current_database() AS origin`);
  return rows[0]?.origin ?? "";
}

async function makeOrReopen(tx: Tx, termMs: number): Promise<void> {
  const origin = await originOf(tx);
  const incarnation = nextIncarnation(0, await nowOf(tx));
  await tx
    .insert(store)
    .values({
      id: 1,
      incarnation,
      lastEpoch: incarnation * epochSpan,
      // A wiped store had leases too, perhaps.
      lostRunOutWallMs: sql`${clockMs} + ${termMs}::bigint`,
      sessionCount: 0,
      changeSeq: 0,
      origin,
    })
    .onConflictDoNothing();
  const [row] = await tx.select().from(store).for("update");
  if (row !== undefined && row.origin !== origin && origin !== "") await reopen(tx, termMs, 0);
}

async function nowOf(tx: Tx): Promise<number> {
  const { rows } = await tx.execute<{ now: string }>(sql`SELECT ${clockMs} AS now`);
  return Number(rows[0]?.now);
}

async function reopen(tx: Tx, termMs: number, atLeast: number): Promise<number> {
  const [row] = await tx.select().from(store).for("update");
  const now = await nowOf(tx);
  const incarnation = Math.max(nextIncarnation(row?.incarnation ?? 0, now), atLeast);
  if (incarnation > incarnationMax || incarnation === row?.incarnation) {
    throw new StoreError(
      "invalid",
      "There is no higher incarnation",
      "Begin with an empty lease store and new session ids",
    );
  }
  await tx.update(store).set({
    incarnation,
    lastEpoch: incarnation * epochSpan,
    lostRunOutWallMs: now + termMs,
    origin: await originOf(tx),
  });
  return incarnation;
}

interface LockedView {
  readonly view: LeaseView;
  readonly changeSeq: number;
}

/**
 * Grants hold the store's row, so that epochs and change numbers are given in the order of commits; renewals hold its key
 * alone, which hinders no grant and no renewal, only a reopening.
 */
async function lockView(tx: Tx, session: SessionKey, issuing: boolean, requestKey: string): Promise<LockedView> {
  const { changeSeq, ...state } = await lockStore(tx, issuing);
  const [lease] = await tx.select().from(l).where(ofSession(session)).for("update");
  // Read now that nobody can change anything: while waiting for the locks time went by.
  const { nowWallMs, request } = await requestAndNow(tx, session, requestKey);
  return { view: { store: state, lease: lease && aliveOf(lease), request, nowWallMs }, changeSeq };
}

async function lockStore(tx: Tx, issuing: boolean): Promise<LeaseStoreState & { readonly changeSeq: number }> {
  const [row] = await tx
    .select()
    .from(store)
    .for(issuing ? "no key update" : "key share");
  const { incarnation, lastEpoch, lostRunOutWallMs, sessionCount, changeSeq } = row ?? (await theStore(tx));
  return { incarnation, lastEpoch, lostRunOutWallMs, sessionCount, changeSeq };
}

function aliveOf(row: typeof l.$inferSelect): LeaseRow | undefined {
  return row.endedWallMs > 0 ? undefined : leaseOf(row);
}

/** In one go: every grant of every replica waits for whoever holds the store's row. */
async function requestAndNow(tx: Tx, { tenantId, sessionId }: SessionKey, requestKey: string) {
  const ofRequest = and(eq(q.tenantId, tenantId), eq(q.sessionId, sessionId), eq(q.requestKey, requestKey));
  const [row] = await tx
    .select({ now: clockMs, kind: q.kind, holder: q.holder, askedEpoch: q.askedEpoch, epoch: q.epoch })
    .from(sql`(VALUES (1)) AS one`)
    .leftJoin(q, ofRequest);
  const { now = 0, kind, holder, askedEpoch, epoch } = row ?? {};
  const there = kind != null && holder != null && askedEpoch != null && epoch != null;
  return { nowWallMs: now, request: there ? { kind, holder, askedEpoch, epoch } : undefined };
}

async function remember(
  tx: Tx,
  session: SessionKey,
  requestKey: string,
  request: LeaseRequest | undefined,
  atWallMs: number,
): Promise<void> {
  if (request === undefined || requestKey === "") return;
  const values = { ...session, requestKey, ...request, atWallMs };
  await tx
    .insert(q)
    .values(values)
    .onConflictDoUpdate({ target: [q.tenantId, q.sessionId, q.requestKey], set: values });
}

/** The rows are locked in one order everywhere, so that two holders' batches never wait for each other in a ring. */
function renewAll<T>(
  db: Database,
  sessions: readonly SessionKey[],
  decide: (view: LeaseView, index: number) => LeaseDecision<T>,
): Promise<readonly T[]> {
  if (sessions.length > renewAllMax) {
    throw new StoreError("invalid", `More than ${renewAllMax} renewals at once`, "Send them in several requests");
  }
  const tenants = sessions.map(({ tenantId }) => tenantId);
  const ids = sessions.map(({ sessionId }) => sessionId);
  return db.transaction(async (tx) => {
    const { changeSeq: _, ...state } = await lockStore(tx, false);
    const named = sql`(${l.tenantId}, ${l.sessionId}) IN
      (SELECT * FROM unnest(${sql.param(tenants)}::text[], ${sql.param(ids)}::text[]))`;
    const rows = await tx.select().from(l).where(named).orderBy(asc(l.tenantId), asc(l.sessionId)).for("update");
    const nowWallMs = await nowOf(tx);
    const found = new Map(rows.map((row) => [nameOf(row), aliveOf(row)]));
    const lengthened: LeaseRow[] = [];
    const answers = sessions.map((session, i) => {
      const lease = found.get(nameOf(session));
      const decision = decide({ store: state, lease, request: undefined, nowWallMs }, i);
      if (decision.lease !== undefined || decision.store !== undefined) {
        lengthened.push(onlyLengthened(lease, decision));
      }
      return decision.answer;
    });
    if (lengthened.length > 0) await lengthen(tx, lengthened);
    return answers;
  });
}

function nameOf({ tenantId, sessionId }: SessionKey): string {
  return JSON.stringify([tenantId, sessionId]);
}

async function lengthen(tx: Tx, leases: readonly LeaseRow[]): Promise<void> {
  const column = <V>(of: (lease: LeaseRow) => V) => sql.param(leases.map(of));
  await tx.execute(sql`UPDATE ${l} SET expires_wall_ms = told.expires_wall_ms
    FROM unnest(${column(({ session }) => session.tenantId)}::text[], ${column(({ session }) => session.sessionId)}::text[],
      ${column(({ expiresWallMs }) => expiresWallMs)}::bigint[]) AS told (tenant_id, session_id, expires_wall_ms)
    WHERE ${l.tenantId} = told.tenant_id AND ${l.sessionId} = told.session_id`);
}

function onlyLengthened(before: LeaseRow | undefined, decision: LeaseDecision<unknown>): LeaseRow {
  if (decision.lease == null || decision.store !== undefined || decision.lease.epoch !== before?.epoch) {
    throw new StoreError("internal", "A renewal changed more than its term", "This is a bug: report it");
  }
  return decision.lease;
}

async function write<T>(
  tx: Tx,
  session: SessionKey,
  mode: "issue" | "renew",
  { view, changeSeq }: LockedView,
  decision: LeaseDecision<T>,
): Promise<void> {
  if (decision.lease === undefined && decision.store === undefined) return;
  if (mode === "renew") {
    const { expiresWallMs } = onlyLengthened(view.lease, decision);
    await tx.update(l).set({ expiresWallMs }).where(ofSession(session));
    return;
  }
  const seq = changeSeq + 1;
  // Watchers are told once this commits.
  await tx
    .update(store)
    .set({ ...decision.store, changeSeq: seq })
    .returning({ told: sql`pg_notify(${channel}, '')` });
  if (decision.lease === null) {
    await tx.update(l).set({ endedWallMs: view.nowWallMs, changeSeq: seq }).where(ofSession(session));
    await tx.delete(f).where(and(eq(f.tenantId, session.tenantId), eq(f.sessionId, session.sessionId)));
  } else if (decision.lease !== undefined) {
    const { session: _, receivers, ...rest } = decision.lease;
    const values = { ...session, ...rest, receivers: [...receivers], endedWallMs: 0, changeSeq: seq };
    await tx
      .insert(l)
      .values(values)
      .onConflictDoUpdate({ target: [l.tenantId, l.sessionId], set: values });
  }
}

function leaseOf(row: typeof l.$inferSelect): LeaseRow {
  const { tenantId, sessionId, endedWallMs: _ended, changeSeq: _seq, ...rest } = row;
  return { session: { tenantId, sessionId }, ...rest };
}

function conditionsOf(filter: LeaseFilter): SQL[] {
  return [
    ...(filter.holder === undefined ? [] : [eq(l.holder, filter.holder)]),
    ...(filter.receiver === undefined ? [] : [sql`${l.receivers} @> ARRAY[${filter.receiver}]::text[]`]),
    ...(filter.tenantId === undefined ? [] : [eq(l.tenantId, filter.tenantId)]),
  ];
}

function list(db: Database, conditions: SQL[], limit: number): Promise<LeaseChangeRow[]> {
  checkLimit(limit);
  return db.transaction(async (tx) => {
    const rows = await tx
      .select({ row: l, nowWallMs: clockMs })
      .from(l)
      .where(and(...conditions))
      .orderBy(asc(l.changeSeq))
      .limit(limit);
    return rows.map(({ row, nowWallMs }) => {
      return { seq: row.changeSeq, lease: leaseOf(row), ended: row.endedWallMs > 0, nowWallMs };
    });
  });
}

function expired(db: Database, beforeWallMs: number, limit: number): Promise<LeaseRow[]> {
  checkLimit(limit);
  return db.transaction(async (tx) => {
    const rows = await tx
      .select()
      .from(l)
      .where(and(eq(l.endedWallMs, 0), lt(l.expiresWallMs, beforeWallMs)))
      .orderBy(asc(l.expiresWallMs))
      .limit(limit);
    return rows.map(leaseOf);
  });
}

async function ofReceiver(tx: Tx, receiver: string) {
  // Grants are held up for as long as it takes, so that none at or below `lastEpoch` is missing from the list.
  const [row] = await tx.select().from(store).for("share");
  const { incarnation, lastEpoch, lostRunOutWallMs, sessionCount } = row ?? (await theStore(tx));
  const rows = await tx
    .select()
    .from(l)
    .where(and(...conditionsOf({ receiver }), eq(l.endedWallMs, 0), gte(l.epoch, incarnation * epochSpan)))
    .limit(receiverLeasesMax + 1);
  if (rows.length > receiverLeasesMax) {
    throw new StoreError("invalid", `${receiver} is named by too many sessions`, "Give receivers an id per process");
  }
  return { store: { incarnation, lastEpoch, lostRunOutWallMs, sessionCount }, leases: rows.map(leaseOf) };
}

async function acknowledge(tx: Tx, floors: readonly Omit<ReceiverFloorRow, "acknowledgedWallMs">[]): Promise<void> {
  if (floors.length > floorsMax) {
    throw new StoreError("invalid", `More than ${floorsMax} floors at once`, "Send them in several requests");
  }
  const now = await nowOf(tx);
  // In one order everywhere, so that two receivers' batches never wait for each other in a ring.
  const keyOf = (x: (typeof floors)[number]): string =>
    JSON.stringify([x.session.tenantId, x.session.sessionId, x.receiverId]);
  const newest = new Map(floors.map((floor) => [keyOf(floor), floor]));
  for (const [, { session, receiverId, floorEpoch }] of [...newest].sort(([a], [b]) => (a < b ? -1 : 1))) {
    // Only receivers that the lease names, and only up to its epoch: a stranger's word keeps no row.
    await tx.execute(sql`INSERT INTO ${f} (tenant_id, session_id, receiver_id, floor_epoch, acknowledged_wall_ms)
      SELECT ${l.tenantId}, ${l.sessionId}, ${receiverId}, ${floorEpoch}::bigint, ${now}::bigint FROM ${l}
      WHERE ${ofSession(session)} AND ${l.endedWallMs} = 0 AND ${receiverId} = ANY(${l.receivers})
        AND ${floorEpoch}::bigint <= ${l.epoch}
      ON CONFLICT (tenant_id, session_id, receiver_id) DO UPDATE SET
        floor_epoch = CASE WHEN excluded.floor_epoch = 0 THEN 0
          ELSE greatest(${f.floorEpoch}, excluded.floor_epoch) END,
        acknowledged_wall_ms = excluded.acknowledged_wall_ms`);
  }
}

function floorsOf(tx: Tx, session: SessionKey): Promise<ReceiverFloorRow[]> {
  return tx
    .select()
    .from(f)
    .where(and(eq(f.tenantId, session.tenantId), eq(f.sessionId, session.sessionId)))
    .orderBy(f.receiverId)
    .limit(floorsOfSessionMax)
    .then((rows) =>
      rows.map(({ receiverId, floorEpoch, acknowledgedWallMs }) => ({
        session,
        receiverId,
        floorEpoch,
        acknowledgedWallMs,
      })),
    );
}

async function purge(tx: Tx, beforeWallMs: number, limit: number): Promise<number> {
  checkLimit(limit);
  const dead = tx
    .select({ seq: l.changeSeq })
    .from(l)
    .where(and(gt(l.endedWallMs, 0), lt(l.endedWallMs, beforeWallMs)))
    .limit(limit);
  const old = tx
    .select({ at: q.atWallMs })
    .from(q)
    .where(lt(q.atWallMs, beforeWallMs))
    .orderBy(asc(q.atWallMs))
    .limit(limit);
  await tx.delete(q).where(inArray(q.atWallMs, old));
  return (await tx.delete(l).where(inArray(l.changeSeq, dead)).returning({ seq: l.changeSeq })).length;
}
