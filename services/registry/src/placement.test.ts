import { asWallMs } from "@rspp/base/brand";
import { type Database, openDatabase } from "@rspp/store/database";
import { pgActiveDocuments } from "@rspp/store/pg-active-documents";
import { pgAuditStore } from "@rspp/store/pg-audit-store";
import { pgSessionStore } from "@rspp/store/pg-session-store";
import { runSql } from "@rspp/store/testkit/run-sql";
import { type TestDatabase, testDatabase } from "@rspp/store/testkit/test-database";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { MoveRequest } from "./fleet.ts";
import type { RouteRequest } from "./routes.ts";
import { sessionsKept } from "./sessions-kept.ts";
import { createStatuses } from "./statuses.ts";
import { type Bench, bench, document, instance, publishing, type Registry, told } from "./testing/bench.ts";

let at: TestDatabase;
let other: Database;
let b: Bench;
let one: Registry;
let two: Registry;

beforeAll(async () => {
  at = await testDatabase();
  other = await openDatabase({ url: at.db.url });
  b = bench(() => at.db);
  one = b.registry();
  const second = bench(() => other);
  two = second.registry();
  Object.defineProperty(second, "now", { get: () => b.now });
  await one.versions.publish(publishing("t"));
});
afterAll(async () => {
  await other.close();
  await at.close();
});
beforeEach(async () => {
  await runSql(at.db, `TRUNCATE rspp.sessions, rspp.instances, rspp.session_moves, rspp.instance_drains`);
  b.now += 3_600_000;
});

const routed = async (registry: Registry, part: Partial<RouteRequest> = {}) => {
  const answer = await registry.route(b.request(part));
  return answer.ok ? answer.value.row.instanceId : "reason" in answer.error ? answer.error.reason : answer.error.kind;
};
const counts = (found: readonly string[]) =>
  Object.fromEntries([...new Set(found)].sort().map((word) => [word, found.filter((one) => one === word).length]));

describe("places", () => {
  test("F-049 F-094 200 routes at once through two registries on one database fill a capacity of 50 exactly, whatever the load report says", async () => {
    await one.statuses.reportInstance(instance("a", { capacitySessions: 50 }));
    const asked = Array.from({ length: 200 }, (_, n) => routed(n % 2 === 0 ? one : two));
    expect(counts(await Promise.all(asked))).toEqual({ a: 50, all_full: 150 });
    // It still says it has none, and then that it is full: neither counts.
    await one.statuses.reportInstance(instance("a", { capacitySessions: 50, sessions: 0 }));
    expect(await routed(two)).toBe("all_full");
    const { sessions } = await one.statuses.list({ tenantId: "t", limit: 1 });
    const sessionId = sessions[0]?.session.sessionId ?? "";
    await one.statuses.reportMany([told("t", sessionId, { state: "ended", asOfWallMs: b.now })]);
    await one.statuses.reportInstance(instance("a", { capacitySessions: 50, sessions: 50 }));
    expect([await routed(one), await routed(two)]).toEqual(["a", "all_full"]);
  });

  test("F-094 a sick, silent, draining or full instance gets none; a suspect one is the last choice", async () => {
    await one.statuses.reportInstance(instance("silent"));
    b.now += 15_001;
    await one.statuses.reportInstance(instance("sick", { ready: false }));
    await one.statuses.reportInstance(instance("leaving", { draining: true }));
    await one.statuses.reportInstance(instance("drained"));
    await one.fleet.drain({ instanceId: "drained", mode: "finish", deadlineMs: 0, reason: "", actor: "ada" });
    expect(await routed(one)).toBe("none_ready");
    await one.statuses.reportInstance(instance("well"));
    await one.statuses.reportInstance(instance("aaa-suspect"));
    await runSql(
      at.db,
      `UPDATE rspp.instances SET suspect_until_wall_ms = ${b.now + 1} WHERE instance_id = 'aaa-suspect'`,
    );
    const found = [await routed(one), await routed(two), await routed(one), await routed(two), await routed(one)];
    expect(found).toEqual(["well", "well", "aaa-suspect", "aaa-suspect", "all_full"]);
  });

  test("F-049 a place is kept until what was opened at the last moment has been told, then given again", async () => {
    await one.statuses.reportInstance(instance("a", { capacitySessions: 1 }));
    expect(await routed(one, { sessionId: "late" })).toBe("a");
    b.now += 300_000;
    await one.statuses.reportInstance(instance("a", { capacitySessions: 1 }));
    expect(await routed(one)).toBe("all_full");
    await one.statuses.reportMany([told("t", "late", { asOfWallMs: b.now })]);
    b.now += 20_000;
    await one.statuses.reportInstance(instance("a", { capacitySessions: 1 }));
    expect(await routed(two)).toBe("all_full");
  });
});

