import { asMonoNs, type MonoNs, msToNs } from "@rspp/base/brand";
import { describe, expect, test } from "vitest";
import { makeEpoch } from "./lease-epoch.ts";
import { createHolder, holderMayAct, holderNextDeadline, holderStep } from "./lease-holder.ts";
import type { HolderInput, HolderState, SignedGrant } from "./lease-types.ts";
import { limits } from "./limits.ts";

const ms = (n: number): MonoNs => asMonoNs(msToNs(n));
const epoch = (counter: number): number => makeEpoch(1, counter);
const margin = limits.LEASE_CLOCK_MARGIN_MS;
const termMs = 60_000;
const endMs = termMs - margin;

function signed(counter: number, over: Partial<SignedGrant["grant"]> = {}): SignedGrant {
  const grant = {
    session: "s",
    epoch: epoch(counter),
    holder: "rt",
    receivers: ["adapter"],
    termMs,
    lastSequence: null,
  };
  return { grant: { ...grant, ...over } as SignedGrant["grant"], signature: "good" };
}
const granted = (
  counter: number,
  askedMs: number,
  over: Partial<SignedGrant["grant"]> = {},
  oldMs = 0,
): HolderInput => ({
  kind: "granted",
  signed: signed(counter, over),
  requestedAtNs: ms(askedMs),
  oldRunsOutInMs: oldMs,
});
const renewed = (counter: number, askedMs: number): HolderInput => ({
  kind: "renewed",
  epoch: epoch(counter),
  termMs,
  requestedAtNs: ms(askedMs),
});
const kinds = (state: HolderState, input: HolderInput, atMs: number): string[] =>
  holderStep(state, input, ms(atMs)).map((output) => output.kind);

function holding(): HolderState {
  const state = createHolder("rt", "s");
  holderStep(state, granted(1, 0), ms(10));
  holderStep(state, { kind: "floor_acked", receiver: "adapter", epoch: epoch(1) }, ms(20));
  return state;
}

