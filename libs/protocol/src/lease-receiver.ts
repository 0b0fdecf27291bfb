import { invariant } from "@rspp/base/invariant";
import type {
  EventAnswer,
  Floor,
  FloorAnswer,
  ReceiverRefusal,
  ReceiverState,
  SignedGrant,
  SyncAnswer,
  VerifyGrant,
} from "./lease-types.ts";
import { limits } from "./limits.ts";

/**
 * A receiver as it starts: it refuses everything until {@link receiverSync} (kernel.md §7). `syncNonce` must differ
 * between its starts.
 */
export function createReceiver(
  receiver: string,
  syncNonce: number,
  sessionsMax: number = limits.RECEIVER_SESSIONS_MAX,
): ReceiverState {
  return {
    receiver,
    synced: false,
    syncNonce,
    sessionsMax,
    floors: {},
    floorCount: 0,
    tombstones: [],
    refuseUpToEpoch: 0,
  };
}

/** Asks again without a restart, for grants refused as `stale_grant`; what is known stays in force meanwhile. */
export function receiverAskSync(state: ReceiverState, syncNonce: number): void {
  invariant(syncNonce !== state.syncNonce, "every request to sync has its own nonce", syncNonce);
  state.syncNonce = syncNonce;
}

/** Takes the lease service's answer to the last request. False, and nothing changed, for any other answer. */
export function receiverSync(state: ReceiverState, answer: SyncAnswer, verify: VerifyGrant): boolean {
  if (answer.nonce !== state.syncNonce || answer.grants.length > state.sessionsMax) return false;
  for (const signed of answer.grants) {
    if (!verify(signed) || !signed.grant.receivers.includes(state.receiver)) return false;
  }
  for (const { grant } of answer.grants) {
    const floor = state.floors[grant.session];
    if (floor !== undefined && grant.epoch <= floor.epoch) continue;
    if (isDead(state, grant.session, grant.epoch)) continue;
    setFloor(state, grant.session, { epoch: grant.epoch, holder: grant.holder, lastSequence: 0 });
  }
  // Whatever was issued before the answer and is not in it, is over: an old grant may not bring it back.
  state.refuseUpToEpoch = Math.max(state.refuseUpToEpoch, answer.asOfEpoch);
  state.synced = true;
  return true;
}

/** A new floor is announced. `ok` is the acknowledgement: from now on nothing lower is accepted here. */
export function receiverFloor(state: ReceiverState, signed: SignedGrant, verify: VerifyGrant): FloorAnswer {
  const { session, epoch } = signed.grant;
  const floor = state.floors[session];
  const refusal = grantRefusal(state, signed, verify);
  if (refusal !== null) return { ok: false, session, reason: refusal, floor: floor?.epoch ?? 0 };
  if (floor !== undefined && floor.epoch === epoch) return { ok: true, session, epoch, raised: false, missing: null };
  const missing = raise(state, signed);
  return { ok: true, session, epoch, raised: true, missing };
}

/**
 * Whether an event may act here (F-156): its epoch must be the floor. A lower one is stale, whoever signs it; a higher one
 * is believed with its signed grant only. `sequence` is the holder's under this epoch.
 */
export function receiverAccept(
  state: ReceiverState,
  event: { session: string; epoch: number; sequence: number; signed: SignedGrant | null },
  verify: VerifyGrant,
): EventAnswer {
  const floor = state.floors[event.session];
  const refuse = (reason: ReceiverRefusal): EventAnswer => ({ ok: false, reason, floor: floor?.epoch ?? 0 });
  if (!state.synced) return refuse("unsynced");
  if (floor !== undefined && event.epoch < floor.epoch) return refuse("stale_epoch");
  if (floor !== undefined && event.epoch === floor.epoch) {
    if (floor.holder === null) return refuse("revoked");
    floor.lastSequence = Math.max(floor.lastSequence, event.sequence);
    return { ok: true, epoch: floor.epoch, raised: false };
  }
  const { signed } = event;
  if (signed === null) return refuse(floor === undefined ? "unknown_session" : "unproved_epoch");
  if (signed.grant.session !== event.session || signed.grant.epoch !== event.epoch) return refuse("unproved_epoch");
  const refusal = grantRefusal(state, signed, verify);
  if (refusal !== null) return refuse(refusal);
  raise(state, signed);
  if (signed.grant.holder === null) return { ok: false, reason: "revoked", floor: event.epoch };
  const raised = state.floors[event.session];
  if (raised !== undefined) raised.lastSequence = Math.max(raised.lastSequence, event.sequence);
  return { ok: true, epoch: event.epoch, raised: true };
}

/** The session is over here. Its grants stay refused: one by one while remembered, afterwards by their age. */
export function receiverForget(state: ReceiverState, session: string): void {
  const floor = state.floors[session];
  if (floor === undefined) return;
  delete state.floors[session];
  state.floorCount--;
  state.tombstones.push({ session, epoch: floor.epoch });
  if (state.tombstones.length <= limits.RECEIVER_TOMBSTONES_MAX) return;
  const oldest = state.tombstones.shift();
  invariant(oldest !== undefined, "a full list has a first entry");
  state.refuseUpToEpoch = Math.max(state.refuseUpToEpoch, oldest.epoch);
}

function grantRefusal(state: ReceiverState, signed: SignedGrant, verify: VerifyGrant): ReceiverRefusal | null {
  const { session, epoch, receivers } = signed.grant;
  const floor = state.floors[session];
  if (!state.synced) return "unsynced";
  if (floor !== undefined && epoch < floor.epoch) return "stale_epoch";
  if (!verify(signed)) return "bad_signature";
  if (!receivers.includes(state.receiver)) return "not_named";
  if (floor !== undefined) return null;
  if (epoch <= state.refuseUpToEpoch) return "stale_grant";
  if (isDead(state, session, epoch)) return "stale_grant";
  return state.floorCount >= state.sessionsMax ? "sessions_full" : null;
}

function isDead(state: ReceiverState, session: string, epoch: number): boolean {
  for (const dead of state.tombstones) if (dead.session === session && epoch <= dead.epoch) return true;
  return false;
}

function raise(state: ReceiverState, signed: SignedGrant): { fromSeq: number; toSeq: number } | null {
  const { session, epoch, holder, lastSequence } = signed.grant;
  const before = state.floors[session];
  setFloor(state, session, { epoch, holder, lastSequence: 0 });
  if (before === undefined || lastSequence === null || before.lastSequence >= lastSequence) return null;
  return { fromSeq: before.lastSequence + 1, toSeq: lastSequence };
}

function setFloor(state: ReceiverState, session: string, floor: Floor): void {
  const before = state.floors[session];
  invariant(before === undefined || floor.epoch > before.epoch, "a floor only rises", { before, floor });
  if (before === undefined) state.floorCount++;
  state.floors[session] = floor;
}