const move = (sessionId: string, part: Partial<MoveRequest> = {}): MoveRequest => ({
  session: { tenantId: "t", sessionId },
  fromInstanceId: "a",
  reason: "runtime_lost",
  requestKey: "m1",
  actor: "adapter-1",
  avoidInstanceIds: [],
  region: "",
  authorityEpoch: 3,
  openTurnNumber: 2,
  lastTurnNumber: 1,
  ...part,
});

describe("F-096 moves", () => {
  const open = async (sessionId: string) => {
    expect(await routed(one, { sessionId })).toBe("a");
    await one.statuses.reportMany([told("t", sessionId, { authorityEpoch: 3, asOfWallMs: b.now })]);
  };
  const status = (sessionId: string) => one.statuses.get({ tenantId: "t", sessionId });

  test("F-096 a live session is placed elsewhere under its id, once for all who ask, and not where it was just lost", async () => {
    await one.statuses.reportInstance(instance("a"));
    await open("s1");
    await one.statuses.reportInstance(instance("b"));
    const asked = Array.from({ length: 8 }, (_, n) => (n % 2 === 0 ? one : two).fleet.reassign(move("s1")));
    const answers = await Promise.all(asked);
    expect(counts(answers.map(({ kind }) => kind))).toEqual({ placed: 1, unchanged: 7 });
    for (const answer of answers) {
      expect(answer).toMatchObject({
        placement: { instanceId: "b", address: "http://b", placementNumber: 2, predecessorInstanceId: "a" },
      });
    }
    expect(await status("s1")).toMatchObject({ state: "active", instanceId: "b", placementNumber: 2 });
    // Another adapter that noticed as well; one that is mistaken; a key of another move.
    expect(await two.fleet.reassign(move("s1", { requestKey: "m2" }))).toMatchObject({
      kind: "unchanged",
      placement: { instanceId: "b", address: "http://b" },
    });
    expect(await two.fleet.reassign(move("s1", { requestKey: "m3", fromInstanceId: "z" }))).toEqual({
      kind: "not_there",
      instanceId: "b",
    });
    expect(await two.fleet.reassign(move("s1", { fromInstanceId: "b" }))).toEqual({ kind: "key_reused" });
    // Lost from b too: a has room, and is not trusted yet.
    const again = move("s1", { requestKey: "m4", fromInstanceId: "b" });
    expect(await one.fleet.reassign(again)).toEqual({ kind: "no_instance", reason: "none_ready" });
    await one.statuses.reportInstance(instance("c"));
    expect(await one.fleet.reassign(again)).toMatchObject({ kind: "placed", placement: { instanceId: "c" } });
    const audit = await pgAuditStore(at.db).list({ tenantId: "t", limit: 2 });
    expect(audit).toMatchObject([
      { actor: "adapter-1", action: "reassign", subject: "session/s1", detail: { from: "b", to: "c" } },
      { action: "reassign", detail: { from: "a", to: "b", reason: "runtime_lost", epoch: 3, open_turn: 2 } },
    ]);
  });

  test("F-096 a session that every runtime has lost once returns to one that is well again, and to another first", async () => {
    await one.statuses.reportInstance(instance("a"));
    await open("s1");
    await one.statuses.reportInstance(instance("b"));
    expect(await one.fleet.reassign(move("s1"))).toMatchObject({ placement: { instanceId: "b" } });
    b.now += 11_000;
    for (const id of ["a", "b"]) await one.statuses.reportInstance(instance(id));
    const back = move("s1", { requestKey: "m2", fromInstanceId: "b" });
    expect(await one.fleet.reassign(back)).toMatchObject({ kind: "placed", placement: { instanceId: "a" } });
    // Neither to the one it leaves, nor to one that the adapter has just tried in vain.
    const vain = move("s1", { requestKey: "m3", avoidInstanceIds: ["b"] });
    expect(await one.fleet.reassign(vain)).toEqual({ kind: "no_instance", reason: "none_ready" });
    b.now += 11_000;
    for (const id of ["a", "b", "c"]) await one.statuses.reportInstance(instance(id));
    const other = move("s1", { requestKey: "m4" });
    expect(await one.fleet.reassign(other)).toMatchObject({ kind: "placed", placement: { instanceId: "c" } });
  });

  test("F-096 what the lost runtime says late changes nothing; its successor is heard", async () => {
    await one.statuses.reportInstance(instance("a"));
    await open("s2");
    await one.statuses.reportInstance(instance("b"));
    await one.fleet.reassign(move("s2"));
    const late = told("t", "s2", { authorityEpoch: 3, asOfWallMs: b.now + 9, state: "ended" });
    const higher = told("t", "s2", { authorityEpoch: 9, asOfWallMs: b.now + 9, turns: 9 });
    expect(await one.statuses.reportMany([late])).toEqual([false]);
    expect(await one.statuses.reportMany([higher])).toEqual([false]);
    const next = told("t", "s2", { instanceId: "b", authorityEpoch: 4, asOfWallMs: b.now, turns: 5 });
    expect(await one.statuses.reportMany([next])).toEqual([true]);
    expect(await status("s2")).toMatchObject({ instanceId: "b", turns: 5, state: "active" });
  });

  test("F-049 moves keep to the capacity like routes do, and free the place they leave", async () => {
    await one.statuses.reportInstance(instance("a", { capacitySessions: 4 }));
    for (const id of ["p1", "p2", "p3", "p4"]) await open(id);
    await one.statuses.reportInstance(instance("b", { capacitySessions: 3 }));
    const moves = ["p1", "p2", "p3", "p4"].map((id) => two.fleet.reassign(move(id, { reason: "drain" })));
    expect(counts((await Promise.all(moves)).map(({ kind }) => kind))).toEqual({ placed: 3, no_instance: 1 });
    expect(counts([await routed(one), await routed(one), await routed(one), await routed(one)])).toEqual({
      a: 3,
      all_full: 1,
    });
  });

  test("unknown and ended sessions are told apart from those of other tenants by nobody", async () => {
    expect(await one.fleet.reassign(move("nobody"))).toEqual({ kind: "not_found" });
    await one.statuses.reportInstance(instance("a"));
    await open("s3");
    const foreign = { tenantId: "other", sessionId: "s3" };
    expect(await one.fleet.reassign(move("s3", { session: foreign }))).toEqual({ kind: "not_found" });
    await one.statuses.reportMany([told("t", "s3", { authorityEpoch: 4, state: "ended", asOfWallMs: b.now + 1 })]);
    expect(await one.fleet.reassign(move("s3"))).toEqual({ kind: "ended" });
    expect(await one.fleet.migrate({ tenantId: "t", sessionId: "s3" }, "ada", "")).toBeUndefined();
  });

  test("F-106 an instance is told to drain and which sessions to hand over, until both are done or taken back", async () => {
    await one.statuses.reportInstance(instance("a"));
    await open("d1");
    expect(await one.fleet.orders("a")).toEqual({ drain: null, migrate: [] });
    expect(await two.fleet.migrate({ tenantId: "t", sessionId: "d1" }, "ada", "rebalance")).toBe("a");
    const drained = await two.fleet.drain({
      instanceId: "a",
      mode: "migrate",
      deadlineMs: 60_000,
      reason: "upgrade",
      actor: "ada",
    });
    expect(drained).toMatchObject({ instance: { instanceId: "a", draining: true }, sessions: 1 });
    // It reports that it does not drain: it was told, and has not heard yet.
    await one.statuses.reportInstance(instance("a"));
    expect(await one.fleet.orders("a")).toEqual({
      drain: { mode: "migrate", deadlineWallMs: b.now + 60_000, reason: "upgrade" },
      migrate: [{ tenantId: "t", sessionId: "d1" }],
    });
    expect((await one.statuses.view()).instances).toMatchObject([{ instanceId: "a", draining: true }]);
    expect(await routed(one)).toBe("none_ready");
    await one.statuses.reportInstance(instance("b"));
    await one.fleet.reassign(move("d1", { reason: "migration" }));
    expect(await one.fleet.orders("a")).toMatchObject({ migrate: [] });
    expect([await one.fleet.undrain("a", "eve"), await one.fleet.undrain("a", "eve")]).toEqual([true, false]);
    expect(
      await one.fleet.drain({ instanceId: "z", mode: "finish", deadlineMs: 0, reason: "", actor: "" }),
    ).toBeUndefined();
    const audit = await pgAuditStore(at.db).list({ tenantId: "*", limit: 2 });
    expect(audit.map(({ actor, action, subject }) => [actor, action, subject])).toEqual([
      ["eve", "undrain", "instance/a"],
      ["ada", "drain", "instance/a"],
    ]);
  });
});

