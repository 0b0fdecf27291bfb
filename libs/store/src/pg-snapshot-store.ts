import { createHash } from "node:crypto";
import { and, asc, eq, gte, lt, notInArray, sql } from "drizzle-orm";
import type { Database, Tx } from "./database.ts";
import { leaseStore as life, providerReports as p, snapshots as t } from "./schema.ts";
import type { ProviderReportRow, SnapshotStore, StoredSnapshot } from "./snapshot-store.ts";
import { StoreError } from "./store-error.ts";

const channel = "rspp_snapshots";
const rowsMax = 256;
const reportsMax = 16_384;
const contentBytesMax = 4_128_768;
/** Numbers a watcher may make this database leave out: no watcher can use them up. */
const raiseMax = 1_000_000_000;
/** More than one life can give out between a backup and the loss of what came after it: a third of a year at one a second. */
const lifeSpan = 10_000_000;

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

function snapshotOf({ incarnation: _, ...row }: typeof t.$inferSelect): StoredSnapshot {
  return { ...row, content: new Uint8Array(row.content), digest: hex(row.digest) };
}

export function pgSnapshotStore(db: Database): SnapshotStore {
  return {
    read: async (newerThan) => {
      const rows = await db.transaction((tx) => tx.select({ kind: t.kind, version: t.version }).from(t));
      const wanted = rows.filter(({ kind, version }) => version > (newerThan[kind] ?? 0)).map(({ kind }) => kind);
      if (wanted.length === 0) return [];
      const found = await db.transaction((tx) =>
        tx
          .select()
          .from(t)
          .where(sql`${t.kind} = ANY(${sql.param(wanted)}::text[]) AND ${t.version} > 0`),
      );
      return found.map(snapshotOf);
    },
    publish: (kind, make, wallMs) => db.transaction((tx) => publish(tx, kind, make, wallMs)),
    raise: (kind, above) =>
      db.transaction(async (tx) => {
        await tx
          .update(t)
          .set({ version: above + 1 })
          .where(
            and(eq(t.kind, kind), sql`${t.version} <= ${above} AND ${above}::bigint - ${t.version} < ${raiseMax}`),
          );
        await tell(tx);
      }),
    onChange: (wake) => db.listen(channel, wake),
    reportProviders: (instanceId, rows, wallMs) => {
      if (rows.length > rowsMax) {
        throw new StoreError("invalid", `More than ${rowsMax} providers in one report`, "Report fewer");
      }
      return db.transaction((tx) => reportProviders(tx, instanceId, rows, wallMs));
    },
    providerReports: (sinceWallMs) =>
      db.transaction((tx) =>
        tx
          .select()
          .from(p)
          .where(gte(p.reportedWallMs, sinceWallMs))
          .orderBy(asc(p.provider), asc(p.instanceId))
          .limit(reportsMax),
      ),
    forgetProviders: (beforeWallMs) =>
      db.transaction(async (tx) => {
        const gone = await tx.delete(p).where(lt(p.reportedWallMs, beforeWallMs)).returning({ provider: p.provider });
        return gone.length;
      }),
  };
}

async function publish(
  tx: Tx,
  kind: string,
  make: Parameters<SnapshotStore["publish"]>[1],
  wallMs: number,
): ReturnType<SnapshotStore["publish"]> {
  const [row] = await tx.select().from(t).where(eq(t.kind, kind)).for("update", { skipLocked: true });
  if (row === undefined) return null;
  const content = await make(row.version === 0 ? null : snapshotOf(row));
  if (content === null) return null;
  if (content.length > contentBytesMax) {
    throw new StoreError(
      "invalid",
      `The ${kind} snapshot is larger than 4128768 bytes`,
      "Keep fewer or smaller documents active",
    );
  }
  const digest = new Uint8Array(createHash("sha256").update(content).digest());
  const [store] = await tx.select({ incarnation: life.incarnation }).from(life);
  const incarnation = store?.incarnation ?? row.incarnation;
  const restored = row.version > 0 && row.incarnation > 0 && incarnation > row.incarnation;
  const same = row.version > 0 && hex(digest) === hex(row.digest);
  if (same && incarnation === row.incarnation) return { snapshot: snapshotOf(row), changed: false };
  if (same && !restored) {
    await tx.update(t).set({ incarnation }).where(eq(t.kind, kind));
    return { snapshot: snapshotOf(row), changed: false };
  }
  const version = row.version + (restored ? lifeSpan : 1);
  const next = { kind, version, digest, content, takenWallMs: wallMs, incarnation };
  await tx.update(t).set(next).where(eq(t.kind, kind));
  await tell(tx);
  return { snapshot: snapshotOf(next), changed: true };
}

async function tell(tx: Tx): Promise<void> {
  await tx.execute(sql`SELECT pg_notify(${channel}, '')`);
}

async function reportProviders(
  tx: Tx,
  instanceId: string,
  rows: readonly ProviderReportRow[],
  wallMs: number,
): Promise<void> {
  const names = rows.map(({ provider }) => provider);
  const gone =
    names.length === 0
      ? eq(p.instanceId, instanceId)
      : and(eq(p.instanceId, instanceId), notInArray(p.provider, names));
  await tx.delete(p).where(gone);
  if (rows.length === 0) return;
  const { circuit, errorPermille, p95FirstOutputMs, priceMicros, available, reportedWallMs } = p;
  const told = Object.fromEntries(
    Object.entries({ circuit, errorPermille, p95FirstOutputMs, priceMicros, available, reportedWallMs }).map(
      ([key, column]) => [key, sql.raw(`excluded."${column.name}"`)],
    ),
  );
  await tx
    .insert(p)
    .values(rows.map((row) => ({ ...row, instanceId, reportedWallMs: wallMs })))
    .onConflictDoUpdate({ target: [p.instanceId, p.provider], set: told });
}
