import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Database, openDatabase } from "./database.ts";
import type { LeaseRow, LeaseStore } from "./lease-store.ts";
import { pgAuditStore } from "./pg-audit-store.ts";
import { nextIncarnation } from "./pg-lease-incarnation.ts";
import { openPgLeaseStore } from "./pg-lease-store.ts";
import { pgPipelineStore } from "./pg-pipeline-store.ts";
import { pgStateStore } from "./pg-state-store.ts";
import { pgTimelineIndex } from "./pg-timeline-index.ts";
import type { NewVersion } from "./pipeline-store.ts";
import type { SessionKey, StateStore, StateWrite } from "./state-store.ts";
import { runSql } from "./testkit/run-sql.ts";
import { type TestDatabase, testDatabase } from "./testkit/test-database.ts";
import type { NewTimelineSegment, TimelineInfo, TimelinePart, TimelineSegment } from "./timeline-index.ts";

let at: TestDatabase;
let other: Database;
let leases: LeaseStore;
let states: [StateStore, StateStore];

beforeAll(async () => {
  at = await testDatabase();
  other = await openDatabase({ url: at.db.url });
  leases = await openPgLeaseStore(at.db, 60_000);
  states = [pgStateStore(at.db), pgStateStore(other)];
});
afterAll(async () => {
  await other.close();
  await at.close();
});

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
let count = 0;

/** Statements that wait for a lock. */
async function waiting(): Promise<number> {
  const { rows } = await other.transaction((tx) => {
    return tx.execute<{ n: number }>(sql`SELECT count(*)::int AS n FROM pg_locks WHERE NOT granted`);
  });
  return rows[0]?.n ?? 0;
}

async function waitUntil(there: () => Promise<boolean>): Promise<void> {
  const untilMs = performance.now() + 10_000;
  while (!(await there())) if (performance.now() > untilMs) throw new Error("it does not come");
}

/** Gives `session` the next epoch, as a grant would; holder null: a revocation. */
function grant(session: SessionKey, holder: string | null): Promise<number> {
  return leases.update(session, "issue", ({ store, nowWallMs }) => {
    const epoch = store.lastEpoch + 1;
    const lease: LeaseRow = {
      session,
      epoch,
      heldSinceEpoch: epoch,
      holder,
      receivers: ["r"],
      termMs: 60_000,
      lastSequence: null,
      signature: "s",
      expiresWallMs: nowWallMs + 60_000,
      oldRunsOutWallMs: nowWallMs,
      revoked: holder === null,
      issuedWallMs: nowWallMs,
      requestKey: "",
    };
    return { answer: epoch, lease, store: { ...store, lastEpoch: epoch } };
  });
}

const write = (session: SessionKey, epoch: number, expectedVersion: number, part: Partial<StateWrite> = {}) => ({
  session,
  epoch,
  expectedVersion,
  put: [],
  remove: [],
  requestKey: `k${count++}`,
  ...part,
});
const entry = (key: string, value: string) => ({ key, value: bytes(value), schema: "x/1" });

