import { create, toBinary } from "@bufbuild/protobuf";
import { asMonoNs, msToNs } from "@rspp/base/brand";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { GrantSchema, LeaseSchema, LeaseState, ReceiverKind } from "@rspp/gen/rspp/lease/v1/lease_pb";
import {
  type HeldLease,
  KeepAliveOutcome,
  type KeepAliveRequest,
  LeaseService,
} from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { rpcError } from "@rspp/rpc/errors";
import { route } from "@rspp/rpc/route";
import { expect, onTestFinished, test } from "vitest";
import { createVirtualClock, runFast } from "./clock/virtual-clock.ts";
import { createLeaseKeeper, leaseTerms } from "./lease-keeper.ts";
import { silentLogger } from "./logger.ts";
import type { SystemInput } from "./runtime.ts";
import { away, peerOf, soon } from "./testing/peers.ts";

const session = { tenantId: "acme", sessionId: "s1" };
const startWallMs = 1_700_000_000_000;

function grantOf(epoch: number, part: object = {}) {
  const issuedWallMs = BigInt(startWallMs);
  const receivers = [
    { receiverId: "runtime-1/in", kind: ReceiverKind.RUNTIME_INGRESS },
    { receiverId: "runtime-0/in", kind: ReceiverKind.RUNTIME_INGRESS },
  ];
  const fixed = {
    session,
    storeIncarnation: 1,
    holderId: "runtime-1",
    termMs: 60_000,
    grantId: `g-${epoch}`,
    receivers,
  };
  const expiresWallMs = issuedWallMs + 60_000n;
  return create(GrantSchema, { ...fixed, epoch: BigInt(epoch), issuedWallMs, expiresWallMs, ...part });
}

type Change = { state?: LeaseState; grant: ReturnType<typeof grantOf> };

interface FakeLease {
  readonly calls: string[];
  readonly state: {
    away: boolean;
    refusal: ErrorReason | null;
    reissued: number;
    /** What each lease is answered with, instead of being renewed. */
    kept: { outcome?: KeepAliveOutcome; epoch?: number } | null;
    /** Leases of each keep-alive. */
    batches: number[];
    /** Floors that were acknowledged. */
    floors: string[];
  };
  readonly route: ReturnType<typeof route>;
  tell(change: Change): void;
}

const leaseOf = (epoch: number) =>
  create(LeaseSchema, { grant: grantOf(epoch), state: LeaseState.GRANTED, version: BigInt(epoch) });
const signature = new Uint8Array(64);
const signed = { grant: new Uint8Array(1), keyId: "k", signature };

/** What a keep-alive says of one lease where a renewal was refused with `refusal`; null where the call itself fails. */
function outcomeOf(refusal: ErrorReason | null): FakeLease["state"]["kept"] {
  switch (refusal) {
    case ErrorReason.LEASE_LOST:
    case ErrorReason.AUTHORITY_EPOCH_MISMATCH:
      return { outcome: KeepAliveOutcome.FENCED };
    case ErrorReason.SESSION_NOT_FOUND:
      return { outcome: KeepAliveOutcome.NOT_FOUND };
    case ErrorReason.STORE_INCARNATION_MISMATCH:
      return { outcome: KeepAliveOutcome.REISSUE };
    default:
      return null;
  }
}

