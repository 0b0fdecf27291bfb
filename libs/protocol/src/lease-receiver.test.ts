import { describe, expect, test } from "vitest";
import { makeEpoch } from "./lease-epoch.ts";
import {
  createReceiver,
  receiverAccept,
  receiverAskSync,
  receiverFloor,
  receiverForget,
  receiverSync,
} from "./lease-receiver.ts";
import type { Grant, ReceiverState, SignedGrant } from "./lease-types.ts";

const at = (counter: number): number => makeEpoch(1, counter);

function grant(session: string, counter: number, over: Partial<Grant> = {}): SignedGrant {
  const made = {
    session,
    epoch: at(counter),
    holder: "rt",
    receivers: ["adapter"],
    termMs: 60_000,
    lastSequence: null,
  };
  return { grant: { ...made, ...over } as Grant, signature: "good" };
}
const verify = (signed: SignedGrant): boolean => signed.signature === "good";
const forged = (signed: SignedGrant): SignedGrant => ({ ...signed, signature: "bad" });
const sync = (state: ReceiverState, grants: SignedGrant[], asOf = 0) =>
  receiverSync(state, { nonce: state.syncNonce, asOfEpoch: at(asOf), grants }, verify);
const event = (session: string, counter: number, signed: SignedGrant | null = null, sequence = 0) => ({
  session,
  epoch: at(counter),
  sequence,
  signed,
});

function synced(grants: SignedGrant[] = [], sessionsMax = 4): ReceiverState {
  const state = createReceiver("adapter", 1, sessionsMax);
  expect(sync(state, grants)).toBe(true);
  return state;
}

describe("F-156 a receiver's sync", () => {
  test("it begins with nothing and refuses everything, whoever signs it", () => {
    const state = createReceiver("adapter", 1, 4);
    expect(state).toEqual({
      receiver: "adapter",
      synced: false,
      syncNonce: 1,
      sessionsMax: 4,
      floors: {},
      floorCount: 0,
      tombstones: [],
      refuseUpToEpoch: 0,
    });
    const signed = grant("s", 1);
    expect(receiverFloor(state, signed, verify)).toMatchObject({ ok: false, reason: "unsynced", floor: 0 });
    expect(receiverAccept(state, event("s", 1, signed), verify)).toMatchObject({ ok: false, reason: "unsynced" });
  });

  test("an answer to another question, one too many, forged, or not for this receiver changes nothing", () => {
    const state = createReceiver("adapter", 7, 2);
    const answer = (grants: SignedGrant[], nonce = 7) =>
      receiverSync(state, { nonce, asOfEpoch: at(9), grants }, verify);
    expect(answer([grant("s", 1)], 6)).toBe(false);
    expect(answer([grant("a", 1), grant("b", 2), grant("c", 3)])).toBe(false);
    expect(answer([forged(grant("a", 1))])).toBe(false);
    expect(answer([grant("a", 1), grant("b", 2, { receivers: ["replay"] })])).toBe(false);
    expect(state).toEqual(createReceiver("adapter", 7, 2));
    expect(answer([grant("a", 1), grant("b", 2)])).toBe(true);
    expect([state.synced, state.floorCount, state.refuseUpToEpoch]).toEqual([true, 2, at(9)]);
  });

  test("what it knows stays where it is higher or the same; what is over does not come back", () => {
    const state = synced([grant("s", 5)]);
    receiverAccept(state, event("s", 5, null, 40), verify);
    receiverFloor(state, grant("gone", 6), verify);
    receiverForget(state, "gone");
    receiverAskSync(state, 2);
    expect(sync(state, [grant("s", 5), grant("gone", 6)])).toBe(true);
    expect(state.floors).toEqual({ s: { epoch: at(5), holder: "rt", lastSequence: 40 } });
    receiverAskSync(state, 3);
    expect(sync(state, [grant("s", 4), grant("gone", 7)])).toBe(true);
    expect(state.floors).toMatchObject({ s: { epoch: at(5) }, gone: { epoch: at(7) } });
    receiverAskSync(state, 4);
    expect(sync(state, [grant("s", 8)])).toBe(true);
    expect(state.floors.s).toEqual({ epoch: at(8), holder: "rt", lastSequence: 0 });
  });

  test("the refusal of old grants only rises", () => {
    const state = synced([], 4);
    receiverAskSync(state, 2);
    sync(state, [], 9);
    receiverAskSync(state, 3);
    sync(state, [], 3);
    expect(state.refuseUpToEpoch).toBe(at(9));
    expect(receiverFloor(state, grant("s", 9), verify)).toMatchObject({ ok: false, reason: "stale_grant" });
    expect(receiverFloor(state, grant("s", 10), verify)).toMatchObject({ ok: true, raised: true });
  });
});

