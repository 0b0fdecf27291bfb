import { createHash } from "node:crypto";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { migrateStore, restoreBackup, storeStatus, writeBackup } from "./backup.ts";
import { type Database, openDatabase } from "./database.ts";
import { readMigrations } from "./migrate.ts";
import { pgAuditStore } from "./pg-audit-store.ts";
import { openIncarnation } from "./pg-lease-incarnation.ts";
import { openPgLeaseStore } from "./pg-lease-store.ts";
import { pgSnapshotStore } from "./pg-snapshot-store.ts";
import { runSql } from "./testkit/run-sql.ts";
import { type TestDatabase, testDatabase } from "./testkit/test-database.ts";

const termMs = 60_000;
let at: TestDatabase;
let file: string;
let count = 0;

beforeAll(async () => {
  at = await testDatabase();
  file = join(at.dataDir, "platform.rspp-backup");
});
afterAll(async () => {
  await at.close();
});

/** A database of its own on the same server. */
async function emptyDatabase(): Promise<string> {
  const name = `empty_${count++}`;
  const { Client } = (await import("pg")).default;
  const client = new Client({ connectionString: at.db.url });
  await client.connect();
  await client.query(`CREATE DATABASE ${name}`);
  await client.end();
  return at.db.url.replace("/postgres", `/${name}`);
}

/** Digests of all tables, row order aside. */
async function contentOf(db: Database): Promise<Record<string, string>> {
  const tables = await db.transaction((tx) =>
    tx.execute<{ name: string }>(sql`SELECT tablename AS name FROM pg_tables WHERE schemaname = 'rspp' ORDER BY 1`),
  );
  const content: Record<string, string> = {};
  for (const { name } of tables.rows) {
    const columns = name === "migrations" ? "id, name, checksum" : "*";
    const { rows } = await db.transaction((tx) =>
      tx.execute<{ row: string }>(
        sql.raw(`SELECT t::text AS row FROM (SELECT ${columns} FROM rspp.${name}) t ORDER BY 1`),
      ),
    );
    content[name] = `${rows.length} ${createHash("sha256").update(JSON.stringify(rows)).digest("hex")}`;
  }
  return content;
}

/** What a region of a few thousand sessions has: leases, sessions' states with large values, versions, an audit chain. */
async function fill(db: Database, sessions: number): Promise<void> {
  const leases = await openPgLeaseStore(db, termMs);
  const one = { tenantId: "t", sessionId: "held" };
  await leases.update(one, "issue", ({ store, nowWallMs }) => {
    const epoch = store.lastEpoch + 1;
    const lease = { session: one, epoch, heldSinceEpoch: epoch, holder: "a", receivers: ["r", 'it\'s {odd}, "this"'] };
    const term = { termMs, lastSequence: null, signature: "s", expiresWallMs: nowWallMs + termMs, oldRunsOutWallMs: 0 };
    const rest = { revoked: false, issuedWallMs: nowWallMs, requestKey: "k" };
    return { answer: epoch, lease: { ...lease, ...term, ...rest }, store: { ...store, lastEpoch: epoch } };
  });
  await db.transaction(async (tx) => {
    await tx.execute(sql`INSERT INTO rspp.session_states
      SELECT 't', 's' || n, 5, 1, 0, 'k' FROM generate_series(1, ${sessions}::int) n`);
    await tx.execute(sql`INSERT INTO rspp.session_state_entries
      SELECT 't', 's' || n, 'conversation', decode(repeat('00ff22', 400), 'hex'), 'x/1' FROM generate_series(1, ${sessions}::int) n`);
    await tx.execute(sql`INSERT INTO rspp.session_state_entries
      VALUES ('t', 'big', 'k', decode(repeat('ab', 1048576), 'hex'), E'\\n\\t\u00e9\u{1F600}')`);
    await tx.execute(sql`INSERT INTO rspp.leases (tenant_id, session_id, epoch, held_since_epoch, holder, receivers, term_ms,
        signature, expires_wall_ms, old_runs_out_wall_ms, revoked, issued_wall_ms, change_seq)
      SELECT 't', 's' || n, n, n, 'h', ARRAY['a', 'b'], 60000, 'sig', 0, 0, false, 0, 1000 + n
      FROM generate_series(1, ${sessions}::int) n`);
  });
  const audit = pgAuditStore(db);
  for (let n = 0; n < 20; n++) {
    await audit.append({
      tenantId: "t",
      atWallMs: n,
      actor: "ada",
      action: "publish",
      subject: `p${n}`,
      detail: { n },
    });
  }
}

