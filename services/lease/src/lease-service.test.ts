import { asMonoNs } from "@rspp/base/brand";
import {
  createGrantor,
  endLease,
  grantLease,
  renewLease,
  revokeLease,
  rotateLease,
  transferLease,
} from "@rspp/protocol/lease-grantor";
import type { Grant, GrantorState } from "@rspp/protocol/lease-types";
import { limits } from "@rspp/protocol/limits";
import { type Database, openDatabase } from "@rspp/store/database";
import type { LeaseStore } from "@rspp/store/lease-store";
import { openPgLeaseStore } from "@rspp/store/pg-lease-store";
import type { SessionKey } from "@rspp/store/state-store";
import { type TestDatabase, testDatabase } from "@rspp/store/testkit/test-database";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createLeaseService, type GrantAsk, type LeaseService } from "./lease-service.ts";
import { type WatchBatch, watchLeases } from "./lease-watch.ts";
import { sessionKeyOf, sessionName } from "./session-name.ts";

const sign = (grant: Grant): string => `signed:${JSON.stringify(grant)}`;
const monoMs = (): number => performance.now();

let at: TestDatabase;
let second: Database;
let stores: [LeaseStore, LeaseStore];
let replicas: [LeaseService, LeaseService];

beforeAll(async () => {
  at = await testDatabase();
  second = await openDatabase({ url: at.db.url });
  stores = [await openPgLeaseStore(at.db, limits.LEASE_TERM_MS), await openPgLeaseStore(second, limits.LEASE_TERM_MS)];
  replicas = [
    createLeaseService({ store: stores[0], sign, monoMs }),
    createLeaseService({ store: stores[1], sign, monoMs }),
  ];
});
afterAll(async () => {
  await second.close();
  await at.close();
});

let count = 0;
const fresh = () => ({ tenantId: "t", sessionId: `s${count++}` });
const ask = (part: Partial<GrantAsk> & Pick<GrantAsk, "session" | "holder">): GrantAsk => ({
  receivers: ["adapter", "gateway"],
  takeover: false,
  expectedEpoch: 0,
  requestKey: `${part.holder}-${count++}`,
  ...part,
});

async function granted(service: LeaseService, of: GrantAsk) {
  const answer = await service.grant(of);
  if (!answer.ok) throw new Error(`refused: ${answer.error}`);
  return answer.value;
}