test("F-116 ended sessions go by their tenant's configuration, a bounded number at once, and the audit log says so", async () => {
  const publish = (tenantId: string, days: number) =>
    b
      .registry()
      .artifacts.publish(document(tenantId, `schema: rspp/tenant-config/v1\nretention: {sessions_days: ${days}}\n`));
  for (const [tenantId, days] of [
    ["brief", 1],
    ["long", 30],
  ] as const) {
    expect(await publish(tenantId, days)).toMatchObject({ ok: true });
  }
  await one.statuses.reportInstance(instance("a", { capacitySessions: 9 }));
  await routed(one, { sessionId: "pattern" });
  const day = 86_400_000;
  const ages = [
    ["brief", 2],
    ["brief", 3],
    ["brief", 0.5],
    ["long", 20],
    ["long", 31],
    ["plain", 6],
    ["plain", 8],
  ] as const;
  for (const [i, [tenantId, days]] of ages.entries()) {
    await runSql(
      at.db,
      `INSERT INTO rspp.sessions SELECT (jsonb_populate_record(s, jsonb_build_object('tenant_id', '${tenantId}',
      'session_id', 'aged-${i}', 'request_key', 'aged-${i}', 'token_id', 'aged-${i}', 'state', 4,
      'ended_wall_ms', ${b.now - days * day}))).* FROM rspp.sessions s LIMIT 1`,
    );
  }
  const kept = () => sessionsKept(pgActiveDocuments(at.db));
  const statuses = createStatuses(pgSessionStore(at.db), { wallMs: () => asWallMs(b.now) }, { kept });
  expect(await statuses.sweep()).toMatchObject({ purged: 4 });
  const left = await runSql(at.db, "SELECT session_id FROM rspp.sessions WHERE session_id LIKE 'aged%' ORDER BY 1");
  expect(left.map(({ session_id }) => session_id)).toEqual(["aged-2", "aged-3", "aged-5"]);
  const audit = async (tenantId: string) =>
    (await pgAuditStore(at.db).list({ tenantId, limit: 1, action: "retention" }))[0];
  expect(await audit("brief")).toMatchObject({
    actor: "registry",
    action: "retention.expire",
    subject: "sessions",
    detail: { policy: "tenant_config/default@1", sessions_days: 1, sessions: 2, before_wall_ms: b.now - day },
  });
  expect(await audit("long")).toMatchObject({ detail: { sessions_days: 30, sessions: 1 } });
  // What no configuration says is housekeeping, not retention.
  expect(await audit("plain")).toBeUndefined();
});