describe("a backup of the control plane", () => {
  test("F-166 NF-031 the restore drill: everything comes back, under a higher incarnation, in a measured time", async () => {
    await fill(at.db, 3_000);
    const before = await contentOf(at.db);
    const taken = await writeBackup(at.db.url, file, 1_700_000_000_000);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const url = await emptyDatabase();
    const restored = await restoreBackup(url, file, termMs);
    const db = await openDatabase({ url });
    try {
      const after = await contentOf(db);
      const { lease_store: now, ...tables } = after;
      const { lease_store: then, ...wanted } = before;
      expect(tables).toEqual(wanted);
      expect(now).not.toBe(then);
      expect(restored).toMatchObject({ rows: taken.rows, createdWallMs: 1_700_000_000_000, migrated: [] });
      expect(restored.incarnation).toBeGreaterThan(restored.incarnationBefore);
      // Nothing guards less than before: the audit goes on where it was, and is not to be changed.
      const audit = pgAuditStore(db);
      await audit.append({
        tenantId: "t",
        atWallMs: 99,
        actor: "ada",
        action: "publish",
        subject: "later",
        detail: {},
      });
      const edit = db.transaction((tx) => tx.execute(sql`UPDATE rspp.audit SET actor = 'eve'`));
      await expect(edit).rejects.toMatchObject({ code: "conflict" });
      // And no lease of before binds: who held it asks again, who comes next waits for a whole term.
      const leases = await openPgLeaseStore(db, termMs);
      expect(await leases.incarnation()).toBe(restored.incarnation);
      const { store } = await leases.ofReceiver("r");
      expect(store.lastEpoch).toBe(restored.incarnation * 2 ** 32);
      expect(store.lostRunOutWallMs).toBeGreaterThan(Date.now());
      // Changes are numbered on behind those that came along.
      const [last] = await runSql(db, "SELECT max(change_seq)::int AS seq FROM rspp.leases");
      expect(await leases.head()).toBeGreaterThanOrEqual(Number(last?.seq));
    } finally {
      await db.close();
    }
    const size = Math.round(statSync(file).size / 1024);
    process.stdout.write(
      `restore drill: ${taken.rows} rows, ${size} KiB; backup ${Math.round(taken.tookMs)} ms, ` +
        `restore (RTO of the database) ${Math.round(restored.tookMs)} ms\n`,
    );
    // The published bound, with room for a busy machine.
    expect(restored.tookMs).toBeLessThan(60_000);
  }, 120_000);

  test("F-166 F-159 a restored registry gives no snapshot a number that a watcher has already, with other content", async () => {
    const source = await openDatabase({ url: await emptyDatabase() });
    const bytes = (text: string) => new TextEncoder().encode(text);
    const publish = async (db: Database, kind: string, text: string) =>
      (await pgSnapshotStore(db).publish(kind, async () => bytes(text), 1))?.snapshot.version ?? 0;
    const path = `${file}.snapshots`;
    let told = 0;
    try {
      await openIncarnation(source, termMs);
      for (const text of ["a", "b"]) await publish(source, "policy", text);
      await publish(source, "rollout", "still");
      await writeBackup(source.url, path, 0);
      // What watchers were told after the backup is lost.
      for (const text of ["c", "d", "e"]) told = await publish(source, "policy", text);
    } finally {
      await source.close();
    }
    const url = await emptyDatabase();
    await restoreBackup(url, path, termMs);
    const db = await openDatabase({ url });
    try {
      const first = await publish(db, "policy", "x");
      expect(first).toBeGreaterThan(told);
      expect(await publish(db, "policy", "y")).toBe(first + 1);
      // Also what did not change: nobody knows whether it did in the life that is lost.
      expect(await publish(db, "rollout", "still")).toBeGreaterThan(told);
      expect(await publish(db, "rollout", "still")).toBe(await publish(db, "rollout", "still"));
    } finally {
      await db.close();
    }
  }, 60_000);

  test("F-166 is of one moment, whatever is written meanwhile", async () => {
    const { status, taken } = await (async () => {
      const backup = writeBackup(at.db.url, `${file}.2`, 0);
      await at.db.transaction((tx) =>
        tx.execute(
          sql`INSERT INTO rspp.session_states SELECT 'u', 'late' || n, 5, 1, 0, 'k' FROM generate_series(1, 500) n`,
        ),
      );
      return { taken: await backup, status: await storeStatus(at.db.url) };
    })();
    const live = Object.values(status.rows).reduce((sum, n) => sum + n, 0);
    // All of the 500 or none of them.
    expect([live, live - 500]).toContain(taken.rows);
  });

  test("F-166 altered, cut off or no backup: refused, and nothing is made", async () => {
    const url = await emptyDatabase();
    const good = readFileSync(file);
    const text = gunzipSync(good).toString("utf8");
    const edited = text.replace('"ada"', '"eve"');
    expect(edited).not.toBe(text);
    const bad: [string, Buffer][] = [
      ["edited", gzipSync(edited)],
      ["cut off", good.subarray(0, good.length / 2)],
      ["a line short", gzipSync(`${text.trimEnd().split("\n").slice(0, -1).join("\n")}\n`)],
      ["no backup", Buffer.from("hello")],
      ["empty", Buffer.alloc(0)],
    ];
    for (const [name, content] of bad) {
      const path = join(at.dataDir, name);
      writeFileSync(path, content);
      await expect(restoreBackup(url, path, termMs), name).rejects.toMatchObject({ code: "corrupt" });
    }
    await expect(restoreBackup(url, "/nowhere/at/all", termMs)).rejects.toMatchObject({ code: "invalid" });
    await expect(writeBackup(at.db.url, "/nowhere/at/all", 0)).rejects.toMatchObject({ code: "permission" });
    await expect(writeBackup(url, file, 0)).rejects.toMatchObject({ code: "invalid" });
    expect((await storeStatus(url)).applied).toEqual([]);
  });

  test("F-166 a database that holds a platform is not restored into", async () => {
    await expect(restoreBackup(at.db.url, file, termMs)).rejects.toMatchObject({ code: "conflict" });
  });
});

