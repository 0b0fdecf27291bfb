import { afterAll, beforeAll, expect, test } from "vitest";
import { pgSnapshotStore } from "./pg-snapshot-store.ts";
import type { SnapshotStore } from "./snapshot-store.ts";
import { type TestDatabase, testDatabase } from "./testkit/test-database.ts";

let at: TestDatabase;
let one: SnapshotStore;
let other: SnapshotStore;

beforeAll(async () => {
  at = await testDatabase();
  // Two replicas on one database.
  one = pgSnapshotStore(at.db);
  other = pgSnapshotStore(at.db);
});
afterAll(() => at.close());

const bytes = (text: string) => new TextEncoder().encode(text);
const put = (store: SnapshotStore, kind: string, text: string) => store.publish(kind, async () => bytes(text), 5);

test("F-102 replicas agree on one rising version per kind; equal content is no new version", async () => {
  expect(await put(one, "policy", "a")).toMatchObject({ changed: true, snapshot: { version: 1 } });
  expect(await put(other, "policy", "a")).toMatchObject({ changed: false, snapshot: { version: 1 } });
  expect(await put(other, "policy", "b")).toMatchObject({ changed: true, snapshot: { version: 2 } });
  expect(await put(one, "routing", "r")).toMatchObject({ changed: true, snapshot: { version: 1 } });
  const found = await one.read({ policy: 1, routing: 1 });
  expect(found.map(({ kind, version, content }) => [kind, version, new TextDecoder().decode(content)])).toEqual([
    ["policy", 2, "b"],
  ]);
  expect(await one.read({ policy: 2, routing: 1 })).toEqual([]);
});

test("F-102 a kind is made by one replica at a time, from what stands; what makes nothing changes nothing", async () => {
  let free: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    free = resolve;
  });
  let entered: () => void = () => undefined;
  const inside = new Promise<void>((resolve) => {
    entered = resolve;
  });
  const slow = one.publish(
    "admission",
    async (current) => {
      expect(current).toBeNull();
      entered();
      await held;
      return bytes("slow");
    },
    7,
  );
  await inside;
  // The row is another's: nothing is waited for.
  expect(await other.publish("admission", async () => bytes("fast"), 7)).toBeNull();
  free();
  expect(await slow).toMatchObject({ snapshot: { version: 1 } });
  const kept = await one.publish("admission", async () => null, 8);
  expect(kept).toBeNull();
});

test("F-102 a database that was set back goes on after the versions its watchers have", async () => {
  await put(one, "rollout", "x");
  await one.raise("rollout", 41);
  const version = async () => (await one.read({})).find(({ kind }) => kind === "rollout")?.version;
  expect(await version()).toBe(42);
  expect(await put(other, "rollout", "y")).toMatchObject({ snapshot: { version: 43 } });
  await one.raise("rollout", 10);
  await one.raise("rollout", 9_000_000_000_000);
  expect(await version()).toBe(43);
});

test("F-102 a publication of one replica wakes the other", async () => {
  let wakes = 0;
  const woken: (() => void)[] = [];
  const listener = other.onChange(() => {
    wakes += 1;
    for (const wake of woken.splice(0)) wake();
  });
  const next = () => new Promise<void>((resolve) => woken.push(resolve));
  if (wakes === 0) await next();
  const heard = next();
  await put(one, "policy", "c");
  await heard;
  listener.close();
});

test("F-060 a gateway's reports replace its last, those of others stay", async () => {
  const row = { provider: "p/a", circuit: 1, errorPermille: 0, p95FirstOutputMs: 90, priceMicros: 12, available: true };
  await one.reportProviders("gw-1", [row, { ...row, provider: "p/b", priceMicros: null }], 1_000);
  await one.reportProviders("gw-2", [row], 1_500);
  await one.reportProviders("gw-1", [{ ...row, circuit: 2 }], 2_000);
  expect(await other.providerReports(0)).toEqual([
    { ...row, circuit: 2, instanceId: "gw-1", reportedWallMs: 2_000 },
    { ...row, instanceId: "gw-2", reportedWallMs: 1_500 },
  ]);
  expect(await other.providerReports(1_600)).toHaveLength(1);
  expect(await one.forgetProviders(1_600)).toBe(1);
});
