import type { MonoNs } from "@rspp/base/brand";
import { asMonoNs, msToNs } from "@rspp/base/brand";
import { describe, expect, test } from "vitest";
import { epochAfter, epochParts, makeEpoch } from "./lease-epoch.ts";
import {
  createGrantor,
  endLease,
  grantLease,
  handOverLease,
  renewLease,
  reopenGrantor,
  revokeLease,
  rotateLease,
  syncReceiver,
  transferLease,
} from "./lease-grantor.ts";
import { createHolder, holderMayAct, holderNextDeadline, holderStep } from "./lease-holder.ts";
import {
  createReceiver,
  receiverAccept,
  receiverAskSync,
  receiverFloor,
  receiverForget,
  receiverSync,
} from "./lease-receiver.ts";
import type { Grant, Granted, HolderInput, HolderState, ReceiverState, SignedGrant } from "./lease-types.ts";
import { limits } from "./limits.ts";

const at = (ms: number): MonoNs => asMonoNs(msToNs(ms));
const sign = (grant: Grant): string => `sig:${grant.session}:${grant.epoch}:${grant.holder}`;
const verify = (signed: SignedGrant): boolean => signed.signature === sign(signed.grant);
const receivers = ["adapter", "gateway"];

function value<T, E>(result: { ok: true; value: T } | { ok: false; error: E }): T {
  if (!result.ok) throw new Error(`refused: ${String(result.error)}`);
  return result.value;
}

function grantorWith(holder = "r1"): { grantor: ReturnType<typeof createGrantor>; granted: Granted } {
  const grantor = createGrantor(1);
  return { grantor, granted: value(grantLease(grantor, { session: "s", holder, receivers }, sign, at(0))) };
}

function holderWith(granted: Granted, holder = "r1", ms = 0): HolderState {
  const state = createHolder(holder, "s");
  holderStep(state, { kind: "granted", ...granted, requestedAtNs: at(ms) }, at(ms));
  return state;
}

function synced(name = "adapter"): ReceiverState {
  const state = createReceiver(name, 7);
  receiverSync(state, { nonce: 7, asOfEpoch: 0, grants: [] }, verify);
  return state;
}

describe("epochs", () => {
  test("carry the store's incarnation above the counter", () => {
    expect(epochParts(makeEpoch(3, 9))).toEqual({ storeIncarnation: 3, counter: 9 });
    expect(makeEpoch(2, 1)).toBeGreaterThan(makeEpoch(1, 2 ** 32 - 1));
    expect(epochAfter(makeEpoch(1, 2 ** 32 - 1), 1)).toBeNull();
    expect(() => makeEpoch(2 ** 21, 0)).toThrow(/21 bits/);
  });

  test("a restored store cannot repeat an epoch", () => {
    const { grantor, granted } = grantorWith();
    const backup = JSON.parse(JSON.stringify(grantor));
    const lost = value(transferLease(grantor, { session: "s", toHolder: "r2", receivers }, sign, at(1)));
    reopenGrantor(backup, 2, at(2));
    const after = value(transferLease(backup, { session: "s", toHolder: "r3", receivers }, sign, at(2)));
    expect(after.signed.grant.epoch).toBeGreaterThan(lost.signed.grant.epoch);
    expect(lost.signed.grant.epoch).toBeGreaterThan(granted.signed.grant.epoch);
    expect(() => reopenGrantor(backup, 2, at(2))).toThrow(/new incarnation/);
  });
});

test("a restored store vouches for no lease of before, and lets the holder go on under a new epoch", () => {
  const { grantor, granted } = grantorWith();
  const holder = holderWith(granted);
  reopenGrantor(grantor, 2, at(1_000));
  expect(syncReceiver(grantor, "adapter", 1)).toEqual({ nonce: 1, asOfEpoch: makeEpoch(2, 0), grants: [] });
  const refused = renewLease(grantor, { session: "s", holder: "r1", epoch: holder.epoch }, at(1_000));
  expect(refused).toEqual({ ok: false, error: "reissue" });
  const out = holderStep(holder, { kind: "renew_refused", epoch: holder.epoch, reason: "reissue" }, at(1_000));
  expect(out).toContainEqual({ kind: "reacquire", session: "s" });
  expect(holder.phase).toBe("held");
  const again = value(grantLease(grantor, { session: "s", holder: "r1", receivers }, sign, at(2_000)));
  expect(again.oldRunsOutInMs).toBe(limits.LEASE_TERM_MS - 1_000);
});