describe("sessions nobody tells of", () => {
  test("are ended when their route was never opened, marked when their runtime is gone, and forgotten in the end", async () => {
    const { statuses } = b.registry();
    await statuses.reportInstance(instance("a", { capacitySessions: 9 }));
    for (const sessionId of ["unopened", "lost", "ended"]) await routed(one, { sessionId });
    await statuses.reportMany([told("t", "lost", { asOfWallMs: b.now })]);
    await statuses.reportMany([told("t", "ended", { asOfWallMs: b.now, state: "ended" })]);
    const get = (sessionId: string) => statuses.get({ tenantId: "t", sessionId });
    b.now += 320_000;
    expect(await statuses.sweep()).toEqual({ unopened: 1, lost: 1, endedLost: 0, purged: 0 });
    expect(await get("unopened")).toMatchObject({ state: "ended", endReason: "unopened" });
    expect(await get("lost")).toMatchObject({ state: "active", lostSinceWallMs: b.now });
    // One who has only begun to listen marks nobody.
    await runSql(at.db, `UPDATE rspp.sessions SET lost_since_wall_ms = 0`);
    expect(await b.registry().statuses.sweep()).toMatchObject({ lost: 0 });
    await statuses.sweep();
    // Its runtime is back and has it.
    await statuses.reportInstance(instance("a"));
    await statuses.sweep();
    expect(await get("lost")).toMatchObject({ lostSinceWallMs: 0 });
    b.now += 61_000;
    await statuses.sweep();
    b.now += 300_001;
    expect(await statuses.sweep()).toMatchObject({ endedLost: 1 });
    expect(await get("lost")).toMatchObject({ state: "ended", endReason: "lost" });
    // A runtime that was cut off knows better.
    expect(await statuses.reportMany([told("t", "lost", { asOfWallMs: b.now })])).toEqual([true]);
    expect(await get("lost")).toMatchObject({ state: "active", endReason: "", endedWallMs: 0 });
    b.now += 604_800_001;
    expect(await statuses.sweep()).toMatchObject({ purged: 2 });
    expect([await get("unopened"), await get("ended")]).toEqual([undefined, undefined]);
    expect(await get("lost")).toBeDefined();
  });
});
