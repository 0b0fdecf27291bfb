import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import { getTableColumns, sql } from "drizzle-orm";
import { getTableConfig, PgTable } from "drizzle-orm/pg-core";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openDatabase } from "./database.ts";
import { migrate, pendingAfter, readMigrations } from "./migrate.ts";
import { pgTimelineIndex } from "./pg-timeline-index.ts";
import * as schema from "./schema.ts";
import { StoreError } from "./store-error.ts";
import { type TestDatabase, testDatabase } from "./testkit/test-database.ts";

let at: TestDatabase;
beforeAll(async () => {
  at = await testDatabase({ connectionsMax: 4, waitingMax: 8 });
});
afterAll(() => at.close());

async function emptyDatabase(name: string): Promise<string> {
  const client = new pg.Client({ connectionString: at.db.url });
  await client.connect();
  await client.query(`CREATE DATABASE ${name}`);
  await client.end();
  return at.db.url.replace("/postgres?", `/${name}?`);
}

test("two processes that migrate one empty database at once apply each file once", async () => {
  const url = await emptyDatabase("raced");
  const script = fileURLToPath(new URL("testkit/write-until-killed.ts", import.meta.url));
  const codes = await Promise.all(
    [1, 2].map(() => {
      const child = spawn(process.execPath, [script, url, "open"], { stdio: ["ignore", "ignore", "inherit"] });
      return new Promise((resolve) => child.on("close", resolve));
    }),
  );
  expect(codes).toEqual([0, 0]);
  const db = await openDatabase({ url });
  const { rows } = await db.transaction((tx) => tx.execute(sql`SELECT name FROM rspp.migrations ORDER BY id`));
  expect(rows.map(({ name }) => name)).toEqual((await readMigrations()).map(({ name }) => name));
  await db.close();
});

test("a migration that fails leaves nothing behind", async () => {
  const client = new pg.Client({ connectionString: await emptyDatabase("failing") });
  await client.connect();
  const bad = [...(await readMigrations()), { id: 3, name: "0003_bad.sql", sql: "SELECT 1/0", checksum: "x" }];
  await expect(migrate(client, bad)).rejects.toThrow(/division by zero/);
  const { rows } = await client.query("SELECT 1 FROM information_schema.schemata WHERE schema_name = 'rspp'");
  expect(rows).toEqual([]);
  await client.end();
});

test("a database of an earlier build is brought up to date, and keeps what it holds", async () => {
  const url = await emptyDatabase("earlier");
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await migrate(client, (await readMigrations()).slice(0, 3));
  await client.query(`INSERT INTO rspp.timeline_segments VALUES ('t', 's', 1, 1, 9, 'o', 50, '\\x01', '\\x02')`);
  await client.end();
  const db = await openDatabase({ url });
  const segment = { epoch: 1, firstSequence: 1, lastSequence: 9, objectKey: "o", byteOffset: 0, bytes: 50 };
  expect(await pgTimelineIndex(db).segments({ tenantId: "t", sessionId: "s" }, 10)).toMatchObject([segment]);
  await db.close();
});

test("NF-032 a build of the version before starts on a newer database that says it may, and on no other", async () => {
  const client = new pg.Client({ connectionString: await emptyDatabase("newer") });
  await client.connect();
  const old = await readMigrations();
  const later = (id: number, readableBy: number) => {
    const name = `${String(id).padStart(4, "0")}_later.sql`;
    return { id, name, sql: "SELECT 1", checksum: String(id), readableBy };
  };
  const last = old.length;
  await migrate(client, [...old, later(last + 1, last)]);
  expect(await migrate(client, old)).toEqual([]);
  // The version before that one is two behind.
  await expect(migrate(client, old.slice(0, -1))).rejects.toMatchObject({ code: "version_mismatch" });
  await migrate(client, [...old, later(last + 1, last), later(last + 2, last + 1)]);
  await expect(migrate(client, old)).rejects.toMatchObject({
    code: "version_mismatch",
    message: expect.stringContaining("newer than this build"),
  });
  await client.end();
});

test("a file changed after it was applied, a newer database, and a gap are refused", async () => {
  const migrations = await readMigrations();
  const [first] = migrations;
  if (first === undefined) throw new Error("no migrations");
  const code = (c: string) => expect.objectContaining({ code: c });
  expect(() => pendingAfter([{ ...first, checksum: "other" }], migrations)).toThrow(code("version_mismatch"));
  expect(() => pendingAfter([...migrations, { ...first, id: 99 }], migrations)).toThrow(code("version_mismatch"));
  const dir = mkdtempSync(join(tmpdir(), "rspp-migrations-"));
  writeFileSync(join(dir, "0002_second.sql"), "");
  await expect(readMigrations(dir)).rejects.toMatchObject({ code: "corrupt" });
  rmSync(dir, { recursive: true });
});

test("the migrations make exactly the tables and columns of the schema", async () => {
  const expected = Object.values(schema).flatMap((table) => {
    if (!(table instanceof PgTable)) return [];
    const { name } = getTableConfig(table);
    return Object.values(getTableColumns(table)).map((column) => {
      const type = column.getSQLType().replace("bigserial", "bigint").replace("text[]", "ARRAY");
      return `${name}.${column.name} ${type} ${column.notNull ? "NO" : "YES"}`;
    });
  });
  const { rows } = await at.db.transaction((tx) =>
    tx.execute(sql`SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable AS line
      FROM information_schema.columns WHERE table_schema = 'rspp' AND table_name <> 'migrations'`),
  );
  expect(rows.map(({ line }) => line).sort()).toEqual(expected.sort());
});