describe("F-095 grantor", () => {
  test("a second holder is refused until the lease has run out", () => {
    const { grantor } = grantorWith();
    const ask = { session: "s", holder: "r2", receivers };
    expect(grantLease(grantor, ask, sign, at(limits.LEASE_TERM_MS - 1))).toEqual({ ok: false, error: "held" });
    expect(value(grantLease(grantor, ask, sign, at(limits.LEASE_TERM_MS))).oldRunsOutInMs).toBe(0);
  });

  test("epochs rise even past the session's end", () => {
    const { grantor, granted } = grantorWith();
    endLease(grantor, "s");
    const again = value(grantLease(grantor, { session: "s", holder: "r1", receivers }, sign, at(1)));
    expect(again.signed.grant.epoch).toBeGreaterThan(granted.signed.grant.epoch);
  });

  test("renewal prolongs, also past the term while nobody else was granted; a superseded epoch is stale", () => {
    const { grantor, granted } = grantorWith();
    const ask = { session: "s", holder: "r1", epoch: granted.signed.grant.epoch };
    expect(renewLease(grantor, ask, at(limits.LEASE_TERM_MS * 2)).ok).toBe(true);
    expect(renewLease(grantor, { ...ask, holder: "r2" }, at(1))).toEqual({ ok: false, error: "not_holder" });
    transferLease(grantor, { session: "s", toHolder: "r2", receivers }, sign, at(1));
    expect(renewLease(grantor, ask, at(2))).toEqual({ ok: false, error: "stale_epoch" });
  });

  test("a transfer says how long the old lease lasts, through a chain and a lost answer", () => {
    const { grantor } = grantorWith();
    const first = value(transferLease(grantor, { session: "s", toHolder: "r2", receivers: [] }, sign, at(10_000)));
    expect(first.oldRunsOutInMs).toBe(limits.LEASE_TERM_MS - 10_000);
    expect(first.signed.grant.receivers).toEqual(receivers);
    const second = value(transferLease(grantor, { session: "s", toHolder: "r3", receivers }, sign, at(20_000)));
    expect(second.oldRunsOutInMs).toBe(limits.LEASE_TERM_MS - 10_000);
    const asked = value(grantLease(grantor, { session: "s", holder: "r3", receivers }, sign, at(30_000)));
    expect(asked).toEqual({ signed: second.signed, oldRunsOutInMs: limits.LEASE_TERM_MS - 20_000 });
  });

  test("rotation to the same holder carries the last sequence and waits for nobody", () => {
    const { grantor, granted } = grantorWith();
    const { epoch } = granted.signed.grant;
    const ask = { session: "s", holder: "r1", epoch, lastSequence: 41 };
    const rotated = value(rotateLease(grantor, ask, sign, at(1)));
    expect(rotated).toMatchObject({ oldRunsOutInMs: 0, signed: { grant: { holder: "r1", lastSequence: 41 } } });
    expect(rotateLease(grantor, ask, sign, at(2))).toEqual({ ok: false, error: "stale_epoch" });
  });

  test("F-158 a holder that has not heard of its rotations renews under any epoch of its unbroken hold, no other", () => {
    const { grantor, granted } = grantorWith();
    const ask = (holder: string, epoch: number) => ({ session: "s", holder, epoch });
    const first = granted.signed.grant.epoch;
    const second = value(rotateLease(grantor, { ...ask("r1", first), lastSequence: 3 }, sign, at(1))).signed.grant
      .epoch;
    expect(renewLease(grantor, ask("r1", first), at(2))).toMatchObject({ ok: true, value: { epoch: second } });
    expect(renewLease(grantor, ask("r1", first - 1), at(2))).toEqual({ ok: false, error: "stale_epoch" });
    expect(renewLease(grantor, ask("r1", second + 1), at(2))).toEqual({ ok: false, error: "stale_epoch" });
    expect(renewLease(grantor, ask("r2", second), at(2))).toEqual({ ok: false, error: "not_holder" });
    // A rotation is asked for under the epoch in force, since it names the last sequence of that one.
    const late = rotateLease(grantor, { ...ask("r1", first), lastSequence: 3 }, sign, at(3));
    expect(late).toEqual({ ok: false, error: "stale_epoch" });
    reopenGrantor(grantor, 2, at(4));
    expect(renewLease(grantor, ask("r1", first), at(5))).toEqual({ ok: false, error: "reissue" });
  });

  test("a hand-over by consent waits for nobody but for who has not consented", () => {
    const { grantor, granted } = grantorWith();
    const { epoch } = granted.signed.grant;
    const ask = { session: "s", holder: "r1", epoch, toHolder: "r2", receivers: ["new"], consented: true };
    expect(handOverLease(grantor, { ...ask, holder: "r3" }, sign, at(1))).toEqual({ ok: false, error: "not_holder" });
    const moved = value(handOverLease(grantor, ask, sign, at(1_000)));
    expect(moved.oldRunsOutInMs).toBe(0);
    expect(moved.signed.grant).toMatchObject({ holder: "r2", receivers: ["adapter", "gateway", "new"] });
    const second = { ...ask, holder: "r2", toHolder: "r3", epoch: moved.signed.grant.epoch, consented: false };
    expect(value(handOverLease(grantor, second, sign, at(2_000))).oldRunsOutInMs).toBe(59_000);
    expect(handOverLease(grantor, second, sign, at(2_000))).toEqual({ ok: false, error: "stale_epoch" });
  });

  test("a revocation is a floor nobody stands on", () => {
    const { grantor, granted } = grantorWith();
    const revoked = value(revokeLease(grantor, "s", sign, at(1)));
    expect(revoked.signed.grant.holder).toBeNull();
    const ask = { session: "s", holder: "r1", epoch: granted.signed.grant.epoch };
    expect(renewLease(grantor, ask, at(2))).toEqual({ ok: false, error: "revoked" });
  });

  test("sessions and receivers are bounded", () => {
    const grantor = createGrantor(1, 1);
    value(grantLease(grantor, { session: "a", holder: "r", receivers }, sign, at(0)));
    const full = grantLease(grantor, { session: "b", holder: "r", receivers }, sign, at(0));
    expect(full).toEqual({ ok: false, error: "sessions_full" });
    const many = Array.from({ length: limits.LEASE_RECEIVERS_MAX + 1 }, (_, n) => `x${n}`);
    const wide = grantLease(createGrantor(1), { session: "a", holder: "r", receivers: many }, sign, at(0));
    expect(wide).toEqual({ ok: false, error: "too_many_receivers" });
  });
});