describe("one session's lease", () => {
  test("is granted, renewed, rotated, taken back and given back", async () => {
    const [service] = replicas;
    const session = fresh();
    const first = await granted(service, ask({ session, holder: "a" }));
    expect(first.lease).toMatchObject({
      holder: "a",
      receivers: ["adapter", "gateway"],
      termMs: 60_000,
      revoked: false,
    });
    const { epoch } = first.lease;
    expect(await service.grant(ask({ session, holder: "b" }))).toEqual({ ok: false, error: "held" });
    expect((await granted(service, ask({ session, holder: "a" }))).lease.epoch).toBe(epoch);
    expect(await service.renew({ session, holder: "b", epoch })).toEqual({ ok: false, error: "not_holder" });
    expect(await service.renew({ session, holder: "a", epoch })).toMatchObject({ ok: true });
    const rotation = { session, holder: "a", epoch, lastSequence: 7, requestKey: "r1" };
    const rotated = await service.rotate(rotation);
    expect(rotated).toMatchObject({ ok: true, value: { lease: { holder: "a", lastSequence: 7 }, unchanged: false } });
    expect(await service.rotate(rotation)).toMatchObject({ ok: true, value: { unchanged: true } });
    const now = rotated.ok ? rotated.value.lease.epoch : 0;
    expect(await service.renew({ session, holder: "a", epoch })).toMatchObject({ value: { lease: { epoch: now } } });
    expect(await service.renew({ session, holder: "b", epoch: now })).toEqual({ ok: false, error: "not_holder" });
    expect(now).toBeGreaterThan(epoch);
    expect(await service.revoke(session, epoch)).toEqual({ ok: false, error: "stale_epoch" });
    const revoked = await service.revoke(session, now);
    expect(revoked).toMatchObject({ ok: true, value: { lease: { holder: null, revoked: true } } });
    expect(await service.revoke(session, now)).toMatchObject({ ok: true, value: { unchanged: true } });
    expect(await service.renew({ session, holder: "a", epoch: now })).toEqual({ ok: false, error: "revoked" });
    const again = await granted(service, ask({ session, holder: "b" }));
    expect(again.oldRunsOutInMs).toBeGreaterThan(55_000);
    expect(await service.release({ session, holder: "b", epoch: again.lease.epoch })).toMatchObject({ ok: true });
    expect(await service.get(session)).toMatchObject({ ended: true });
    expect((await granted(service, ask({ session, holder: "c" }))).lease.epoch).toBeGreaterThan(again.lease.epoch);
  });

  test("is taken over at once, and the request repeated gives the same epoch", async () => {
    const session = fresh();
    const old = await granted(replicas[0], ask({ session, holder: "a" }));
    const takeover = ask({ session, holder: "b", takeover: true, expectedEpoch: old.lease.epoch });
    const taken = await granted(replicas[1], takeover);
    expect(taken.lease.epoch).toBeGreaterThan(old.lease.epoch);
    expect(taken.oldRunsOutInMs).toBeGreaterThan(55_000);
    expect((await granted(replicas[0], takeover)).lease.epoch).toBe(taken.lease.epoch);
    const late = ask({ session, holder: "c", takeover: true, expectedEpoch: old.lease.epoch });
    expect(await replicas[0].grant(late)).toEqual({ ok: false, error: "unexpected_epoch" });
  });

  test("F-095 of holders that ask two replicas at once exactly one has it, and no epoch is given twice", async () => {
    const sessions = [fresh(), fresh(), fresh()];
    const asks = sessions.flatMap((session) => ["a", "b", "c", "d"].map((holder) => ask({ session, holder })));
    const answers = await Promise.all(asks.map((one, i) => replicas[i % 2 === 0 ? 0 : 1].grant(one)));
    const won = answers.flatMap((answer) => (answer.ok ? [answer.value.lease] : []));
    expect(won.map(({ session }) => session.sessionId).sort()).toEqual(sessions.map((s) => s.sessionId).sort());
    expect(new Set(won.map(({ epoch }) => epoch)).size).toBe(3);
    expect(answers.filter((answer) => !answer.ok && answer.error === "held")).toHaveLength(9);
  });
});

interface Command {
  readonly do: "grant" | "takeover" | "rotate" | "revoke" | "release";
  readonly session: number;
  readonly holder: string;
  readonly stale: boolean;
  readonly replica: 0 | 1;
}

/** What the machine of libs/protocol answers in one process: the epoch, or why not. */
function expectedOf(model: GrantorState, { holder, ...one }: Command, session: string, epoch: number): number | string {
  const now = asMonoNs(0);
  const receivers = ["r"];
  const known = model.leases[session]?.signed.grant;
  const outcome = (answer: ReturnType<typeof grantLease>) =>
    answer.ok ? answer.value.signed.grant.epoch : answer.error;
  switch (one.do) {
    case "takeover":
      if (known !== undefined && known.holder !== holder) {
        return outcome(transferLease(model, { session, toHolder: holder, receivers }, sign, now));
      }
      return outcome(grantLease(model, { session, holder, receivers }, sign, now));
    case "grant":
      return outcome(grantLease(model, { session, holder, receivers }, sign, now));
    case "rotate":
      return outcome(rotateLease(model, { session, holder, epoch, lastSequence: 1 }, sign, now));
    case "revoke":
      return known !== undefined && known.epoch !== epoch
        ? "stale_epoch"
        : outcome(revokeLease(model, session, sign, now));
    case "release": {
      const held = renewLease(model, { session, holder, epoch }, now);
      if (held.ok) endLease(model, session);
      return held.ok ? epoch : held.error;
    }
  }
}