describe("session state", () => {
  test("is written under the lease's epoch and the version read, and read back", async () => {
    const session = { tenantId: "t", sessionId: `s${count++}` };
    const epoch = await grant(session, "a");
    expect(await states[0].get(session)).toMatchObject({ epoch: 0, version: 0, entries: [] });
    const first = write(session, epoch, 0, { put: [entry("a", "1"), entry("b", "2")] });
    expect(await states[0].compareAndSet(first)).toEqual({ kind: "written", version: 1, repeated: false });
    expect(await states[1].compareAndSet(first)).toEqual({ kind: "written", version: 1, repeated: true });
    expect(await states[1].compareAndSet(write(session, epoch, 0))).toEqual({ kind: "version_conflict", version: 1 });
    const second = write(session, epoch, 1, { put: [entry("a", "3")], remove: ["b"] });
    expect(await states[1].compareAndSet(second)).toEqual({ kind: "written", version: 2, repeated: false });
    const found = await states[0].get(session);
    expect(found).toMatchObject({ epoch, version: 2 });
    // By the database's clock, whoever wrote.
    expect(Math.abs(found.writtenWallMs - Date.now())).toBeLessThan(60_000);
    expect(found.entries.map(({ key, value }) => [key, new TextDecoder().decode(value)])).toEqual([["a", "3"]]);
    expect((await states[0].get(session, ["b"])).entries).toEqual([]);
    expect(await states[0].get({ ...session, tenantId: "other" })).toMatchObject({ version: 0 });
  });

  test("of writers at once over two connections exactly one wins each version", async () => {
    const session = { tenantId: "t", sessionId: `s${count++}` };
    const epoch = await grant(session, "a");
    for (let version = 0; version < 5; version++) {
      const racing = [0, 1, 0, 1, 0, 1].map((i, n) =>
        states[i === 0 ? 0 : 1].compareAndSet(write(session, epoch, version, { put: [entry("k", `${n}`)] })),
      );
      const kinds = (await Promise.all(racing)).map(({ kind }) => kind);
      expect(kinds.filter((kind) => kind === "written")).toHaveLength(1);
      expect(kinds.filter((kind) => kind === "version_conflict")).toHaveLength(5);
    }
  });

  test("F-095 a lower epoch is refused from the moment a higher one was granted, an ungranted one always", async () => {
    const session = { tenantId: "t", sessionId: `s${count++}` };
    expect(await states[0].compareAndSet(write(session, 7, 0))).toEqual({ kind: "unproved_epoch", floor: 0 });
    const old = await grant(session, "a");
    await states[0].compareAndSet(write(session, old, 0));
    const now = await grant(session, "b");
    const refusal = { kind: "stale_epoch", floor: now };
    expect(await states[1].compareAndSet(write(session, old, 1))).toEqual(refusal);
    expect(await states[1].delete(session, old)).toEqual(refusal);
    expect(await states[0].compareAndSet(write(session, now + 1, 1))).toMatchObject({ kind: "unproved_epoch" });
    expect(await states[0].compareAndSet(write(session, now, 1))).toMatchObject({ kind: "written", version: 2 });
    const revoked = await grant(session, null);
    expect(await states[0].compareAndSet(write(session, now, 2))).toMatchObject({ kind: "stale_epoch" });
    expect(await states[0].compareAndSet(write(session, revoked, 2))).toMatchObject({ kind: "stale_epoch" });
  });

  test("a takeover while the old holder writes: never is something written by the old one after it", async () => {
    const session = { tenantId: "t", sessionId: `s${count++}` };
    const old = await grant(session, "a");
    let version = 0;
    const writing = (async () => {
      for (;;) {
        const outcome = await states[1].compareAndSet(write(session, old, version));
        if (outcome.kind !== "written") return outcome.kind;
        version = outcome.version;
      }
    })();
    const now = await grant(session, "b");
    const seen = await states[0].get(session);
    expect(await writing).toBe("stale_epoch");
    expect((await states[0].get(session)).version).toBe(seen.version);
    expect(await states[0].compareAndSet(write(session, now, seen.version))).toMatchObject({ kind: "written" });
  });

  test("bounds are named, and nothing is half written", async () => {
    const session = { tenantId: "t", sessionId: `s${count++}` };
    const epoch = await grant(session, "a");
    const many = Array.from({ length: 256 }, (_, i) => entry(`k${i}`, ""));
    await states[0].compareAndSet(write(session, epoch, 0, { put: many }));
    const bad: Partial<StateWrite>[] = [
      { put: [entry("one-more", "")] },
      { put: [...many, entry("x", "")] },
      { put: [entry("", "")] },
      { put: [entry("a", "")], remove: ["a"] },
      { put: [{ key: "a", value: new Uint8Array(1_048_577), schema: "" }] },
    ];
    for (const part of bad) {
      await expect(async () => states[0].compareAndSet(write(session, epoch, 1, part))).rejects.toMatchObject({
        code: "invalid",
      });
    }
    expect(await states[0].get(session)).toMatchObject({ version: 1, entries: { length: 256 } });
  });
});

