import { and, eq, inArray, sql } from "drizzle-orm";
import type { Database, Tx } from "./database.ts";
import { sessionStateEntries as e, leaseStore, leases, sessionStates as s } from "./schema.ts";
import type { SessionKey, SessionState, StateOutcome, StateRefusal, StateStore, StateWrite } from "./state-store.ts";
import { StoreError } from "./store-error.ts";

const entriesMax = 256;
const keyCharsMax = 128;
const valueBytesMax = 1_048_576;
const epochSpan = 2 ** 32;

const clockMs = sql`floor(extract(epoch from clock_timestamp()) * 1000)::bigint`;
const ofSession = ({ tenantId, sessionId }: SessionKey) => and(eq(s.tenantId, tenantId), eq(s.sessionId, sessionId));
const entriesOf = ({ tenantId, sessionId }: SessionKey) => and(eq(e.tenantId, tenantId), eq(e.sessionId, sessionId));

/** When something was written is told by the database's clock, which all replicas share. */
export function pgStateStore(db: Database): StateStore {
  return {
    get: (session, keys = []) => db.transaction((tx) => read(tx, session, keys)),
    compareAndSet: (write) => {
      check(write);
      return db.transaction((tx) => compareAndSet(tx, write));
    },
    delete: (session, epoch) =>
      db.transaction(async (tx) => {
        const row = await lockRow(tx, session, epoch);
        if ("kind" in row) return row;
        await tx.delete(e).where(entriesOf(session));
        const version = row.version + 1;
        await tx.update(s).set({ epoch, version, requestKey: "", writtenWallMs: clockMs }).where(ofSession(session));
        return { kind: "deleted" };
      }),
  };
}

function check({ put, remove }: StateWrite): void {
  const keys = [...put.map(({ key }) => key), ...remove];
  const bad =
    put.length > entriesMax || remove.length > entriesMax
      ? `more than ${entriesMax} entries`
      : new Set(keys).size !== keys.length
        ? "a key twice"
        : keys.some((key) => key === "" || key.length > keyCharsMax)
          ? `a key that is empty or longer than ${keyCharsMax}`
          : put.some(({ value }) => value.length > valueBytesMax)
            ? "a value larger than 1 MiB"
            : undefined;
  if (bad !== undefined) throw new StoreError("invalid", `The write names ${bad}`, "Write less at once");
}

async function read(tx: Tx, session: SessionKey, keys: readonly string[]): Promise<SessionState> {
  // One snapshot for both reads: a share lock keeps writers out between them.
  const [row] = await tx.select().from(s).where(ofSession(session)).for("share");
  if (row === undefined) return { session, epoch: 0, version: 0, writtenWallMs: 0, entries: [] };
  const entries = await tx
    .select({ key: e.key, value: e.value, schema: e.schema })
    .from(e)
    .where(and(entriesOf(session), keys.length > 0 ? inArray(e.key, [...keys]) : undefined))
    .orderBy(e.key)
    .limit(entriesMax);
  const { epoch, version, writtenWallMs } = row;
  return { session, epoch, version, writtenWallMs, entries };
}

/**
 * The session's row, made if need be, and nobody else in it until the end of the transaction; or why `epoch` may not
 * write. Looked at before anything is made, so that a stranger leaves no rows behind.
 */
async function lockRow(tx: Tx, session: SessionKey, epoch: number) {
  const { tenantId, sessionId } = session;
  const lease = await leaseOf(tx, session);
  const refused = refusalOf(epoch, 0, lease);
  if (refused !== undefined) return refused;
  const fresh = { tenantId, sessionId, epoch: 0, version: 0, writtenWallMs: 0, requestKey: "" };
  await tx.insert(s).values(fresh).onConflictDoNothing();
  const [row = fresh] = await tx.select().from(s).where(ofSession(session)).for("update");
  return refusalOf(epoch, row.epoch, lease) ?? row;
}

interface LeaseFloor {
  readonly epoch: number;
  readonly revoked: boolean;
  readonly ended: boolean;
  readonly incarnation: number;
}

/** The lease is held still meanwhile: no grant to another holder can commit between this check and the write. */
async function leaseOf(tx: Tx, { tenantId, sessionId }: SessionKey): Promise<LeaseFloor | undefined> {
  const [row] = await tx
    .select({ epoch: leases.epoch, revoked: leases.revoked, endedWallMs: leases.endedWallMs })
    .from(leases)
    .where(and(eq(leases.tenantId, tenantId), eq(leases.sessionId, sessionId)))
    .for("share");
  if (row === undefined) return undefined;
  const [store] = await tx.select({ incarnation: leaseStore.incarnation }).from(leaseStore);
  return { epoch: row.epoch, revoked: row.revoked, ended: row.endedWallMs > 0, incarnation: store?.incarnation ?? 0 };
}

function refusalOf(epoch: number, written: number, lease: LeaseFloor | undefined): StateRefusal | undefined {
  const floor = Math.max(written, lease?.epoch ?? 0);
  if (epoch < floor) return { kind: "stale_epoch", floor };
  if (lease === undefined || epoch > lease.epoch) return { kind: "unproved_epoch", floor };
  // A revocation's own epoch is nobody's, and a lease of before a restore binds no more.
  const dead = lease.revoked || lease.ended || Math.floor(lease.epoch / epochSpan) !== lease.incarnation;
  return dead ? { kind: "stale_epoch", floor: floor + 1 } : undefined;
}

async function compareAndSet(tx: Tx, write: StateWrite): Promise<StateOutcome> {
  const { session, epoch, requestKey } = write;
  const row = await lockRow(tx, session, epoch);
  if ("kind" in row) return row;
  if (row.requestKey === requestKey && row.version === write.expectedVersion + 1 && row.epoch === epoch) {
    return { kind: "written", version: row.version, repeated: true };
  }
  if (row.version !== write.expectedVersion) return { kind: "version_conflict", version: row.version };
  const { tenantId, sessionId } = session;
  if (write.remove.length > 0) await tx.delete(e).where(and(entriesOf(session), inArray(e.key, [...write.remove])));
  if (write.put.length > 0) {
    await tx
      .insert(e)
      .values(write.put.map(({ key, value, schema }) => ({ tenantId, sessionId, key, value, schema })))
      .onConflictDoUpdate({
        target: [e.tenantId, e.sessionId, e.key],
        set: { value: sql`excluded.value`, schema: sql`excluded.schema` },
      });
  }
  const kept = await tx.$count(e, entriesOf(session));
  if (kept > entriesMax) {
    throw new StoreError("invalid", `A session keeps at most ${entriesMax} entries`, "Remove some in the same write");
  }
  const version = row.version + 1;
  await tx.update(s).set({ epoch, version, requestKey, writtenWallMs: clockMs }).where(ofSession(session));
  return { kind: "written", version, repeated: false };
}