describe("holder", () => {
  test("announces to every receiver it was given, repeats what is not acknowledged, acts only after", () => {
    const { grantor } = grantorWith();
    const granted = value(transferLease(grantor, { session: "s", toHolder: "r2", receivers }, sign, at(0)));
    const holder = createHolder("r2", "s");
    const out = holderStep(holder, { kind: "granted", ...granted, requestedAtNs: at(0) }, at(0));
    expect(out.filter((o) => o.kind === "announce").map((o) => o.receiver)).toEqual(receivers);
    expect(holderMayAct(holder, "adapter", at(1))).toEqual({ ok: false, reason: "awaiting_ack" });
    holderStep(holder, { kind: "floor_acked", receiver: "adapter", epoch: holder.epoch }, at(2));
    expect(holderMayAct(holder, "adapter", at(2))).toMatchObject({ ok: true, attachGrant: false });
    expect(holderMayAct(holder, "gateway", at(2))).toEqual({ ok: false, reason: "awaiting_ack" });
    expect(holderMayAct(holder, "elsewhere", at(2))).toEqual({ ok: false, reason: "not_a_receiver" });
    expect(holderStep(holder, { kind: "tick" }, at(100))).toEqual([]);
    const again = holderStep(holder, { kind: "tick" }, at(limits.LEASE_ANNOUNCE_RETRY_MS));
    expect(again).toMatchObject([{ kind: "announce", receiver: "gateway" }]);
  });

  test("may act unacknowledged once the old lease has run out, with the grant attached", () => {
    const { grantor } = grantorWith();
    const granted = value(transferLease(grantor, { session: "s", toHolder: "r2", receivers }, sign, at(20_000)));
    const holder = holderWith(granted, "r2", 20_000);
    expect(holderMayAct(holder, "adapter", at(limits.LEASE_TERM_MS - 1))).toMatchObject({ ok: false });
    expect(holderMayAct(holder, "adapter", at(limits.LEASE_TERM_MS))).toMatchObject({ ok: true, attachGrant: true });
  });

  test("renews every 5 s and fences itself before the term ends, also after a pause", () => {
    const { granted } = grantorWith();
    const holder = holderWith(granted);
    for (const receiver of receivers) holderStep(holder, { kind: "floor_acked", receiver, epoch: holder.epoch }, at(1));
    expect(holderNextDeadline(holder)).toBe(at(limits.LEASE_RENEW_MS));
    expect(holderStep(holder, { kind: "tick" }, at(limits.LEASE_RENEW_MS))).toMatchObject([{ kind: "renew" }]);
    const end = limits.LEASE_TERM_MS - limits.LEASE_CLOCK_MARGIN_MS;
    expect(holderMayAct(holder, "adapter", at(end))).toEqual({ ok: false, reason: "fenced" });
    expect(holderStep(holder, { kind: "tick" }, at(end))).toEqual([
      { kind: "fenced", epoch: holder.epoch, reason: "expired" },
    ]);
  });

  test("F-095 comes along when others are renewed, and is due again five seconds after; a fenced one does not", () => {
    const { granted } = grantorWith();
    const holder = holderWith(granted);
    const renew = { kind: "renew", session: "s", epoch: holder.epoch };
    for (const receiver of receivers) {
      holderStep(holder, { kind: "floor_acked", receiver, epoch: holder.epoch }, at(1));
    }
    expect(holderStep(holder, { kind: "renew_now" }, at(3_000))).toEqual([renew]);
    expect(holderStep(holder, { kind: "tick" }, at(7_999))).toEqual([]);
    expect(holderStep(holder, { kind: "tick" }, at(8_000))).toEqual([renew]);
    holderStep(holder, { kind: "revoked", epoch: holder.epoch }, at(8_001));
    expect(holderStep(holder, { kind: "renew_now" }, at(8_002))).toEqual([]);
  });

  test("the term counts from the request, and a renewal too late to matter changes nothing", () => {
    const { granted } = grantorWith();
    const holder = holderWith(granted);
    const renewed = { kind: "renewed", epoch: holder.epoch, termMs: limits.LEASE_TERM_MS } as const;
    holderStep(holder, { ...renewed, requestedAtNs: at(5_000) }, at(9_000));
    expect(holder.deadlineNs).toBe(at(5_000 + limits.LEASE_TERM_MS - limits.LEASE_CLOCK_MARGIN_MS));
    holderStep(holder, { ...renewed, requestedAtNs: at(1_000) }, at(9_000));
    expect(holder.deadlineNs).toBe(at(5_000 + limits.LEASE_TERM_MS - limits.LEASE_CLOCK_MARGIN_MS));
    const late = at(200_000);
    holderStep(holder, { ...renewed, requestedAtNs: at(10_000) }, late);
    expect(holderMayAct(holder, "adapter", late)).toEqual({ ok: false, reason: "fenced" });
    const out = holderStep(holder, { ...renewed, requestedAtNs: at(199_000) }, late);
    expect(out).toEqual([]);
    expect(holder.phase).toBe("held");
  });

  test("a known outage of the lease service ends no call: the holder goes on, marked, bounded", () => {
    const { granted } = grantorWith();
    const holder = holderWith(granted);
    holderStep(holder, { kind: "floor_acked", receiver: "adapter", epoch: holder.epoch }, at(1));
    holderStep(holder, { kind: "service", reachable: false }, at(10_000));
    expect(holderStep(holder, { kind: "tick" }, at(70_000))).toContainEqual({ kind: "overrun", epoch: holder.epoch });
    expect(holderMayAct(holder, "adapter", at(70_000))).toMatchObject({ ok: true, stale: true });
    holderStep(holder, { kind: "service", reachable: true }, at(80_000));
    expect(holderMayAct(holder, "adapter", at(80_000))).toMatchObject({ ok: true, stale: true });
    const renewed: HolderInput = { kind: "renewed", epoch: holder.epoch, termMs: 60_000, requestedAtNs: at(80_000) };
    expect(holderStep(holder, renewed, at(80_001))).toContainEqual({ kind: "recovered", epoch: holder.epoch });
    holderStep(holder, { kind: "service", reachable: false }, at(90_000));
    const end = at(80_000 + limits.LEASE_TERM_MS + limits.LEASE_OVERRUN_MS);
    expect(holderStep(holder, { kind: "tick" }, end)).toContainEqual({
      kind: "fenced",
      epoch: holder.epoch,
      reason: "expired",
    });
  });

  test.each<[string, (epoch: number) => HolderInput]>([
    ["stale_epoch", (epoch) => ({ kind: "stale", receiver: "adapter", floor: epoch + 1 })],
    ["revoked", (epoch) => ({ kind: "revoked", epoch: epoch + 1 })],
    ["renew_refused", (epoch) => ({ kind: "renew_refused", epoch, reason: "stale_epoch" })],
    ["released", () => ({ kind: "release" })],
  ])("fences itself at once: %s, and only a higher grant leads out", (reason, input) => {
    const { grantor, granted } = grantorWith();
    const holder = holderWith(granted);
    const epoch = holder.epoch;
    expect(holderStep(holder, input(epoch), at(1))).toEqual([{ kind: "fenced", epoch, reason }]);
    holderStep(holder, { kind: "granted", ...granted, requestedAtNs: at(1) }, at(1));
    holderStep(holder, { kind: "renewed", epoch, termMs: 60_000, requestedAtNs: at(1) }, at(1));
    expect(holder.phase).toBe("fenced");
    const next = value(transferLease(grantor, { session: "s", toHolder: "r1", receivers }, sign, at(2)));
    holderStep(holder, { kind: "granted", ...next, requestedAtNs: at(2) }, at(2));
    expect(holder.phase).toBe("held");
  });
});