describe("the lease store", () => {
  test("a database that is not the one that wrote it comes up under a higher incarnation", async () => {
    const before = await leases.incarnation();
    await openPgLeaseStore(other, 60_000);
    expect(await leases.incarnation()).toBe(before);
    await at.db.transaction((tx) => tx.execute(sql`UPDATE rspp.lease_store SET origin = 'elsewhere'`));
    await openPgLeaseStore(other, 60_000);
    expect(await leases.incarnation()).toBeGreaterThan(before);
  });

  test("incarnations rise with every restore and with time, so that a backup restored twice repeats none", () => {
    const now = Date.UTC(2027, 0, 1);
    expect(nextIncarnation(5, now)).toBeGreaterThan(100_000);
    expect(nextIncarnation(5, now + 600_000)).toBe(nextIncarnation(5, now) + 1);
    expect(nextIncarnation(2_000_000, now)).toBe(2_000_001);
    expect(nextIncarnation(0, 0)).toBe(1);
  });

  test("the counter of epochs cannot be set back, not even by hand", async () => {
    const back = at.db.transaction((tx) => tx.execute(sql`UPDATE rspp.lease_store SET last_epoch = last_epoch - 1`));
    await expect(back).rejects.toMatchObject({ code: "conflict" });
  });

  test("F-095 a sequence of epochs that was set back gives a session no lower one", async () => {
    const session = { tenantId: "t", sessionId: `s${count++}` };
    let epoch = 0;
    for (let i = 0; i < 8; i++) epoch = await grant(session, "a");
    const move = (by: number) =>
      runSql(at.db, `SELECT setval('rspp.lease_epochs', last_value + ${by}) FROM rspp.lease_epochs`);
    await move(-5);
    await expect(grant(session, "b")).rejects.toMatchObject({ code: "conflict" });
    await move(10);
    expect(await grant(session, "b")).toBeGreaterThan(epoch);
  });

  test("F-095 a grant waits for nobody else's: not for one that is held up in the middle", async () => {
    const [slow, other] = [`s${count++}`, `s${count++}`].map((sessionId) => ({ tenantId: "t", sessionId }));
    if (slow === undefined || other === undefined) throw new Error("two sessions");
    await grant(slow, "a");
    let heldUp: Promise<number> | undefined;
    const done: string[] = [];
    await at.db.transaction(async (tx) => {
      // As a replica that is stopped while it decides about that session.
      await tx.execute(sql`SELECT 1 FROM rspp.leases WHERE session_id = ${slow.sessionId} FOR UPDATE`);
      heldUp = grant(slow, "b").finally(() => done.push("slow"));
      await waitUntil(async () => (await waiting()) > 0);
      await grant(other, "b");
      await grant(other, "c");
      done.push("other");
    });
    await heldUp;
    expect(done).toEqual(["other", "slow"]);
  });

  test("F-095 a change that commits late is told before those that were numbered after it", async () => {
    const [late, early] = [`s${count++}`, `s${count++}`].map((sessionId) => ({ tenantId: "late", sessionId }));
    if (late === undefined || early === undefined) throw new Error("two sessions");
    await grant(late, "a");
    const from = await leases.head();
    const told = async () => (await leases.changes({ tenantId: "late" }, from, 10)).map(({ lease }) => lease.holder);
    await at.db.transaction(async (tx) => {
      await tx.execute(sql`UPDATE rspp.leases SET change_seq = rspp.next_lease_change(), holder = 'late'
        WHERE session_id = ${late.sessionId}`);
      await grant(early, "early");
      // Told now, a watcher would stand behind the other and never learn of it.
      expect(await told()).toEqual([]);
      expect(await leases.head()).toBe(from);
    });
    expect(await told()).toEqual(["late", "early"]);
  });
});