/** @param old of the version before: without keep-alives. */
function fakeLease(old = false): FakeLease {
  const calls: string[] = [];
  const state: FakeLease["state"] = { away: false, refusal: null, reissued: 0, kept: null, batches: [], floors: [] };
  const told: Change[] = [];
  let wake: () => void = () => {};
  const answer = <T>(what: string, value: () => T, each = false): T => {
    calls.push(what);
    if (state.away) throw away("lease");
    if (state.refusal !== null && !(each && outcomeOf(state.refusal) !== null))
      throw rpcError(state.refusal, { domain: "lease" });
    return value();
  };
  const renewLease = ({ epoch }: { epoch: bigint }) =>
    answer(`renew ${epoch}`, () => ({ lease: leaseOf(Number(epoch)), signed }));
  const keepAlive = ({ leases }: KeepAliveRequest) => {
    state.batches.push(leases.length);
    return answer(`renew ${leases[0]?.epoch}`, () => ({ leases: leases.map((one) => kept(one)) }), true);
  };
  const kept = ({ session: key, epoch: asked }: HeldLease) => {
    const { outcome = KeepAliveOutcome.RENEWED, epoch = Number(asked) } = state.kept ?? outcomeOf(state.refusal) ?? {};
    const proof = { grant: toBinary(GrantSchema, grantOf(epoch, { lastSequence: 4n })), keyId: "k", signature };
    const shown = epoch === Number(asked) ? {} : { signed: proof };
    return { session: key ?? session, outcome, epoch: BigInt(epoch), termMs: 60_000, ...shown };
  };
  const lease = route(LeaseService, {
    ...(old ? { renewLease } : { keepAlive }),
    releaseLease: ({ epoch }) => answer(`release ${epoch}`, () => ({ lease: leaseOf(Number(epoch)) })),
    grantLease: () => {
      calls.push("grant");
      state.refusal = null;
      return { lease: leaseOf(state.reissued), signed };
    },
    acknowledgeFloor: ({ floors }) => {
      state.floors.push(...floors.map(({ receiverId, floorEpoch }) => `${receiverId} ${floorEpoch}`));
      return answer(`floor ${floors[0]?.floorEpoch}`, () => ({}));
    },
    watchLeases: async function* (_ask, { signal }) {
      signal.addEventListener("abort", () => wake());
      yield { synced: true, storeIncarnation: 1 };
      while (!signal.aborted) {
        const next = told.shift();
        if (next === undefined) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          continue;
        }
        const { grant, state: leaseState = LeaseState.GRANTED } = next;
        const changes = [{ lease: { grant, state: leaseState, version: grant.epoch }, signed }];
        yield { changes, synced: true, storeIncarnation: 1 };
      }
    },
  });
  const tell = (change: Change): void => {
    told.push(change);
    wake();
  };
  return { calls, state, route: lease, tell };
}

