import { and, asc, eq, gt, gte, inArray, lt, lte, type SQL, sql } from "drizzle-orm";
import type { Database, Tx } from "./database.ts";
import type {
  LeaseChangeRow,
  LeaseDecision,
  LeaseFilter,
  LeaseMode,
  LeaseRequest,
  LeaseRow,
  LeaseStore,
  LeaseStoreState,
  LeaseView,
  ReceiverFloorRow,
} from "./lease-store.ts";
import { renewAllMax } from "./lease-store.ts";
import { checkLimit } from "./page.ts";
import {
  clockMs,
  epochPosition,
  epochSpan,
  makeOrReopen,
  nowOf,
  reopen,
  type StoreRow,
  theStore,
} from "./pg-lease-incarnation.ts";
import { AliveCount, leaseChannel, leaseTeller } from "./pg-lease-notices.ts";
import { leaseFloors as f, leases as l, leaseRequests as q, leaseStore as store } from "./schema.ts";
import type { SessionKey } from "./state-store.ts";
import { StoreError } from "./store-error.ts";

/** Bounds of one receiver's sync: more sessions than that it could not hold (libs/protocol, RECEIVER_SESSIONS_MAX). */
const receiverLeasesMax = 10_000;
const floorsMax = 256;
const floorsOfSessionMax = 64;

const ofSession = ({ tenantId, sessionId }: SessionKey) => and(eq(l.tenantId, tenantId), eq(l.sessionId, sessionId));

/**
 * Leases in PostgreSQL. Opening it makes the store's one row, and raises the incarnation when the database is not the one
 * that wrote it (another system identifier or timeline: a dump loaded, a point in time restored). A copy of the files is
 * not to be told from the original: whoever restores one calls {@link LeaseStore.reopen}.
 */