const version = (part: Partial<NewVersion>): NewVersion => ({
  tenantId: "t",
  kind: "pipeline",
  name: "p",
  version: null,
  author: "ada",
  publishedWallMs: count++,
  note: "",
  content: bytes("x"),
  source: bytes("# x"),
  sourceFormat: "yaml",
  ...part,
});

describe("published versions", () => {
  test("F-015 cannot be changed, deleted or truncated by hand; nor can the audit", async () => {
    await pgPipelineStore(at.db).publish(version({}));
    for (const statement of [
      "UPDATE rspp.published_versions SET content = 'y'",
      "UPDATE rspp.published_versions SET deprecated = true, author = 'eve'",
      "DELETE FROM rspp.published_versions",
      "TRUNCATE rspp.published_versions",
      "UPDATE rspp.audit SET actor = 'eve'",
      "DELETE FROM rspp.audit",
      "TRUNCATE rspp.audit",
    ]) {
      const attempt = at.db.transaction((tx) => tx.execute(sql.raw(statement)));
      await expect(attempt, statement).rejects.toMatchObject({ code: "conflict" });
    }
  });

  test("two publishers at once of one version with other bytes: one stands, the other is told both hashes", async () => {
    const stores = [pgPipelineStore(at.db), pgPipelineStore(other)];
    const outcomes = await Promise.all(
      stores.map((store, i) => store.publish(version({ name: "raced", version: 1, content: bytes(`${i}`) }))),
    );
    expect(outcomes.map(({ kind }) => kind).sort()).toEqual(["immutable", "published"]);
  });
});

test("audit entries are listed newest first, of one tenant", async () => {
  const store = pgAuditStore(at.db);
  const of = (tenantId: string, subject: string) =>
    store.append({ tenantId, atWallMs: 1, actor: "a", action: "b", subject, detail: {} });
  for (const subject of ["1", "2", "3"]) await of("audited", subject);
  await of("audited-too", "4");
  const [newest, ...rest] = await store.list({ tenantId: "audited", limit: 2 });
  expect([newest?.subject, rest[0]?.subject]).toEqual(["3", "2"]);
  const before = rest[0]?.id ?? 0;
  expect((await store.list({ tenantId: "audited", limit: 9, before })).map(({ subject }) => subject)).toEqual(["1"]);
  await expect(store.list({ tenantId: "audited", limit: 0 })).rejects.toMatchObject({ code: "invalid" });
});

const part = (records: number, more: Partial<TimelinePart> = {}): TimelinePart => ({
  pipelineName: "p",
  pipelineVersion: 1,
  firstWallMs: 5,
  lastWallMs: 6,
  records,
  turns: 1,
  recordingLevel: 1,
  ended: false,
  losses: 0,
  ...more,
});