describe("F-156 a holder's side of a lease", () => {
  test("before any grant it holds nothing, asks nothing and waits for nothing", () => {
    const state = createHolder("rt", "s");
    expect(state).toEqual({
      holder: "rt",
      session: "s",
      phase: "none",
      fencedBy: null,
      epoch: 0,
      signed: null,
      deadlineNs: 0,
      renewAtNs: 0,
      oldRunsOutAtNs: 0,
      receivers: {},
      serviceReachable: true,
    });
    expect(holderNextDeadline(state)).toBe(null);
    expect(holderMayAct(state, "adapter", ms(0))).toEqual({ ok: false, reason: "no_lease" });
    for (const input of [
      { kind: "tick" },
      { kind: "release" },
      { kind: "revoked", epoch: epoch(1) },
      renewed(1, 0),
      { kind: "floor_acked", receiver: "adapter", epoch: 0 },
      { kind: "receiver_restarted", receiver: "adapter" },
    ] as const)
      expect(kinds(state, input, 1)).toEqual([]);
    expect(state.phase).toBe("none");
  });

  test("a grant: acquired and announced, exact to its deadline, and only for this session and this holder", () => {
    const state = createHolder("rt", "s");
    expect(kinds(state, granted(1, 0, { session: "other" }), 10)).toEqual([]);
    expect(kinds(state, granted(1, 0, { holder: "somebody" }), 10)).toEqual([]);
    expect(kinds(state, granted(1, 0), endMs)).toEqual([]);
    expect(state.phase).toBe("none");
    const out = holderStep(state, granted(1, 5, {}, 700), ms(10));
    expect(out).toEqual([
      { kind: "acquired", epoch: epoch(1), previousEpoch: 0, rotated: false },
      { kind: "announce", receiver: "adapter", signed: signed(1) },
    ]);
    expect(state).toMatchObject({
      phase: "held",
      epoch: epoch(1),
      deadlineNs: msToNs(5 + endMs),
      renewAtNs: msToNs(5 + limits.LEASE_RENEW_MS),
      oldRunsOutAtNs: msToNs(710),
      receivers: { adapter: { acked: false, announcedAtNs: msToNs(10) } },
    });
    expect(holderMayAct(state, "adapter", ms(709))).toEqual({ ok: false, reason: "awaiting_ack" });
    expect(holderMayAct(state, "adapter", ms(710))).toEqual({
      ok: true,
      epoch: epoch(1),
      attachGrant: true,
      stale: false,
    });
    expect(holderMayAct(state, "stranger", ms(710))).toEqual({ ok: false, reason: "not_a_receiver" });
  });

  test("announced again every while until it is acknowledged, under that epoch, once; anew to a receiver that restarted", () => {
    const state = createHolder("rt", "s");
    holderStep(state, granted(1, 0), ms(10));
    const again = 10 + limits.LEASE_ANNOUNCE_RETRY_MS;
    expect(holderNextDeadline(state)).toBe(ms(again));
    expect([kinds(state, { kind: "tick" }, again - 1), kinds(state, { kind: "tick" }, again)]).toEqual([
      [],
      ["announce"],
    ]);
    const ack = (of: number): HolderInput => ({ kind: "floor_acked", receiver: "adapter", epoch: epoch(of) });
    expect([kinds(state, ack(2), again + 1), kinds(state, ack(1), again + 1), kinds(state, ack(1), again + 2)]).toEqual(
      [[], ["receiver_ready"], []],
    );
    expect(holderNextDeadline(state)).toBe(ms(limits.LEASE_RENEW_MS));
    expect(kinds(state, { kind: "receiver_restarted", receiver: "stranger" }, again + 3)).toEqual([]);
    expect(Object.keys(state.receivers)).toEqual(["adapter"]);
    expect(kinds(state, { kind: "receiver_restarted", receiver: "adapter" }, again + 3)).toEqual(["announce"]);
    expect(state.receivers.adapter).toEqual({ acked: false, announcedAtNs: ms(again + 3) });
  });

  test("renewed every while; an answer moves the deadline forward, never back, and only of this epoch", () => {
    const state = holding();
    expect(kinds(state, { kind: "tick" }, limits.LEASE_RENEW_MS - 1)).toEqual([]);
    expect(holderStep(state, { kind: "tick" }, ms(limits.LEASE_RENEW_MS))).toEqual([
      { kind: "renew", session: "s", epoch: epoch(1) },
    ]);
    expect(state.renewAtNs).toBe(ms(2 * limits.LEASE_RENEW_MS));
    expect(kinds(state, renewed(1, 5_000), 5_010)).toEqual([]);
    expect([state.deadlineNs, state.renewAtNs]).toEqual([ms(5_000 + endMs), ms(5_000 + limits.LEASE_RENEW_MS)]);
    kinds(state, renewed(1, 4_000), 5_020);
    kinds(state, renewed(2, 50_000), 5_020);
    expect(state.deadlineNs).toBe(ms(5_000 + endMs));
  });

  test("past its deadline it fences itself once, and a late answer for the same epoch stands it up again", () => {
    const state = holding();
    expect(kinds(state, { kind: "tick" }, endMs - 1)).toEqual(["renew"]);
    expect(holderMayAct(state, "adapter", ms(endMs - 1))).toMatchObject({ ok: true, stale: false });
    expect(holderMayAct(state, "adapter", ms(endMs))).toEqual({ ok: false, reason: "fenced" });
    expect(holderStep(state, { kind: "tick" }, ms(endMs))).toEqual([
      { kind: "fenced", epoch: epoch(1), reason: "expired" },
    ]);
    expect([kinds(state, { kind: "tick" }, endMs + 1), holderNextDeadline(state)]).toEqual([[], null]);
    expect(holderStep(state, renewed(1, endMs), ms(endMs + 5))).toEqual([{ kind: "recovered", epoch: epoch(1) }]);
    expect(state).toMatchObject({ phase: "held", fencedBy: null, deadlineNs: msToNs(2 * endMs) });
  });

  test("an answer that comes with the deadline is heard before the clock decides", () => {
    const state = holding();
    expect(kinds(state, renewed(1, endMs - 10), endMs + 10)).toEqual([]);
    expect(state.phase).toBe("held");
  });

  test("what is final stays final: revoked, refused, stale and released do not come back by a renewal", () => {
    const ends: [HolderInput, string][] = [
      [{ kind: "revoked", epoch: epoch(1) }, "revoked"],
      [{ kind: "renew_refused", epoch: epoch(1), reason: "not_holder" } as unknown as HolderInput, "renew_refused"],
      [{ kind: "stale", receiver: "adapter", floor: epoch(2) }, "stale_epoch"],
      [{ kind: "release" }, "released"],
    ];
    for (const [input, reason] of ends) {
      const state = holding();
      expect(holderStep(state, input, ms(30))).toEqual([{ kind: "fenced", epoch: epoch(1), reason }]);
      expect(holderStep(state, input, ms(31))).toEqual([]);
      expect(kinds(state, renewed(1, 40), 41)).toEqual([]);
      expect(kinds(state, granted(1, 40), 41)).toEqual([]);
      expect([state.phase, state.fencedBy]).toEqual(["fenced", reason]);
      expect(kinds(state, granted(2, 50), 51)).toEqual(["acquired", "announce"]);
    }
  });

  test("the word of another epoch changes nothing", () => {
    const state = holding();
    const before = structuredClone(state);
    for (const input of [
      { kind: "revoked", epoch: epoch(1) - 1 },
      { kind: "renew_refused", epoch: epoch(2), reason: "not_holder" },
      { kind: "stale", receiver: "adapter", floor: epoch(1) },
    ] as unknown as HolderInput[])
      expect(kinds(state, input, 30)).toEqual([]);
    expect(kinds(state, granted(0, 25), 30)).toEqual([]);
    expect(state).toEqual(before);
  });

  test("a restored store asks for the lease to be taken again, and ends no call", () => {
    const state = holding();
    const input = { kind: "renew_refused", epoch: epoch(1), reason: "reissue" } as unknown as HolderInput;
    expect(holderStep(state, input, ms(30))).toEqual([{ kind: "reacquire", session: "s" }]);
    expect(state.phase).toBe("held");
    // The same epoch granted once more moves the deadline and nothing else.
    expect(kinds(state, granted(1, 1_000), 1_010)).toEqual([]);
    expect([state.deadlineNs, state.receivers.adapter?.acked]).toEqual([ms(1_000 + endMs), true]);
  });

  test("an outage of the service puts the deadline off, marked; its end is told by an answer, and it has an end itself", () => {
    const state = holding();
    holderStep(state, { kind: "service", reachable: false }, ms(1_000));
    expect(holderStep(state, { kind: "tick" }, ms(endMs)).map((o) => o.kind)).toEqual(["overrun", "renew"]);
    expect(kinds(state, { kind: "tick" }, endMs + 1)).toEqual([]);
    expect(holderMayAct(state, "adapter", ms(endMs))).toMatchObject({ ok: true, stale: true });
    expect(kinds(state, { kind: "service", reachable: true }, endMs + 10)).toEqual(["renew"]);
    expect(kinds(state, renewed(1, endMs + 10), endMs + 20)).toEqual(["recovered"]);
    expect(state.phase).toBe("held");
    const long = holding();
    holderStep(long, { kind: "service", reachable: false }, ms(1_000));
    holderStep(long, { kind: "tick" }, ms(endMs));
    const last = endMs + limits.LEASE_OVERRUN_MS;
    expect(holderMayAct(long, "adapter", ms(last - 1))).toMatchObject({ ok: true });
    expect(holderMayAct(long, "adapter", ms(last))).toEqual({ ok: false, reason: "fenced" });
    expect(kinds(long, { kind: "tick" }, last)).toEqual(["fenced"]);
    expect(long.fencedBy).toBe("expired");
  });

  test("a rotation: a new epoch for the same holder, announced anew, told as a rotation", () => {
    const state = holding();
    expect(holderStep(state, granted(2, 100, { lastSequence: 7, receivers: ["adapter", "replay"] }), ms(110))).toEqual([
      { kind: "acquired", epoch: epoch(2), previousEpoch: epoch(1), rotated: true },
      {
        kind: "announce",
        receiver: "adapter",
        signed: signed(2, { lastSequence: 7, receivers: ["adapter", "replay"] }),
      },
      {
        kind: "announce",
        receiver: "replay",
        signed: signed(2, { lastSequence: 7, receivers: ["adapter", "replay"] }),
      },
    ]);
    expect(state.receivers.adapter?.acked).toBe(false);
  });

  test("a grant after a fence stands anew: reachable, fenced by nothing, with its own receivers and its own deadline", () => {
    const state = holding();
    holderStep(state, { kind: "service", reachable: false }, ms(1_000));
    holderStep(state, { kind: "release" }, ms(1_001));
    holderStep(state, granted(2, 2_000, { receivers: ["replay"] }), ms(2_010));
    expect(state).toMatchObject({ phase: "held", fencedBy: null, serviceReachable: true, epoch: epoch(2) });
    expect(Object.keys(state.receivers)).toEqual(["replay"]);
    expect(holderMayAct(state, "adapter", ms(2_020))).toEqual({ ok: false, reason: "not_a_receiver" });
    // A shorter term of a higher epoch is what counts; of the same epoch the longer one.
    holderStep(state, granted(3, 2_000, { termMs: 30_000 }), ms(2_030));
    expect(state.deadlineNs).toBe(ms(2_000 + 30_000 - margin));
    holderStep(state, granted(3, 2_000, { termMs: 20_000 }), ms(2_040));
    expect(state.deadlineNs).toBe(ms(2_000 + 30_000 - margin));
  });

  test("an answer of the service shows that it is reachable; one that comes when its own term is over is none", () => {
    const state = holding();
    holderStep(state, { kind: "service", reachable: false }, ms(1_000));
    holderStep(state, renewed(1, 1_100), ms(1_110));
    expect(state.serviceReachable).toBe(true);
    const late = holding();
    holderStep(late, { kind: "tick" }, ms(endMs));
    expect(kinds(late, renewed(1, 100), 100 + endMs)).toEqual([]);
    expect(late.phase).toBe("fenced");
  });

  test("the next deadline is the nearest of renewal, term and announcements", () => {
    const state = holding();
    expect(holderNextDeadline(state)).toBe(ms(limits.LEASE_RENEW_MS));
    state.renewAtNs = ms(endMs + 100);
    expect(holderNextDeadline(state)).toBe(ms(endMs));
    holderStep(state, { kind: "service", reachable: false }, ms(1_000));
    expect(holderNextDeadline(state)).toBe(ms(endMs));
    holderStep(state, { kind: "tick" }, ms(endMs));
    expect(state.phase).toBe("overrun");
    expect(holderNextDeadline(state)).toBe(ms(endMs + 100));
    state.renewAtNs = ms(2 * limits.LEASE_OVERRUN_MS);
    expect(holderNextDeadline(state)).toBe(ms(endMs + limits.LEASE_OVERRUN_MS));
  });
});