test("what a transaction throws rolls it back", async () => {
  await at.db.transaction((tx) => tx.execute(sql`CREATE TABLE t (n int)`));
  const failing = at.db.transaction(async (tx) => {
    await tx.execute(sql`INSERT INTO t VALUES (1)`);
    throw new Error("no");
  });
  await expect(failing).rejects.toThrow("no");
  const { rows } = await at.db.transaction((tx) => tx.execute(sql`SELECT n FROM t`));
  expect(rows).toEqual([]);
});

test("a transaction past its deadline is rolled back and says so; the next one is served", async () => {
  const slow = at.db.transaction((tx) => tx.execute(sql`SELECT pg_sleep(30)`), { timeoutMs: 50 });
  await expect(slow).rejects.toMatchObject({ code: "deadline" });
  await at.db.transaction((tx) => tx.execute(sql`SELECT 1`));
});

test("a body that never comes back is given up, and what it did is rolled back", async () => {
  await at.db.transaction((tx) => tx.execute(sql`CREATE TABLE hung (n int)`));
  const hung = at.db.transaction(
    async (tx) => {
      await tx.execute(sql`INSERT INTO hung VALUES (1)`);
      await new Promise(() => undefined);
    },
    { timeoutMs: 50 },
  );
  await expect(hung).rejects.toMatchObject({ code: "deadline" });
  const { rows } = await at.db.transaction((tx) => tx.execute(sql`SELECT n FROM hung`));
  expect(rows).toEqual([]);
});

test("F-095 a process that stops in the middle of a transaction keeps nobody waiting for its locks", async () => {
  await at.db.transaction((tx) => tx.execute(sql`CREATE TABLE stopped (n int)`));
  await at.db.transaction((tx) => tx.execute(sql`INSERT INTO stopped VALUES (1)`));
  const locked = Promise.withResolvers<void>();
  const goesOn = Promise.withResolvers<void>();
  const stopped = at.db.transaction(
    async (tx) => {
      await tx.execute(sql`UPDATE stopped SET n = n + 10`);
      locked.resolve();
      await goesOn.promise;
    },
    { timeoutMs: 30_000 },
  );
  await locked.promise;
  // Within its own deadline of 5 s, though the other one would hold the row for 30.
  await at.db.transaction((tx) => tx.execute(sql`UPDATE stopped SET n = n + 100`));
  goesOn.resolve();
  // Its first attempt was rolled back by the server, and it begins again: counted once.
  await stopped;
  const { rows } = await at.db.transaction((tx) => tx.execute(sql`SELECT n FROM stopped`));
  expect(rows).toEqual([{ n: 111 }]);
});

test("more waiters than allowed are refused at once", async () => {
  const release = Promise.withResolvers<void>();
  const holding = Array.from({ length: 12 }, () => at.db.transaction(() => release.promise));
  await expect(at.db.transaction(async () => undefined)).rejects.toMatchObject({ code: "overloaded" });
  release.resolve();
  await Promise.all(holding);
});

test("two transactions that block each other both get through, the loser by beginning again", async () => {
  await at.db.transaction((tx) => tx.execute(sql`CREATE TABLE d (k int PRIMARY KEY, n int)`));
  await at.db.transaction((tx) => tx.execute(sql`INSERT INTO d VALUES (1, 0), (2, 0)`));
  const both = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const;
  const cross = (first: 0 | 1): Promise<void> =>
    at.db.transaction(async (tx) => {
      await tx.execute(sql`UPDATE d SET n = n + 1 WHERE k = ${first + 1}`);
      both[first].resolve();
      await both[1 - first]?.promise;
      await tx.execute(sql`UPDATE d SET n = n + 1 WHERE k = ${2 - first}`);
    });
  await Promise.all([cross(0), cross(1)]);
  const { rows } = await at.db.transaction((tx) => tx.execute(sql`SELECT n FROM d`));
  expect(rows).toEqual([{ n: 2 }, { n: 2 }]);
});

test("listeners are woken by a notification", async () => {
  let wakes = 0;
  const connected = Promise.withResolvers<void>();
  const notified = Promise.withResolvers<void>();
  const listener = at.db.listen("news", () => (++wakes === 1 ? connected : notified).resolve());
  await connected.promise;
  await at.db.transaction((tx) => tx.execute(sql`SELECT pg_notify('news', '')`));
  await notified.promise;
  listener.close();
});

test("an address that nobody answers at is unavailable, with a remedy", async () => {
  await expect(openDatabase({ url: "postgresql://u:planted@127.0.0.1:1/x" })).rejects.toMatchObject({
    code: "unavailable",
    message: expect.not.stringContaining("planted"),
  });
});

test("NF-011 neither values nor addresses stand in an error or what caused it", async () => {
  const failing = [
    at.db.transaction((tx) => tx.execute(sql`SELECT ${"planted-1"}::bigint`)),
    at.db.transaction((tx) => tx.execute(sql`INSERT INTO rspp.leases (tenant_id) VALUES (${"planted-2"})`)),
    openDatabase({ url: "postgresql://user:planted-3@%%%/x" }),
    openDatabase({ url: "postgresql://user:planted-4@127.0.0.1:1/x" }),
  ];
  for (const result of await Promise.allSettled(failing)) {
    if (result.status === "fulfilled") throw new Error("nothing failed");
    expect(result.reason).toBeInstanceOf(StoreError);
    expect(inspect(result.reason, { depth: 9, showHidden: true })).not.toContain("planted");
  }
});