async function rig(old = false) {
  const clock = createVirtualClock({ wallOriginMs: startWallMs });
  const { calls, state, route: lease, tell } = fakeLease(old);
  const { connection } = await peerOf("lease", [lease]);
  const keeper = createLeaseKeeper({ lease: connection, clock, logger: silentLogger, instanceId: "runtime-1" });
  const inputs: SystemInput[] = [];
  const raised: number[] = [];
  let end: () => void = () => {};
  const ended = new Promise<never>((resolve) => {
    end = () => resolve({ reason: "ended_by_caller" } as never);
  });
  onTestFinished(async () => {
    end();
    await keeper.close();
  });
  const grant = grantOf(5);
  const terms = leaseTerms(grant, clock);
  if (terms === null) throw new Error("the grant is good");
  const keep = (sessionId: string): void =>
    keeper.keep({
      session: { id: sessionId, ended, update: (input) => void inputs.push(input) },
      tenantId: session.tenantId,
      grant: grantOf(5, { session: { ...session, sessionId } }),
      terms,
      raiseEpoch: (epoch) => {
        expect(authority()).not.toContain(`rotated ${epoch}`);
        raised.push(epoch);
      },
    });
  keep(session.sessionId);
  const authority = () =>
    inputs.flatMap((input) => (input.type === "authority" ? [`${input.kind} ${input.epoch}`] : []));
  const deadline = (): number => {
    const last = inputs.findLast((input) => input.type === "authority");
    return last?.type === "authority" ? last.deadlineNs / 1e6 : 0;
  };
  /** A second at a time, with turns for the answers in between. */
  const pass = async (seconds: number): Promise<void> => {
    for (let i = 0; i < seconds; i++) {
      const untilNs = asMonoNs(clock.nowNs() + msToNs(1_000));
      let over = false;
      clock.timerAt(untilNs, () => {
        over = true;
      });
      await runFast(clock, { until: () => over, maxNs: asMonoNs(untilNs + 1) });
      for (let turn = 0; turn < 30; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const nowMs = () => clock.nowNs() / 1e6;
  return {
    clock,
    keeper,
    keep,
    calls,
    state,
    inputs,
    raised,
    authority,
    deadline,
    pass,
    nowMs,
    end: () => end(),
    tell,
  };
}

test("F-156 a lease is renewed every five seconds as its holder, and given back at the end", async () => {
  const r = await rig();
  await r.pass(21);
  expect(r.calls).toEqual(["floor 5", "renew 5", "renew 5", "renew 5", "renew 5"]);
  expect(r.authority()).toEqual(Array(4).fill("renewed 5"));
  expect(r.deadline()).toBeGreaterThan(r.nowMs() + 57_000);
  r.end();
  await soon(() => r.calls.at(-1) === "release 5");
  const before = r.calls.length;
  await r.pass(10);
  expect(r.calls).toHaveLength(before);
});

test("an outage of the lease service ends no call: the session goes on past its lease, and comes back to it", async () => {
  const r = await rig();
  await r.pass(6);
  r.state.away = true;
  await r.pass(180);
  expect(r.deadline()).toBeGreaterThan(r.nowMs());
  expect(new Set(r.authority())).toEqual(new Set(["renewed 5"]));
  r.state.away = false;
  await r.pass(10);
  expect(r.deadline()).toBeGreaterThan(r.nowMs() + 50_000);
});

test("an outage is not borne for ever: after an hour past its lease the session's authority lapses", async () => {
  const r = await rig();
  await r.pass(6);
  r.state.away = true;
  await r.pass(3_700);
  expect(r.deadline()).toBeLessThan(r.nowMs());
});

test.each([[ErrorReason.LEASE_LOST], [ErrorReason.AUTHORITY_EPOCH_MISMATCH], [ErrorReason.SESSION_NOT_FOUND]])(
  "a refused renewal (%s) ends the session's authority, once",
  async (reason) => {
    const r = await rig();
    await r.pass(6);
    r.state.refusal = reason;
    await r.pass(20);
    expect(r.authority().filter((one) => one.startsWith("revoked"))).toEqual(["revoked 5"]);
    const renewals = r.calls.filter((one) => one.startsWith("renew")).length;
    await r.pass(20);
    expect(r.calls.filter((one) => one.startsWith("renew"))).toHaveLength(renewals);
  },
);

test("a failure that says nothing of the lease (here: no permission) ends no call", async () => {
  const r = await rig();
  r.state.refusal = ErrorReason.PERMISSION_DENIED;
  await r.pass(90);
  expect(r.authority().filter((one) => !one.startsWith("renewed"))).toEqual([]);
  expect(r.deadline()).toBeGreaterThan(r.nowMs());
});

test("revoked, given elsewhere, or given back by another hand: the watch tells, and nothing is released then", async () => {
  const revoked = await rig();
  await revoked.pass(1);
  revoked.tell({ state: LeaseState.REVOKED, grant: grantOf(6, { holderId: "" }) });
  await soon(() => revoked.authority().includes("revoked 5"));
  revoked.end();
  await revoked.pass(1);
  expect(revoked.calls.some((one) => one.startsWith("release"))).toBe(false);

  const taken = await rig();
  await taken.pass(1);
  taken.tell({ grant: grantOf(9, { holderId: "runtime-2" }) });
  await soon(() => taken.authority().includes("granted_elsewhere 9"));
});

test("F-156 a floor is acknowledged by whose it is: a predecessor's never, its own when what ran below it has ended", async () => {
  const r = await rig();
  await soon(() => r.state.floors.length > 0);
  r.tell({ grant: grantOf(9, { holderId: "runtime-2" }) });
  await soon(() => r.authority().includes("granted_elsewhere 9"));
  await r.pass(1);
  expect(r.state.floors).toEqual(["runtime-1/in 5"]);
  r.end();
  await soon(() => r.state.floors.length > 1);
  expect(r.state.floors).toEqual(["runtime-1/in 5", "runtime-1/in 9"]);
});

test("rotated to this same holder: the adapter's floor is raised before the session goes on under the new epoch", async () => {
  const r = await rig();
  await r.pass(1);
  r.tell({ grant: grantOf(8, { lastSequence: 4n }) });
  await soon(() => r.authority().includes("rotated 8"));
  expect(r.raised).toEqual([8]);
  await r.pass(6);
  expect(r.calls).toContain("renew 8");
  expect(r.calls).toContain("floor 8");
  // Older news changes nothing.
  r.tell({ grant: grantOf(7, { holderId: "runtime-2" }) });
  await r.pass(1);
  expect(r.authority().filter((one) => one.startsWith("granted_elsewhere"))).toEqual([]);
});

test("a restored store that does not know the epoch is asked for the session again, and the call goes on", async () => {
  const r = await rig();
  await r.pass(1);
  r.state.reissued = 4_294_967_301;
  r.state.refusal = ErrorReason.STORE_INCARNATION_MISMATCH;
  await r.pass(6);
  expect(r.calls).toContain("grant");
  expect(r.authority()).toContain("rotated 4294967301");
  expect(r.raised).toEqual([4_294_967_301]);
});

test("a grant that ran out long ago, or is too short to act on, is worth nothing", () => {
  const clock = createVirtualClock({ wallOriginMs: startWallMs + 300_000 });
  expect(leaseTerms(grantOf(5), clock)).toBeNull();
  expect(leaseTerms(grantOf(5, { termMs: 1_000, expiresWallMs: BigInt(startWallMs + 400_000) }), clock)).toBeNull();
});

test("F-095 leases that began at different times come together: one keep-alive renews them all", async () => {
  const r = await rig();
  for (let i = 0; i < 6; i++) {
    await r.pass(1);
    for (let n = 0; n < 5; n++) r.keep(`more-${i}-${n}`);
  }
  await r.pass(10);
  r.state.batches.length = 0;
  await r.pass(20);
  // 31 leases, four rounds: not 124 calls but two a round at most.
  expect(r.state.batches.reduce((all, n) => all + n, 0)).toBeGreaterThanOrEqual(31 * 4);
  expect(r.state.batches.length).toBeLessThanOrEqual(10);
  expect(r.authority().filter((one) => one !== "renewed 5")).toEqual([]);
});

test("F-158 a rotation whose news was lost is learnt by the next renewal, and ends no call", async () => {
  const r = await rig();
  await r.pass(1);
  r.state.kept = { epoch: 8 };
  await r.pass(6);
  expect(r.raised).toEqual([8]);
  expect(r.authority()).toContain("rotated 8");
  expect(r.authority().filter((one) => one.startsWith("revoked"))).toEqual([]);
  expect(r.deadline()).toBeGreaterThan(r.nowMs() + 50_000);
});

test("an answer that this version does not know ends no call", async () => {
  const r = await rig();
  await r.pass(1);
  r.state.kept = { outcome: 9 as KeepAliveOutcome };
  await r.pass(90);
  expect(r.authority().filter((one) => !one.startsWith("renewed"))).toEqual([]);
  expect(r.deadline()).toBeGreaterThan(r.nowMs());
});

test("NF-032 a lease service of the version before, without keep-alives, is asked lease by lease", async () => {
  const r = await rig(true);
  r.keep("second");
  await r.pass(21);
  expect(r.calls.filter((one) => one === "renew 5")).toHaveLength(8);
  expect(r.deadline()).toBeGreaterThan(r.nowMs() + 54_000);
  r.state.refusal = ErrorReason.LEASE_LOST;
  await r.pass(6);
  expect(r.authority().filter((one) => one.startsWith("revoked"))).toEqual(["revoked 5", "revoked 5"]);
});