describe("versions of the schema", () => {
  /** The backup as a build of other migrations would have written it. */
  async function backupWith(edit: (migrations: { id: number; name: string; checksum: string }[]) => unknown[]) {
    const { mkdtempSync } = await import("node:fs");
    const lines = gunzipSync(readFileSync(file)).toString("utf8").trimEnd().split("\n").slice(0, -1);
    const head = JSON.parse(lines[0] ?? "");
    head.head.migrations = edit(head.head.migrations);
    // Nothing but the head and the lease store: what an older build may have had.
    const from = lines.findIndex((line) => line.includes('"table":"lease_store"'));
    const [table, row] = lines.slice(from, from + 2).map((line) => JSON.parse(line));
    const early = table.columns.map(({ name }: { name: string }) => name !== "epochs_before");
    table.columns = table.columns.filter((_: unknown, i: number) => early[i]);
    row.values = row.values.filter((_: unknown, i: number) => early[i]);
    const kept = [head, table, row].map((line) => `${JSON.stringify(line)}\n`).join("");
    const end = { kind: "end", rows: 1, sha256: createHash("sha256").update(kept).digest("hex") };
    const path = join(mkdtempSync(join(at.dataDir, "v-")), "backup");
    writeFileSync(path, gzipSync(`${kept}${JSON.stringify(end)}\n`));
    return path;
  }

  test("NF-032 a backup of an older build is restored and brought up to date", async () => {
    const url = await emptyDatabase();
    const known = await readMigrations();
    const restored = await restoreBackup(url, await backupWith((all) => all.slice(0, 4)), termMs);
    expect(restored.migrated).toEqual(known.slice(4).map(({ name }) => name));
    expect((await storeStatus(url)).pending).toEqual([]);
  });

  test("NF-032 one of a newer build, or of another, is refused with the reason, and nothing is made", async () => {
    const url = await emptyDatabase();
    const newer = await backupWith((all) => [...all, { id: all.length + 1, name: "9999_later.sql", checksum: "x" }]);
    await expect(restoreBackup(url, newer, termMs)).rejects.toMatchObject({
      code: "version_mismatch",
      message: expect.stringContaining("9999_later.sql"),
    });
    const other = await backupWith(([first, ...rest]) => [{ ...first, checksum: "other" }, ...rest]);
    await expect(restoreBackup(url, other, termMs)).rejects.toMatchObject({ code: "version_mismatch" });
    expect((await storeStatus(url)).applied).toEqual([]);
  });

  test("status tells what a migration would apply and changes nothing; migrating applies it once", async () => {
    const url = await emptyDatabase();
    const known = (await readMigrations()).map(({ name }) => name);
    expect(await storeStatus(url)).toMatchObject({ applied: [], pending: known, incarnation: 0 });
    expect(await storeStatus(url)).toMatchObject({ applied: [] });
    expect(await migrateStore(url)).toEqual(known);
    expect(await migrateStore(url)).toEqual([]);
    expect(await storeStatus(url)).toMatchObject({ applied: known, pending: [] });
  });
});
