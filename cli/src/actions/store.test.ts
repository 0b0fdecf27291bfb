import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDatabase } from "@rspp/store/database";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { CommandError } from "../errors.ts";
import { store } from "./store.ts";

let dir: string;
let out = "";

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "rspp-store-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true, maxRetries: 3 }));
beforeEach(() => {
  out = "";
  vi.stubEnv("DATABASE_URL", "");
  vi.stubEnv("RSPP_DATABASE_URL", undefined);
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    out += String(text);
    return true;
  });
  vi.spyOn(process.stderr, "write").mockImplementation(() => true);
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

const told = () => JSON.parse(out.trim().split("\n").at(-1) ?? "");
const failure = async (call: Promise<unknown>) => {
  const error: unknown = await call.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof CommandError)) throw new Error(`no refusal: ${String(error)}`);
  return error.facts;
};

test("F-166 a backup of one data directory is restored into another, and says what it is as of", async () => {
  const from = { data: join(dir, "from"), json: true };
  const to = { data: join(dir, "to"), json: true };
  const file = join(dir, "control-plane.rspp-backup");
  expect(await store("status", undefined, from)).toBe(0);
  expect(told()).toMatchObject({ ok: true, applied: [], lease_incarnation: 0 });
  expect(await store("migrate", undefined, from)).toBe(0);
  const { applied } = told();
  expect(applied.length).toBeGreaterThan(5);
  expect(await store("backup", file, from)).toBe(0);
  expect(told()).toMatchObject({ ok: true, file });
  expect(await store("restore", file, to)).toBe(0);
  const { lease_incarnation, lease_incarnation_before } = told();
  expect(lease_incarnation).toBeGreaterThan(lease_incarnation_before);
  expect(await store("status", undefined, to)).toBe(0);
  expect(told()).toMatchObject({ applied, pending: [], lease_incarnation });
  // No backup is written over, none is restored over a platform, and an altered one is restored nowhere.
  expect(await failure(store("backup", file, from))).toMatchObject({ status: 2, reason: "usage" });
  expect(await failure(store("restore", file, to))).toMatchObject({ status: 2, reason: "conflict" });
  writeFileSync(file, readFileSync(file).subarray(0, 200));
  expect(await failure(store("restore", file, { ...to, data: join(dir, "third") }))).toMatchObject({
    reason: "corrupt",
  });
}, 120_000);

test("F-166 DATABASE_URL names the database; an embedded one that a platform uses is not touched", async () => {
  const data = join(dir, "used");
  const db = await openDatabase({ dataDir: data });
  try {
    expect(await failure(store("backup", join(dir, "x"), { data }))).toMatchObject({ reason: "in_use" });
    vi.stubEnv("DATABASE_URL", db.url);
    expect(await store("backup", join(dir, "x"), { data, json: true })).toBe(0);
    expect(told()).toMatchObject({ ok: true });
  } finally {
    await db.close();
  }
  vi.stubEnv("DATABASE_URL", "postgresql://rspp:planted-secret@127.0.0.1:1/none");
  const away = await failure(store("status", undefined, { data }));
  expect(away).toMatchObject({ status: 3, reason: "unavailable" });
  expect(JSON.stringify(away)).not.toContain("planted-secret");
}, 120_000);

test.each([
  ["erase", undefined],
  ["backup", undefined],
  ["restore", undefined],
])("rspp store %s without what it needs is refused with what to write", async (action, file) => {
  expect(await failure(store(action, file, { data: join(dir, "none") }))).toMatchObject({ status: 2, reason: "usage" });
});
