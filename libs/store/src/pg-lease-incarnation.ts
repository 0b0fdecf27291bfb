/** The lease store's one row: which life of the store this is, and where its epochs begin (kernel.md §7). */
import { sql } from "drizzle-orm";
import type { Database, Tx } from "./database.ts";
import { leaseStore as store } from "./schema.ts";
import { StoreError } from "./store-error.ts";

/** Epochs of one incarnation. */
export const epochSpan = 2 ** 32;
const incarnationMax = 2 ** 21 - 1;
const slotMs = 600_000;
const slotOriginWallMs = Date.UTC(2025, 0, 1);

/** The database's clock, which all replicas share, in wall milliseconds. */
export const clockMs = sql<number>`floor(extract(epoch from clock_timestamp()) * 1000)::bigint`.mapWith(Number);
/** How far the sequence of epochs has come. */
export const epochPosition = sql<number>`rspp.sequence_position('lease_epochs')`;

/**
 * An incarnation that no earlier life of the store had: one more than the data says, and not below the ten-minute slot of
 * today, since a store that is restored twice, or wiped, no longer knows how far it once was. 21 bits last until 2064.
 */
export function nextIncarnation(known: number, wallMs: number): number {
  return Math.min(incarnationMax, Math.max(known + 1, 1, Math.floor((wallMs - slotOriginWallMs) / slotMs)));
}

export type StoreRow = typeof store.$inferSelect;

export async function theStore(tx: Tx): Promise<StoreRow> {
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

/**
 * Makes the store's row, or raises the incarnation of a database that was restored. For services that number what they tell
 * without keeping leases: they begin with it.
 */
export function openIncarnation(db: Database, termMs: number): Promise<void> {
  return db.transaction((tx) => makeOrReopen(tx, termMs));
}

export async function makeOrReopen(tx: Tx, termMs: number): Promise<void> {
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
      epochsBefore: epochPosition,
      origin,
    })
    .onConflictDoNothing();
  await tx.execute(sql`SELECT rspp.lock_lease_store()`);
  const [row] = await tx.select().from(store).for("update");
  if (row !== undefined && row.origin !== origin && origin !== "") await reopen(tx, termMs, 0);
}

export async function reopen(tx: Tx, termMs: number, atLeast: number): Promise<number> {
  await tx.execute(sql`SELECT rspp.lock_lease_store()`);
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
  // A restored database's sequences begin anew; changes are numbered on behind those it has.
  await tx.execute(sql`SELECT setval('rspp.lease_changes', greatest(max(change_seq), rspp.sequence_position('lease_changes'), 1))
    FROM rspp.leases`);
  await tx.update(store).set({
    incarnation,
    lastEpoch: incarnation * epochSpan,
    epochsBefore: epochPosition,
    lostRunOutWallMs: now + termMs,
    origin: await originOf(tx),
  });
  return incarnation;
}

export async function nowOf(tx: Tx): Promise<number> {
  const { rows } = await tx.execute<{ now: string }>(sql`SELECT ${clockMs} AS now`);
  return Number(rows[0]?.now);
}