export async function openPgLeaseStore(db: Database, termMs: number): Promise<LeaseStore> {
  await db.transaction((tx) => makeOrReopen(tx, termMs));
  const tell = leaseTeller(db);
  const alive = new AliveCount();
  return {
    update: async (session, mode, decide, requestKey = "") => {
      const { answer, changed } = await db.transaction(async (tx) => {
        const view = await lockView(tx, session, mode, requestKey, alive);
        const decision = decide(view);
        const changed = await write(tx, session, mode, view, decision);
        await remember(tx, session, requestKey, decision.request, view.nowWallMs);
        return { answer: decision.answer, changed: changed ? aliveAfter(view, decision) : undefined };
      });
      if (changed !== undefined) {
        alive.add(changed);
        tell();
      }
      return answer;
    },
    renewAll: (sessions, decide) => renewAll(db, sessions, decide),
    get: (session) =>
      db.transaction(async (tx) => {
        const [row] = await tx.select({ lease: l, now: clockMs }).from(l).where(ofSession(session));
        return row && { lease: leaseOf(row.lease), ended: row.lease.endedWallMs > 0, nowWallMs: row.now };
      }),
    ofReceiver: (receiver) => db.transaction((tx) => ofReceiver(tx, receiver, alive)),
    head: () => db.transaction(settled),
    live: (filter, after, upTo, limit) =>
      list(db, [...conditionsOf(filter), eq(l.endedWallMs, 0), gt(l.changeSeq, after), lte(l.changeSeq, upTo)], limit),
    changes: (filter, after, limit) => list(db, [...conditionsOf(filter), gt(l.changeSeq, after)], limit, true),
    expired: (before, limit) => expired(db, before, limit),
    onChange: (wake) => db.listen(leaseChannel, wake),
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

function aliveAfter({ lease }: LeaseView, decision: LeaseDecision<unknown>): number {
  return (decision.lease === null ? 0 : 1) - (lease === undefined ? 0 : 1);
}

/**
 * Everybody holds the store open, who issues holds the session besides, so that grants of different sessions never wait for
 * each other. The locks come first: what a statement sees is as of its beginning.
 */
async function lockView(
  tx: Tx,
  session: SessionKey,
  mode: LeaseMode,
  requestKey: string,
  alive: AliveCount,
): Promise<LeaseView> {
  const { tenantId, sessionId } = session;
  const issuing = mode === "issue";
  await tx.execute(
    issuing ? sql`SELECT rspp.lock_lease_session(${tenantId}, ${sessionId})` : sql`SELECT rspp.lock_leases()`,
  );
  const [lease] = await tx.select().from(l).where(ofSession(session)).for("update");
  // Read now that nobody can change anything: while waiting for the locks time went by.
  const { state, nowWallMs, request } = await stateAndRequest(tx, session, requestKey, issuing);
  const sessionCount = issuing ? await alive.now(tx) : 0;
  return { store: { ...state, sessionCount }, lease: lease && aliveOf(lease), request, nowWallMs };
}

function stateOf(row: StoreRow, position: number): Omit<LeaseStoreState, "sessionCount"> {
  const { incarnation, lostRunOutWallMs, epochsBefore } = row;
  const count = position - epochsBefore;
  if (count < 0) {
    throw new StoreError(
      "corrupt",
      "The sequence of epochs was set back",
      "Reopen the lease store: `rspp store restore` does it, and so does starting it on a restored database",
    );
  }
  return { incarnation, lastEpoch: incarnation * epochSpan + Math.min(count, epochSpan - 1), lostRunOutWallMs };
}

function aliveOf(row: typeof l.$inferSelect): LeaseRow | undefined {
  return row.endedWallMs > 0 ? undefined : leaseOf(row);
}

async function stateAndNow(tx: Tx): Promise<LeaseStoreState & { readonly nowWallMs: number }> {
  const [row] = await tx.select({ store, now: clockMs, position: epochPosition.mapWith(Number) }).from(store);
  if (row === undefined) return { ...stateOf(await theStore(tx), 0), sessionCount: 0, nowWallMs: 0 };
  return { ...stateOf(row.store, row.position), sessionCount: 0, nowWallMs: row.now };
}

/** In one go. Who issues is given the next epoch, used or not. */
async function stateAndRequest(tx: Tx, { tenantId, sessionId }: SessionKey, requestKey: string, issuing: boolean) {
  const ofRequest = and(eq(q.tenantId, tenantId), eq(q.sessionId, sessionId), eq(q.requestKey, requestKey));
  const position = issuing ? sql`nextval('rspp.lease_epochs') - 1` : epochPosition;
  const [row] = await tx
    .select({
      store,
      now: clockMs,
      position: position.mapWith(Number),
      request: { kind: q.kind, holder: q.holder, askedEpoch: q.askedEpoch, epoch: q.epoch },
    })
    .from(store)
    .leftJoin(q, ofRequest);
  if (row === undefined) return { state: stateOf(await theStore(tx), 0), nowWallMs: 0, request: undefined };
  return { state: stateOf(row.store, row.position), nowWallMs: row.now, request: row.request ?? undefined };
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
    await tx.execute(sql`SELECT rspp.lock_leases()`);
    const named = sql`(${l.tenantId}, ${l.sessionId}) IN
      (SELECT * FROM unnest(${sql.param(tenants)}::text[], ${sql.param(ids)}::text[]))`;
    const rows = await tx.select().from(l).where(named).orderBy(asc(l.tenantId), asc(l.sessionId)).for("update");
    const { nowWallMs, ...store } = await stateAndNow(tx);
    const found = new Map(rows.map((row) => [nameOf(row), aliveOf(row)]));
    const lengthened: LeaseRow[] = [];
    const answers = sessions.map((session, i) => {
      const lease = found.get(nameOf(session));
      const decision = decide({ store, lease, request: undefined, nowWallMs }, i);
      if (decision.lease !== undefined || decision.store !== undefined) {
        lengthened.push(onlyLengthened(lease, decision, "renew"));
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

function onlyLengthened(
  before: LeaseRow | undefined,
  { lease, store }: LeaseDecision<unknown>,
  mode: LeaseMode,
): LeaseRow {
  if (lease == null || (mode === "renew" && store !== undefined) || lease.epoch !== before?.epoch) {
    throw new StoreError("internal", "A renewal changed more than its term", "This is a bug: report it");
  }
  return lease;
}

/** @returns whether watchers are to be told. */
async function write<T>(
  tx: Tx,
  session: SessionKey,
  mode: LeaseMode,
  view: LeaseView,
  decision: LeaseDecision<T>,
): Promise<boolean> {
  const { lease } = decision;
  if (lease === undefined) return false;
  if (mode === "renew" || lease?.epoch === view.lease?.epoch) {
    const { expiresWallMs } = onlyLengthened(view.lease, decision, mode);
    await tx.update(l).set({ expiresWallMs }).where(ofSession(session));
    return false;
  }
  const changeSeq = sql`rspp.next_lease_change()`;
  if (lease === null) {
    await tx.update(l).set({ endedWallMs: view.nowWallMs, changeSeq }).where(ofSession(session));
    await tx.delete(f).where(and(eq(f.tenantId, session.tenantId), eq(f.sessionId, session.sessionId)));
    return true;
  }
  if (lease.epoch !== view.store.lastEpoch + 1) {
    throw new StoreError("internal", "A grant took another epoch than the next", "This is a bug: report it");
  }
  const { session: _, receivers, ...rest } = lease;
  const values = { ...session, ...rest, receivers: [...receivers], endedWallMs: 0, changeSeq };
  await tx
    .insert(l)
    .values(values)
    .onConflictDoUpdate({
      target: [l.tenantId, l.sessionId],
      set: { ...values, changeSeq: sql`excluded.change_seq` },
    });
  return true;
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

/**
 * How far changes may be told: numbers are given before the commits, and one that commits late must not come behind a
 * watcher's back.
 */
async function settled(tx: Tx): Promise<number> {
  const { rows } = await tx.execute<{ seq: string }>(sql`SELECT rspp.settled_lease_changes() AS seq`);
  return Number(rows[0]?.seq);
}

function list(db: Database, conditions: SQL[], limit: number, onlySettled = false): Promise<LeaseChangeRow[]> {
  checkLimit(limit);
  return db.transaction(async (tx) => {
    // A statement of its own: the next one sees all of them.
    const upTo = onlySettled ? [lte(l.changeSeq, await settled(tx))] : [];
    const rows = await tx
      .select({ row: l, nowWallMs: clockMs })
      .from(l)
      .where(and(...conditions, ...upTo))
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

async function ofReceiver(tx: Tx, receiver: string, alive: AliveCount) {
  // Grants are held up for as long as it takes, so that none at or below `lastEpoch` is missing from the list.
  await tx.execute(sql`SELECT rspp.lock_leases(), rspp.lock_lease_issue()`);
  const { nowWallMs: _, ...state } = await stateAndNow(tx);
  const rows = await tx
    .select()
    .from(l)
    .where(and(...conditionsOf({ receiver }), eq(l.endedWallMs, 0), gte(l.epoch, state.incarnation * epochSpan)))
    .limit(receiverLeasesMax + 1);
  if (rows.length > receiverLeasesMax) {
    throw new StoreError("invalid", `${receiver} is named by too many sessions`, "Give receivers an id per process");
  }
  return { store: { ...state, sessionCount: await alive.now(tx) }, leases: rows.map(leaseOf) };
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