describe("F-156 receiver floor", () => {
  const accept = (state: ReceiverState, signed: SignedGrant, sequence = 1, attach = false) =>
    receiverAccept(
      state,
      { session: "s", epoch: signed.grant.epoch, sequence, signed: attach ? signed : null },
      verify,
    );

  test("accepts its floor alone: lower is stale, higher needs the signed grant", () => {
    const { grantor, granted: old } = grantorWith();
    const next = value(transferLease(grantor, { session: "s", toHolder: "r2", receivers }, sign, at(1)));
    const state = synced();
    expect(accept(state, old.signed)).toEqual({ ok: false, reason: "unknown_session", floor: 0 });
    expect(receiverFloor(state, old.signed, verify)).toMatchObject({ ok: true, raised: true });
    expect(receiverFloor(state, old.signed, verify)).toMatchObject({ ok: true, raised: false });
    expect(accept(state, old.signed)).toMatchObject({ ok: true });
    expect(accept(state, next.signed)).toMatchObject({ ok: false, reason: "unproved_epoch" });
    expect(accept(state, next.signed, 1, true)).toMatchObject({ ok: true, raised: true });
    expect(accept(state, old.signed, 2, true)).toEqual({
      ok: false,
      reason: "stale_epoch",
      floor: next.signed.grant.epoch,
    });
    expect(receiverFloor(state, old.signed, verify)).toMatchObject({ ok: false, reason: "stale_epoch" });
  });

  test("believes no forged, foreign or unnamed grant", () => {
    const { granted } = grantorWith();
    const forged = { grant: { ...granted.signed.grant, epoch: granted.signed.grant.epoch + 9 }, signature: "x" };
    expect(receiverFloor(synced(), forged, verify)).toMatchObject({ ok: false, reason: "bad_signature" });
    expect(receiverFloor(synced("replay"), granted.signed, verify)).toMatchObject({ ok: false, reason: "not_named" });
    const event = { session: "other", epoch: granted.signed.grant.epoch, sequence: 1, signed: granted.signed };
    expect(receiverAccept(synced(), event, verify)).toMatchObject({ ok: false, reason: "unproved_epoch" });
  });

  test("a revoked session accepts nothing, not even its own floor", () => {
    const { grantor, granted } = grantorWith();
    const state = synced();
    receiverFloor(state, granted.signed, verify);
    const revoked = value(revokeLease(grantor, "s", sign, at(1)));
    expect(receiverFloor(state, revoked.signed, verify)).toMatchObject({ ok: true, raised: true });
    expect(accept(state, granted.signed)).toMatchObject({ ok: false, reason: "stale_epoch" });
    expect(accept(state, revoked.signed)).toMatchObject({ ok: false, reason: "revoked" });
  });

  test("a rotation names what was missed under the old epoch", () => {
    const { grantor, granted } = grantorWith();
    const state = synced();
    receiverFloor(state, granted.signed, verify);
    accept(state, granted.signed, 38);
    const ask = { session: "s", holder: "r1", epoch: granted.signed.grant.epoch, lastSequence: 41 };
    const rotated = value(rotateLease(grantor, ask, sign, at(1)));
    const answer = receiverFloor(state, rotated.signed, verify);
    expect(answer).toMatchObject({ ok: true, missing: { fromSeq: 39, toSeq: 41 } });
  });

  test("a restarted receiver refuses everything until synced, and old grants afterwards", () => {
    const { grantor, granted: old } = grantorWith();
    transferLease(grantor, { session: "s", toHolder: "r2", receivers }, sign, at(1));
    const state = createReceiver("adapter", 8);
    expect(receiverFloor(state, old.signed, verify)).toMatchObject({ ok: false, reason: "unsynced" });
    expect(accept(state, old.signed, 1, true)).toMatchObject({ ok: false, reason: "unsynced" });
    expect(receiverSync(state, syncReceiver(grantor, "adapter", 7), verify)).toBe(false);
    expect(receiverSync(state, syncReceiver(grantor, "adapter", 8), verify)).toBe(true);
    expect(accept(state, old.signed, 1, true)).toMatchObject({ ok: false, reason: "stale_epoch" });
    endLease(grantor, "s");
    const again = createReceiver("adapter", 9);
    receiverSync(again, syncReceiver(grantor, "adapter", 9), verify);
    expect(receiverFloor(again, old.signed, verify)).toMatchObject({ ok: false, reason: "stale_grant" });
  });

  test("a forgotten session does not come back, however many were forgotten after it; a sync mends what age refused", () => {
    const grantor = createGrantor(1);
    const early = value(grantLease(grantor, { session: "early", holder: "r", receivers }, sign, at(0)));
    const state = synced();
    const dead: SignedGrant[] = [];
    for (let n = 0; n < limits.RECEIVER_TOMBSTONES_MAX + 5; n++) {
      const { signed } = value(grantLease(grantor, { session: `s${n}`, holder: "r", receivers }, sign, at(0)));
      receiverFloor(state, signed, verify);
      receiverForget(state, signed.grant.session);
      endLease(grantor, signed.grant.session);
      dead.push(signed);
    }
    expect(state.tombstones).toHaveLength(limits.RECEIVER_TOMBSTONES_MAX);
    for (const signed of dead) expect(receiverFloor(state, signed, verify).ok).toBe(false);
    expect(receiverFloor(state, early.signed, verify)).toMatchObject({ ok: false, reason: "stale_grant" });
    receiverAskSync(state, 99);
    expect(receiverSync(state, syncReceiver(grantor, "adapter", 99), verify)).toBe(true);
    expect(receiverFloor(state, early.signed, verify)).toMatchObject({ ok: true, raised: false });
  });
});