describe("F-156 floors and events", () => {
  test("a floor is acknowledged once as raised, again as known; a lower one is refused with the floor", () => {
    const state = synced();
    expect(receiverFloor(state, grant("s", 2), verify)).toEqual({
      ok: true,
      session: "s",
      epoch: at(2),
      raised: true,
      missing: null,
    });
    expect(receiverFloor(state, grant("s", 2), verify)).toMatchObject({ ok: true, raised: false, missing: null });
    expect(receiverFloor(state, grant("s", 1), verify)).toEqual({
      ok: false,
      session: "s",
      reason: "stale_epoch",
      floor: at(2),
    });
    expect(receiverFloor(state, forged(grant("s", 3)), verify)).toMatchObject({ ok: false, reason: "bad_signature" });
    expect(receiverFloor(state, grant("s", 3, { receivers: ["replay"] }), verify)).toMatchObject({
      ok: false,
      reason: "not_named",
    });
  });

  test("a rotation tells what of the old epoch never came, and nothing where all came", () => {
    const state = synced([grant("s", 1)]);
    receiverAccept(state, event("s", 1, null, 10), verify);
    const rotated = (counter: number, lastSequence: number | null) =>
      receiverFloor(state, grant("s", counter, { lastSequence }), verify);
    expect(rotated(2, 13)).toMatchObject({ missing: { fromSeq: 11, toSeq: 13 } });
    receiverAccept(state, event("s", 2, null, 5), verify);
    receiverAccept(state, event("s", 2, null, 3), verify);
    expect(rotated(3, 5)).toMatchObject({ raised: true, missing: null });
    receiverAccept(state, event("s", 3, null, 6), verify);
    expect(rotated(4, 4)).toMatchObject({ missing: null });
    expect(rotated(5, null)).toMatchObject({ missing: null });
    // Of a session that was not known here nothing is missed.
    expect(receiverFloor(state, grant("new", 9, { lastSequence: 4 }), verify)).toMatchObject({
      ok: true,
      missing: null,
    });
    expect(rotated(6, 1)).toMatchObject({ missing: { fromSeq: 1, toSeq: 1 } });
  });

  test("an event acts under the floor alone, or with the grant that proves a higher epoch", () => {
    const state = synced([grant("s", 2)]);
    expect(receiverAccept(state, event("s", 2), verify)).toEqual({ ok: true, epoch: at(2), raised: false });
    expect(receiverAccept(state, event("s", 1, grant("s", 1)), verify)).toEqual({
      ok: false,
      reason: "stale_epoch",
      floor: at(2),
    });
    expect(receiverAccept(state, event("s", 3), verify)).toMatchObject({ ok: false, reason: "unproved_epoch" });
    expect(receiverAccept(state, event("x", 3), verify)).toEqual({ ok: false, reason: "unknown_session", floor: 0 });
    for (const other of [grant("s", 4), grant("other", 3)])
      expect(receiverAccept(state, event("s", 3, other), verify)).toMatchObject({ reason: "unproved_epoch" });
    expect(receiverAccept(state, event("s", 3, forged(grant("s", 3))), verify)).toMatchObject({
      reason: "bad_signature",
    });
    expect(receiverAccept(state, event("s", 3, grant("s", 3), 9), verify)).toEqual({
      ok: true,
      epoch: at(3),
      raised: true,
    });
    expect(state.floors.s).toEqual({ epoch: at(3), holder: "rt", lastSequence: 9 });
  });

  test("a session that nobody holds takes nothing, whether it was told so before or with the event", () => {
    const state = synced([grant("s", 2, { holder: null })]);
    expect(receiverAccept(state, event("s", 2), verify)).toEqual({ ok: false, reason: "revoked", floor: at(2) });
    expect(receiverAccept(state, event("s", 3, grant("s", 3, { holder: null })), verify)).toEqual({
      ok: false,
      reason: "revoked",
      floor: at(3),
    });
  });

  test("full means full: one more session is refused, a known one is not; a forgotten one makes room and stays dead", () => {
    const state = synced([grant("a", 1), grant("b", 2)], 2);
    expect(receiverFloor(state, grant("c", 3), verify)).toMatchObject({ ok: false, reason: "sessions_full" });
    expect(receiverFloor(state, grant("a", 3), verify)).toMatchObject({ ok: true, raised: true });
    receiverForget(state, "b");
    receiverForget(state, "b");
    expect([state.floorCount, state.tombstones]).toEqual([1, [{ session: "b", epoch: at(2) }]]);
    expect(receiverFloor(state, grant("b", 2), verify)).toMatchObject({ ok: false, reason: "stale_grant" });
    expect(receiverAccept(state, event("b", 1, grant("b", 1)), verify)).toMatchObject({ reason: "stale_grant" });
    expect(receiverFloor(state, grant("c", 4), verify)).toMatchObject({ ok: true, raised: true });
  });

  test("a new session fits exactly up to the bound", () => {
    const state = synced([grant("a", 1)], 2);
    expect(receiverFloor(state, grant("b", 2), verify)).toMatchObject({ ok: true, raised: true });
    expect(state.floorCount).toBe(2);
  });
});