async function foundOf(
  service: LeaseService,
  one: Command,
  session: SessionKey,
  epoch: number,
): Promise<number | string> {
  const { holder } = one;
  const outcome = (answer: Awaited<ReturnType<LeaseService["grant"]>>) =>
    answer.ok ? answer.value.lease.epoch : answer.error;
  switch (one.do) {
    case "grant":
    case "takeover":
      return outcome(await service.grant(ask({ session, holder, receivers: ["r"], takeover: one.do === "takeover" })));
    case "rotate":
      return outcome(await service.rotate({ session, holder, epoch, lastSequence: 1, requestKey: `${count++}` }));
    case "revoke":
      return outcome(await service.revoke(session, epoch));
    case "release": {
      const answer = await service.release({ session, holder, epoch });
      return answer.ok ? answer.value.lease.epoch : answer.error;
    }
  }
}

test("over two replicas the store decides as the machine does in one process, epoch by epoch", async () => {
  const command: fc.Arbitrary<Command> = fc.record({
    do: fc.constantFrom("grant", "takeover", "rotate", "revoke", "release"),
    session: fc.integer({ min: 0, max: 1 }),
    holder: fc.constantFrom("a", "b"),
    stale: fc.integer({ min: 0, max: 3 }).map((n) => n === 0),
    replica: fc.constantFrom(0, 1),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 12 }), async (commands) => {
      const sessions = [fresh(), fresh()];
      const { store: start } = await stores[0].ofReceiver("nobody");
      const model: GrantorState = { ...createGrantor(start.incarnation), lastEpoch: start.lastEpoch };
      for (const one of commands) {
        const session = sessions[one.session] ?? fresh();
        // Epochs that were given out and not used are passed over.
        const { lastEpoch } = (await stores[0].ofReceiver("nobody")).store;
        expect(lastEpoch).toBeGreaterThanOrEqual(model.lastEpoch);
        model.lastEpoch = lastEpoch;
        const known = model.leases[sessionName(session)]?.signed.grant.epoch;
        const epoch = (known ?? start.lastEpoch) - (one.stale ? 1_000 : 0);
        const expected = expectedOf(model, one, sessionName(session), epoch);
        expect(await foundOf(replicas[one.replica], one, session, epoch)).toBe(expected);
      }
    }),
    { numRuns: 12 },
  );
});

describe("floors", () => {
  test("are kept for receivers the lease names, rise only, and fall when the receiver restarted", async () => {
    const [service] = replicas;
    const session = fresh();
    const { lease } = await granted(service, ask({ session, holder: "a" }));
    const tell = (receiverId: string, floorEpoch: number) =>
      service.acknowledgeFloors([{ session, receiverId, floorEpoch }]);
    const told = async () => (await service.floors(session)).map((f) => [f.receiverId, f.floorEpoch]);
    await tell("stranger", lease.epoch);
    await tell("adapter", lease.epoch + 1);
    expect(await told()).toEqual([]);
    await tell("adapter", lease.epoch);
    await tell("adapter", lease.epoch - 1);
    expect(await told()).toEqual([["adapter", lease.epoch]]);
    await tell("adapter", 0);
    expect(await told()).toEqual([["adapter", 0]]);
  });

  test("a restarted receiver is given the current grants that name it, and no others", async () => {
    const receiver = `gw-${count++}`;
    const named = fresh();
    const { lease } = await granted(replicas[0], ask({ session: named, holder: "a", receivers: [receiver] }));
    await granted(replicas[1], ask({ session: fresh(), holder: "a" }));
    const answer = await replicas[1].syncReceiver(receiver, 42);
    expect(answer.nonce).toBe(42);
    expect(answer.asOfEpoch).toBeGreaterThan(lease.epoch);
    expect(answer.grants.map(({ grant }) => [sessionKeyOf(grant.session), grant.epoch])).toEqual([
      [named, lease.epoch],
    ]);
    expect(answer.grants[0]?.signature).toBe(sign(answer.grants[0]?.grant as Grant));
  });
});

