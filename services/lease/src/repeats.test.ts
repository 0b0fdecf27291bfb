import type { Grant } from "@rspp/protocol/lease-types";
import { limits } from "@rspp/protocol/limits";
import { type Database, openDatabase } from "@rspp/store/database";
import type { LeaseStore } from "@rspp/store/lease-store";
import { openPgLeaseStore } from "@rspp/store/pg-lease-store";
import type { SessionKey } from "@rspp/store/state-store";
import { runSql } from "@rspp/store/testkit/run-sql";
import { type TestDatabase, testDatabase } from "@rspp/store/testkit/test-database";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createLeaseService, type GrantAsk, type LeaseService } from "./lease-service.ts";

// Answers that were lost, requests that come twice, and two that meet: written cases over two replicas (F-158, kernel.md §7).

const sign = (grant: Grant): string => `signed:${grant.epoch}`;
const monoMs = (): number => performance.now();

let at: TestDatabase;
let second: Database;
let stores: [LeaseStore, LeaseStore];
let replicas: [LeaseService, LeaseService];

beforeAll(async () => {
  at = await testDatabase();
  second = await openDatabase({ url: at.db.url });
  stores = [await openPgLeaseStore(at.db, limits.LEASE_TERM_MS), await openPgLeaseStore(second, limits.LEASE_TERM_MS)];
  // A new store waits for what an older one may have granted; here there was none.
  await runSql(at.db, "UPDATE rspp.lease_store SET lost_run_out_wall_ms = 0");
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
const fresh = (): SessionKey => ({ tenantId: "t", sessionId: `s${count++}` });
const key = (): string => `key-${count++}`;
const ask = (part: Partial<GrantAsk> & Pick<GrantAsk, "session" | "holder">): GrantAsk => {
  return { receivers: ["adapter"], takeover: false, expectedEpoch: 0, requestKey: key(), ...part };
};
const move = (session: SessionKey, epoch: number, part: object = {}) => {
  return {
    session,
    holder: "a",
    toHolder: "b",
    epoch,
    receivers: ["new"],
    consented: true,
    requestKey: key(),
    ...part,
  };
};

type Answer = Awaited<ReturnType<LeaseService["grant"]>>;
function had(answer: Answer) {
  if (!answer.ok) throw new Error(`refused: ${answer.error}`);
  return answer.value;
}

async function granted(session: SessionKey, holder = "a"): Promise<number> {
  return had(await replicas[0].grant(ask({ session, holder }))).lease.epoch;
}

async function lapse(session: SessionKey, byMs: number): Promise<void> {
  await stores[0].update(session, "renew", ({ lease, nowWallMs }) => ({
    answer: null,
    ...(lease && { lease: { ...lease, expiresWallMs: nowWallMs - byMs } }),
  }));
}

describe("a rotation whose answer was lost", () => {
  test("F-158 fences nobody: its holder renews under the epoch it knows and is told the one it has", async () => {
    const session = fresh();
    const epoch = await granted(session);
    const rotated = had(await replicas[0].rotate({ session, holder: "a", epoch, lastSequence: 7, requestKey: key() }));
    const renewed = had(await replicas[1].renew({ session, holder: "a", epoch }));
    expect(renewed.lease).toMatchObject({ epoch: rotated.lease.epoch, holder: "a", lastSequence: 7 });
    expect(await replicas[1].keepAlive("a", [{ session, epoch }])).toMatchObject([
      { kind: "renewed", lease: { epoch: rotated.lease.epoch } },
    ]);
    // Nor does it keep the session when it is over for it.
    expect(await replicas[0].release({ session, holder: "a", epoch })).toMatchObject({ ok: true });
  });

  test("F-158 is answered again, also after another rotation, with the epoch in force", async () => {
    const session = fresh();
    const epoch = await granted(session);
    const first = { session, holder: "a", epoch, lastSequence: 7, requestKey: key() };
    const one = had(await replicas[0].rotate(first)).lease.epoch;
    const two = had(await replicas[1].rotate({ session, holder: "a", epoch: one, lastSequence: 9, requestKey: key() }))
      .lease.epoch;
    expect(had(await replicas[1].rotate(first))).toMatchObject({ repeated: true, lease: { epoch: two } });
    const { lease } = (await replicas[0].get(session)) ?? {};
    expect(lease?.epoch).toBe(two);
  });

  test("a holder that lost the session in between is fenced though it has it again", async () => {
    const session = fresh();
    const epoch = await granted(session);
    const other = had(await replicas[0].grant(ask({ session, holder: "b", takeover: true }))).lease.epoch;
    had(await replicas[0].grant(ask({ session, holder: "a", takeover: true })));
    expect(await replicas[1].renew({ session, holder: "a", epoch })).toEqual({ ok: false, error: "stale_epoch" });
    expect(await replicas[1].renew({ session, holder: "b", epoch: other })).toEqual({
      ok: false,
      error: "stale_epoch",
    });
  });
});

describe("a grant that is asked for twice", () => {
  test("F-158 is answered with the same lease over any replica, and issues no epoch", async () => {
    const session = fresh();
    const asked = ask({ session, holder: "a" });
    const first = had(await replicas[0].grant(asked));
    const changes = await stores[0].head();
    const again = had(await replicas[1].grant(asked));
    expect(again).toMatchObject({ repeated: true, lease: first.lease });
    expect(await stores[0].head()).toBe(changes);
  });

  test("F-158 and came late, after its lease was given back, taken or revoked, raises nothing", async () => {
    const [one, two] = replicas;
    for (const end of ["release", "takeover", "revoke"] as const) {
      const session = fresh();
      const asked = ask({ session, holder: "a" });
      const { epoch } = had(await one.grant(asked)).lease;
      if (end === "release") await one.release({ session, holder: "a", epoch });
      if (end === "takeover") await one.grant(ask({ session, holder: "b", takeover: true }));
      if (end === "revoke") await one.revoke(session, epoch);
      expect(await two.grant(asked)).toEqual({ ok: false, error: "superseded" });
      expect((await two.get(session))?.lease.holder === "a").toBe(end === "release");
    }
  });

  test("a key that was used for another request is refused", async () => {
    const session = fresh();
    const asked = ask({ session, holder: "a" });
    const { epoch } = had(await replicas[0].grant(asked)).lease;
    const { requestKey } = asked;
    expect(await replicas[0].grant({ ...asked, holder: "b" })).toEqual({ ok: false, error: "key_reused" });
    const rotation = { session, holder: "a", epoch, lastSequence: 1, requestKey };
    expect(await replicas[0].rotate(rotation)).toEqual({ ok: false, error: "key_reused" });
  });

  test("at once over two replicas gives both the same epoch", async () => {
    const session = fresh();
    const asked = ask({ session, holder: "a" });
    const both = await Promise.all(replicas.map((replica) => replica.grant(asked)));
    expect(new Set(both.map((answer) => had(answer).lease.epoch)).size).toBe(1);
  });
});

describe("planned migration", () => {
  test("F-095 an old holder that consented is not waited for; receivers of both are named", async () => {
    const session = fresh();
    const epoch = await granted(session);
    const asked = move(session, epoch);
    const moved = had(await replicas[1].transfer(asked));
    expect(moved).toMatchObject({ oldRunsOutInMs: 0, lease: { holder: "b", receivers: ["adapter", "new"] } });
    expect(moved.lease.epoch).toBeGreaterThan(epoch);
    expect(had(await replicas[0].transfer(asked))).toMatchObject({
      repeated: true,
      lease: { epoch: moved.lease.epoch },
    });
    expect(await replicas[0].keepAlive("a", [{ session, epoch }])).toEqual([
      { kind: "fenced", epoch: moved.lease.epoch },
    ]);
  });

  test("without consent the old term is waited for, and what another is waited for stays waited for", async () => {
    const session = fresh();
    const epoch = await granted(session);
    const moved = had(await replicas[0].transfer(move(session, epoch, { consented: false })));
    expect(moved.oldRunsOutInMs).toBeGreaterThan(55_000);
    const on = move(session, moved.lease.epoch, { holder: "b", toHolder: "c" });
    expect(had(await replicas[0].transfer(on)).oldRunsOutInMs).toBeGreaterThan(55_000);
  });

  test("is refused under another epoch, from who has it not, of no session, and after a revocation", async () => {
    const [service] = replicas;
    const session = fresh();
    const epoch = await granted(session);
    expect(await service.transfer(move(session, epoch - 1))).toEqual({ ok: false, error: "stale_epoch" });
    expect(await service.transfer(move(session, epoch, { holder: "x" }))).toEqual({ ok: false, error: "not_holder" });
    expect(await service.transfer(move(fresh(), epoch))).toEqual({ ok: false, error: "unknown_session" });
    const revoked = had(await service.revoke(session, epoch));
    expect(await service.transfer(move(session, revoked.lease.epoch))).toEqual({ ok: false, error: "revoked" });
  });
});

describe("a keep-alive", () => {
  test("F-095 answers each session by itself, in the order asked", async () => {
    const mine = fresh();
    const taken = fresh();
    const over = fresh();
    const epochs = [await granted(mine), await granted(taken), await granted(over)] as const;
    const next = had(await replicas[0].grant(ask({ session: taken, holder: "b", takeover: true }))).lease.epoch;
    await replicas[0].release({ session: over, holder: "a", epoch: epochs[2] });
    await lapse(mine, 1);
    const answers = await replicas[1].keepAlive("a", [
      { session: taken, epoch: epochs[1] },
      { session: mine, epoch: epochs[0] },
      { session: over, epoch: epochs[2] },
      { session: fresh(), epoch: 1 },
    ]);
    expect(answers).toMatchObject([
      { kind: "fenced", epoch: next },
      { kind: "renewed", lease: { epoch: epochs[0] } },
      { kind: "not_found", epoch: 0 },
      { kind: "reissue", epoch: 0 },
    ]);
    const { lease, nowWallMs = 0 } = (await replicas[0].get(mine)) ?? {};
    expect(lease?.expiresWallMs).toBeGreaterThan(nowWallMs + 50_000);
  });

  test("of more sessions than one transaction takes renews them all, while others rotate", async () => {
    const holder = `many-${count++}`;
    const sessions = Array.from({ length: 600 }, fresh);
    const held: { session: SessionKey; epoch: number }[] = [];
    for (const session of sessions) held.push({ session, epoch: await granted(session, holder) });
    const [answers] = await Promise.all([
      replicas[1].keepAlive(holder, held),
      ...held
        .slice(0, 20)
        .map(({ session, epoch }) =>
          replicas[0].rotate({ session, holder, epoch, lastSequence: 1, requestKey: key() }),
        ),
    ]);
    expect(new Set(answers.map(({ kind }) => kind))).toEqual(new Set(["renewed"]));
    expect(answers).toHaveLength(held.length);
  });
});

describe("renewals that meet the end of a term", () => {
  test("F-095 past its term and given to nobody, a lease is renewed by its holder", async () => {
    const session = fresh();
    const epoch = await granted(session);
    await lapse(session, 5_000);
    expect(await replicas[1].renew({ session, holder: "a", epoch })).toMatchObject({ ok: true });
    // Renewed, it is nobody else's again.
    expect(await replicas[0].grant(ask({ session, holder: "b" }))).toEqual({ ok: false, error: "held" });
  });

  test("F-095 of a renewal and a grant to another that meet as it runs out, one wins, and both hear the same", async () => {
    for (let round = 0; round < 8; round++) {
      const session = fresh();
      const epoch = await granted(session);
      await lapse(session, 1);
      const [renewed, other] = await Promise.all([
        replicas[0].renew({ session, holder: "a", epoch }),
        replicas[1].grant(ask({ session, holder: "b" })),
      ]);
      expect(renewed.ok).toBe(!other.ok);
      expect((await replicas[0].get(session))?.lease.holder).toBe(renewed.ok ? "a" : "b");
    }
  });

  test("F-095 a takeover that meets a renewal waits for the term that was told to the old holder", async () => {
    for (let round = 0; round < 8; round++) {
      const session = fresh();
      const epoch = await granted(session);
      await lapse(session, -1_000);
      const [renewed, taken] = await Promise.all([
        replicas[0].renew({ session, holder: "a", epoch }),
        replicas[1].grant(ask({ session, holder: "b", takeover: true, expectedEpoch: epoch })),
      ]);
      const { oldRunsOutInMs, nowWallMs } = had(taken);
      if (renewed.ok) {
        expect(nowWallMs + oldRunsOutInMs).toBeGreaterThanOrEqual(renewed.value.lease.expiresWallMs);
      } else {
        expect(renewed.error).toBe("stale_epoch");
        expect(oldRunsOutInMs).toBeLessThanOrEqual(1_001);
      }
    }
  });
});
