import { sql } from "drizzle-orm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { pgSessionStore } from "./pg-session-store.ts";
import type { SessionStore, StatusReport } from "./session-store.ts";
import { type TestDatabase, testDatabase } from "./testkit/test-database.ts";

let at: TestDatabase;
let store: SessionStore;

beforeAll(async () => {
  at = await testDatabase();
  store = pgSessionStore(at.db);
});
afterAll(() => at.close());

const report = (number: number, part: Partial<StatusReport> = {}): StatusReport => ({
  session: { tenantId: "t", sessionId: `s${number}` },
  instanceId: "a",
  state: "active",
  reconnecting: false,
  degraded: true,
  authorityEpoch: 5,
  startedWallMs: 1,
  turns: 1,
  openTurnNumber: 0,
  recordingLevel: 2,
  asOfWallMs: 1_000,
  ...part,
});
const read = async (number: number) => await store.get({ tenantId: "t", sessionId: `s${number}` });
const numbers = Array.from({ length: 1_000 }, (_, number) => number);

/** As routes leave them. */
const routed = (from: number, to: number) =>
  at.db.transaction((tx) =>
    tx.execute(sql`INSERT INTO rspp.sessions (tenant_id, session_id, request_key, request_digest, pipeline_name,
        pipeline_version, pipeline_digest, transport, instance_id, endpoint_url, region, token_id, routed_wall_ms,
        route_expires_wall_ms, state)
      SELECT 't', 's' || n, 'k' || n, '', 'p', 1, '', 'websocket', 'a', '', '', '', 1, 2, 1
      FROM generate_series(${from}::integer, ${to}::integer) n`),
  );

test("a thousand reports are one transaction, and each keeps its guards", async () => {
  await routed(0, 998);
  expect(await store.reportMany(numbers.map((number) => report(number)))).toEqual(numbers.map((n) => n < 999));
  const { rows } = await at.db.transaction((tx) =>
    tx.execute(sql`SELECT DISTINCT xmin::text FROM rspp.sessions WHERE degraded AND recording_level = 2 AND state = 2`),
  );
  expect(rows).toHaveLength(1);
  expect(await store.reportMany([report(0, { state: "ended" })])).toEqual([true]);

  // Ended, an earlier epoch, an earlier word, the same again, a later word, a later epoch; 999 is unknown.
  const kinds = [
    {},
    { authorityEpoch: 4, asOfWallMs: 9_000, turns: 9 },
    { asOfWallMs: 999, turns: 9 },
    {},
    { asOfWallMs: 1_001, turns: 2 },
    { authorityEpoch: 6, asOfWallMs: 1, turns: 3 },
  ];
  const kindOf = (number: number) => (number === 0 ? 0 : 1 + (number % 5));
  const taken = await store.reportMany(numbers.map((number) => report(number, kinds[kindOf(number)])));
  expect(taken).toEqual(numbers.map((number) => number !== 999 && kindOf(number) >= 3));
  expect(await read(0)).toMatchObject({ state: "ended" });
  for (const [number, turns] of [5, 6, 7, 8, 9].map((number) => [number, [1, 1, 1, 2, 3][number % 5]] as const)) {
    expect(await read(number)).toMatchObject({ turns, state: "active" });
  }
});

test("reports on one session in a batch count in their order; two batches never wait for each other for ever", async () => {
  await routed(1_001, 1_100);
  const [one, ended] = [report(1_001), report(1_001, { state: "ended", asOfWallMs: 1_001 })];
  const late = report(1_001, { authorityEpoch: 6 });
  expect(await store.reportMany([])).toEqual([]);
  expect(await store.reportMany([one, report(1_002), ended, late])).toEqual([true, true, true, false]);
  expect(await read(1_001)).toMatchObject({ state: "ended", authorityEpoch: 5 });

  const batch = (authorityEpoch: number) =>
    Array.from({ length: 98 }, (_, n) => report(1_003 + n, { authorityEpoch, turns: authorityEpoch }));
  const epochs = [7, 9, 8, 10, 6];
  await Promise.all(epochs.map((epoch, n) => store.reportMany(n % 2 === 0 ? batch(epoch) : batch(epoch).reverse())));
  for (const number of [1_003, 1_050, 1_100]) expect(await read(number)).toMatchObject({ turns: 10 });
});

test("a batch has a bound", async () => {
  const many = Array.from({ length: 1_001 }, () => report(1));
  await expect(store.reportMany(many)).rejects.toThrow("1000");
});