describe("a watch", () => {
  async function collect(filter: Parameters<typeof watchLeases>[1], until: (seen: string[]) => boolean) {
    const stop = new AbortController();
    const seen: string[] = [];
    const synced = Promise.withResolvers<void>();
    const done = (async () => {
      for await (const batch of watchLeases(stores[1], filter, stop.signal, 5_000) as AsyncIterable<WatchBatch>) {
        for (const { lease, ended } of batch.changes) {
          seen.push(`${lease.session.sessionId} ${ended ? "ended" : (lease.holder ?? "revoked")}`);
        }
        if (batch.synced) synced.resolve();
        if (until(seen)) stop.abort();
      }
      return seen;
    })();
    await synced.promise;
    return { done, seen };
  }

  test("tells all leases first, then what changes, to who watches a holder also that he lost it", async () => {
    const holder = `h${count++}`;
    const session = fresh();
    const later = fresh();
    await granted(replicas[0], ask({ session, holder }));
    const last = fresh();
    const { done, seen } = await collect({ holder }, (lines) => lines.includes(`${last.sessionId} ${holder}`));
    expect(seen).toEqual([`${session.sessionId} ${holder}`]);
    const { lease } = await granted(replicas[0], ask({ session: later, holder }));
    await granted(replicas[0], ask({ session, holder: "other", takeover: true }));
    await replicas[0].release({ session: later, holder, epoch: lease.epoch });
    await granted(replicas[0], ask({ session: last, holder }));
    const lines = await done;
    expect(lines).toContain(`${session.sessionId} other`);
    // Two changes of one session may come as one: then it came and went unseen.
    expect(lines.filter((line) => line.startsWith(`${later.sessionId} `)).at(-1) ?? "ended").toMatch(/ended$/);
  });
});

describe("a store that cannot be trusted", () => {
  test("a leap of the shared clock makes no lease run out early for its successor", async () => {
    const session = fresh();
    let leapMs = 0;
    const leaping: LeaseStore = {
      ...stores[0],
      update: (key, mode, decide) =>
        stores[0].update(key, mode, (view) => decide({ ...view, nowWallMs: view.nowWallMs + leapMs })),
    };
    const service = createLeaseService({ store: leaping, sign, monoMs });
    await granted(service, ask({ session, holder: "a" }));
    leapMs = 300_000;
    const { oldRunsOutInMs } = await granted(service, ask({ session, holder: "b" }));
    expect(oldRunsOutInMs).toBeGreaterThan(55_000);
  });

  test("restored: no epoch is repeated, old leases must be asked for anew, and nobody acts before they have run out", async () => {
    const session = fresh();
    const before = await granted(replicas[0], ask({ session, holder: "a" }));
    const { epoch } = before.lease;
    const incarnation = await stores[0].incarnation();
    expect(await stores[0].reopen(limits.LEASE_TERM_MS)).toBeGreaterThan(incarnation);
    expect(await replicas[1].renew({ session, holder: "a", epoch })).toEqual({ ok: false, error: "reissue" });
    expect((await replicas[1].syncReceiver("adapter", 1)).grants).toEqual([]);
    const after = await granted(replicas[1], ask({ session, holder: "a" }));
    expect(after.lease.epoch).toBeGreaterThan(epoch);
    const other = await granted(replicas[1], ask({ session: fresh(), holder: "b" }));
    expect(other.oldRunsOutInMs).toBeGreaterThan(55_000);
  });
});

test("sessions whose holder is long gone are ended, and ended ones forgotten; a living one is left alone", async () => {
  const [store] = stores;
  const [service] = replicas;
  const gone = fresh();
  const living = fresh();
  await granted(service, ask({ session: gone, holder: "a" }));
  await granted(service, ask({ session: living, holder: "a" }));
  const dayMs = 86_400_000;
  await store.update(gone, "renew", ({ lease, nowWallMs }) => ({
    answer: null,
    ...(lease && { lease: { ...lease, expiresWallMs: nowWallMs - dayMs } }),
  }));
  expect((await service.sweep()).ended).toBe(1);
  expect(await service.get(gone)).toMatchObject({ ended: true });
  expect(await service.get(living)).toMatchObject({ ended: false });
  expect(await store.purgeEnded(Date.now() + dayMs, 100)).toBeGreaterThan(0);
  expect(await service.get(gone)).toBeUndefined();
});

test("names of sessions are told apart whatever stands in them", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: "grapheme", minLength: 1 }),
      fc.string({ unit: "grapheme", minLength: 1 }),
      (a, b) => {
        expect(sessionKeyOf(sessionName({ tenantId: a, sessionId: b }))).toEqual({ tenantId: a, sessionId: b });
      },
    ),
    { numRuns: 50 },
  );
});