test("a timeline's segments follow each other without a gap; the same one again changes nothing", async () => {
  const index = pgTimelineIndex(at.db);
  const session = { tenantId: "t", sessionId: "timeline" };
  const segment = (firstSequence: number, lastSequence: number, epoch = 1): TimelineSegment => ({
    session,
    epoch,
    firstSequence,
    lastSequence,
    objectKey: `t/timeline/${epoch}/${firstSequence}`,
    byteOffset: 7 * firstSequence,
    bytes: 10,
    sha256: "ab".repeat(32),
    headDigest: "cd".repeat(32),
  });
  const add = async (...of: Parameters<typeof segment>) => {
    const [first, last] = of;
    return (await index.add([{ segment: segment(...of), part: part(last - first + 1) }]))[0];
  };
  expect(await index.add([])).toEqual([]);
  expect(await add(2, 10)).toBe("does_not_follow");
  expect(await add(1, 10)).toBe("added");
  expect(await add(1, 10)).toBe("unchanged");
  expect(await add(12, 20)).toBe("does_not_follow");
  // Those of one object, each for itself.
  expect(
    await index.add([
      { segment: segment(1, 3, 2), part: part(3, { firstWallMs: 7, ended: true, losses: 2 }) },
      { segment: segment(5, 6, 3), part: part(2) },
      { segment: segment(11, 20), part: part(10, { pipelineName: "", lastWallMs: 9 }) },
      { segment: segment(1, 10), part: part(10) },
    ]),
  ).toEqual(["added", "does_not_follow", "added", "unchanged"]);
  const [first, ...more] = await index.segments(session, 10);
  expect(first).toEqual(segment(1, 10));
  expect(await index.segments(session, 10, first)).toEqual(more);
  expect(await index.segments(session, 10, undefined, 2)).toEqual([segment(1, 3, 2)]);
  expect(await index.heads(session)).toEqual([
    { epoch: 1, lastSequence: 20, headDigest: "cd".repeat(32) },
    { epoch: 2, lastSequence: 3, headDigest: "cd".repeat(32) },
  ]);
  const info: TimelineInfo = {
    session,
    pipelineName: "p",
    pipelineVersion: 1,
    startedWallMs: 5,
    lastWallMs: 9,
    records: 23,
    bytes: 30,
    turns: 3,
    recordingLevel: 1,
    ended: true,
    losses: 2,
    epochs: [1, 2],
  };
  expect(await index.info(session)).toEqual(info);
  expect(await index.list({ tenantId: "t", limit: 1 })).toEqual({ timelines: [info], next: null });
  expect((await index.list({ tenantId: "t", sinceWallMs: 6, limit: 1 })).timelines).toEqual([]);
  expect((await index.list({ tenantId: "other", limit: 1 })).timelines).toEqual([]);
});

const runOf = (sessionId: string, firstSequence: number, objectKey: string, hash = "ab"): NewTimelineSegment => ({
  segment: {
    session: { tenantId: "sweep", sessionId },
    epoch: 1,
    firstSequence,
    lastSequence: firstSequence + 9,
    objectKey,
    byteOffset: 0,
    bytes: 10,
    sha256: hash.repeat(32),
    headDigest: "cd".repeat(32),
  },
  part: part(10),
});

test("two processes that store the same chain at once: each number once, without a gap", async () => {
  const indexes = [pgTimelineIndex(at.db), pgTimelineIndex(other)] as const;
  for (let n = 0; n < 10; n++) {
    const sessions = ["c", "a", "d", "b"];
    const outcomes = await Promise.all(
      indexes.map((index, i) => {
        const ids = i === 0 ? sessions : sessions.toReversed();
        return index.add(ids.map((id) => runOf(id, 10 * n + 1, `o/${n}-${i}`, i === 0 ? "ab" : "ba")));
      }),
    );
    expect(outcomes.flat().sort()).toEqual([...Array(4).fill("added"), ...Array(4).fill("does_not_follow")]);
  }
  const info = await indexes[0].info({ tenantId: "sweep", sessionId: "a" });
  expect(info).toMatchObject({ records: 100, bytes: 100 });
});

test("an object is given up only while no segment names it, and never named after that", async () => {
  const index = pgTimelineIndex(at.db);
  expect(await index.add([runOf("g", 1, "o/named")])).toEqual(["added"]);
  expect(await index.giveUpObjects(["o/named", "o/none"])).toEqual(["o/none"]);
  expect(await index.giveUpObjects(["o/none"])).toEqual(["o/none"]);
  await expect(index.add([runOf("h", 1, "o/none")])).rejects.toMatchObject({ code: "conflict" });
  expect(await index.info({ tenantId: "sweep", sessionId: "h" })).toBeUndefined();
  // At the same moment one of the two comes first.
  for (let n = 0; n < 20; n++) {
    const key = `o/race-${n}`;
    const [added, given] = await Promise.all([
      index.add([runOf(`race-${n}`, 1, key)]).then(
        ([outcome]) => outcome,
        (failure: { code: string }) => failure.code,
      ),
      pgTimelineIndex(other).giveUpObjects([key]),
    ]);
    expect([added, given]).toEqual(given.length === 0 ? ["added", []] : ["conflict", [key]]);
  }
});
