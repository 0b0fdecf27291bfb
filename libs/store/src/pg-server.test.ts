import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { sql } from "drizzle-orm";
import { afterAll, expect, test } from "vitest";
import { type Database, openDatabase } from "./database.ts";
import { eventually, isServerOf, readPostmaster } from "./pg-lock.ts";
import { startServer } from "./pg-server.ts";
import type { ServerEvent } from "./pg-supervise.ts";

const home = mkdtempSync(join(tmpdir(), "rspp-pg-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));
let count = 0;
const fresh = (): string => join(home, String(count++));
const clusterOf = (dataDir: string): string => join(dataDir, "postgres", "data");

const writer = fileURLToPath(new URL("testkit/write-until-killed.ts", import.meta.url));

/** Starts the writer and waits until it has committed `rows`; `lastAcknowledged` goes on rising until it is dead. */
async function startWriter(dataDir: string, rows: number) {
  const child: ChildProcess = spawn(process.execPath, [writer, dataDir], { stdio: ["ignore", "pipe", "inherit"] });
  const state = { child, serverPid: 0, lastAcknowledged: 0 };
  await new Promise<void>((resolve, reject) => {
    child.on("exit", () => reject(new Error("the writer ended early")));
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on("line", (line) => {
      const [word, n] = line.split(" ");
      if (word === "open") state.serverPid = Number(n);
      else state.lastAcknowledged = Number(n);
      if (state.lastAcknowledged >= rows) resolve();
    });
  });
  return state;
}

async function rowsIn(db: Database): Promise<number[]> {
  const { rows } = await db.transaction((tx) => tx.execute<{ n: string }>(sql`SELECT n FROM written ORDER BY n`));
  return rows.map(({ n }) => Number(n));
}

test("makes a database at first use, takes it up again, and refuses a second owner meanwhile", async () => {
  const dataDir = fresh();
  const first = await startServer({ dataDir });
  expect(first.created).toBe(true);
  await expect(startServer({ dataDir })).rejects.toMatchObject({
    code: "in_use",
    message: expect.stringContaining(String(process.pid)),
  });
  await first.stop();
  await first.stop();
  expect(readPostmaster(clusterOf(dataDir))).toBeUndefined();
  const again = await startServer({ dataDir });
  expect(again.created).toBe(false);
  expect(again.url).toBe(first.url);
  await again.stop();
});

test("two first starts at once: one has the database, the other is told so or finds it whole", async () => {
  const dataDir = fresh();
  const started = await Promise.allSettled([startServer({ dataDir }), startServer({ dataDir })]);
  const servers = started.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  expect(servers).toHaveLength(1);
  for (const result of started) if (result.status === "rejected") expect(result.reason.code).toBe("in_use");
  await servers[0]?.stop();
});

test("kill -9 of the platform in mid-write: no server is left behind, and every acknowledged row is there again", async () => {
  const dataDir = fresh();
  const { child, serverPid, ...state } = await startWriter(dataDir, 50);
  expect(isServerOf(serverPid, clusterOf(dataDir))).toBe(true);
  const dead = new Promise((resolve) => child.once("close", resolve));
  child.kill("SIGKILL");
  await dead;
  expect(await eventually(() => !isServerOf(serverPid, clusterOf(dataDir)), 20_000)).toBe(true);
  const db = await openDatabase({ dataDir });
  const rows = await rowsIn(db);
  expect(rows).toEqual(rows.map((_, i) => i + 1));
  expect(rows.length).toBeGreaterThanOrEqual(state.lastAcknowledged);
  await db.close();
});

test("kill -9 of the server in mid-write: it comes back by itself with every acknowledged row", async () => {
  const dataDir = fresh();
  const events: string[] = [];
  const back = Promise.withResolvers<void>();
  const db = await openDatabase(
    { dataDir },
    {
      onServer: ({ kind }) => {
        events.push(kind);
        if (kind !== "died") back.resolve();
      },
    },
  );
  await db.transaction((tx) => tx.execute(sql`CREATE TABLE written (n bigint PRIMARY KEY)`));
  let acknowledged = 0;
  const refused: string[] = [];
  const killed = db.server?.pid() ?? 0;
  for (let n = 1; refused.length === 0; n++) {
    if (n === 30) process.kill(killed, "SIGKILL");
    await db
      .transaction((tx) => tx.execute(sql`INSERT INTO written VALUES (${n})`))
      .then(() => (acknowledged = n))
      .catch((error) => refused.push(error.code));
  }
  await back.promise;
  expect(events).toEqual(["died", "back"]);
  expect(["unavailable", "outcome_unknown"]).toContain(refused[0]);
  expect(db.server?.pid()).not.toBe(killed);
  const rows = await rowsIn(db);
  expect(rows.slice(0, acknowledged)).toEqual(Array.from({ length: acknowledged }, (_, i) => i + 1));
  expect(rows.length).toBeLessThanOrEqual(acknowledged + 1);
  await db.close();
});

test("a server that dies on a full disk is back once there is space, and callers are told why meanwhile", async () => {
  const dataDir = fresh();
  let free = 1e12;
  const events: string[] = [];
  const back = Promise.withResolvers<void>();
  const refused = Promise.withResolvers<void>();
  const freeBytes = async (): Promise<number> => {
    if (free === 0) refused.resolve();
    return free;
  };
  const onServer = ({ kind }: ServerEvent): void => {
    events.push(kind);
    if (kind === "back") back.resolve();
  };
  const db = await openDatabase({ dataDir, freeBytes }, { onServer });
  free = 0;
  process.kill(db.server?.pid() ?? 0, "SIGKILL");
  await refused.promise;
  await new Promise((resolve) => setImmediate(resolve));
  const write = () => db.transaction((tx) => tx.execute(sql`SELECT 1`));
  await expect(write()).rejects.toMatchObject({ code: "storage_full" });
  free = 1e12;
  await back.promise;
  await write();
  expect([events[0], events.at(-1)]).toEqual(["died", "back"]);
  // Closed while it is down, it stays down.
  free = 0;
  process.kill(db.server?.pid() ?? 0, "SIGKILL");
  await db.close();
  expect(readPostmaster(clusterOf(dataDir))?.pid ?? 0).not.toSatisfy((pid: number) =>
    isServerOf(pid, clusterOf(dataDir)),
  );
});

test("a lock file that names a stranger, or nobody, is taken away", async () => {
  const dataDir = fresh();
  await (await startServer({ dataDir })).stop();
  for (const pid of [process.pid, 4_194_399]) {
    const lines = [pid, clusterOf(dataDir), 1, 5432, ".", "", "", "ready   ", ""];
    writeFileSync(join(clusterOf(dataDir), "postmaster.pid"), lines.join("\n"));
    const server = await startServer({ dataDir });
    expect(server.pid()).not.toBe(pid);
    await server.stop();
  }
});

test("NF-015 another version, a strange directory, a full disk and a taken port are named, with what to do", async () => {
  const dataDir = fresh();
  await (await startServer({ dataDir })).stop();
  const versionFile = join(clusterOf(dataDir), "PG_VERSION");
  const version = readFileSync(versionFile, "utf8");
  writeFileSync(versionFile, "17\n");
  await expect(startServer({ dataDir })).rejects.toMatchObject({ code: "version_mismatch" });
  rmSync(versionFile);
  await expect(startServer({ dataDir })).rejects.toMatchObject({ code: "corrupt" });
  writeFileSync(versionFile, version);
  await expect(startServer({ dataDir, freeBytes: async () => 1024 })).rejects.toMatchObject({ code: "storage_full" });
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  const address = taken.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  await expect(startServer({ dataDir, port })).rejects.toMatchObject({ code: "port_in_use" });
  await new Promise((resolve) => taken.close(resolve));
  const server = await startServer({ dataDir, port });
  await server.stop();
  writeFileSync(join(home, "file"), "");
  await expect(startServer({ dataDir: join(home, "file") })).rejects.toMatchObject({ code: "permission" });
});

test("a data directory whose path is longer than a socket's address may be", async () => {
  const dataDir = join(fresh(), "d".repeat(120));
  mkdirSync(dataDir, { recursive: true });
  const db = await openDatabase({ dataDir });
  const { rows } = await db.transaction((tx) => tx.execute<{ one: number }>(sql`SELECT 1 AS one`));
  expect(rows).toEqual([{ one: 1 }]);
  await db.close();
});
