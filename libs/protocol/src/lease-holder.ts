import type { MonoNs } from "@rspp/base/brand";
import { asMonoNs, monoPlusNs, msToNs } from "@rspp/base/brand";
import { unreachable } from "@rspp/base/invariant";
import type {
  FenceReason,
  HolderInput,
  HolderOutput,
  HolderState,
  MayAct,
  ReceiverView,
  SignedGrant,
} from "./lease-types.ts";
import { limits } from "./limits.ts";

/** A holder's side of one session's lease, before any grant. */
export function createHolder(holder: string, session: string): HolderState {
  return {
    holder,
    session,
    phase: "none",
    fencedBy: null,
    epoch: 0,
    signed: null,
    deadlineNs: asMonoNs(0),
    renewAtNs: asMonoNs(0),
    oldRunsOutAtNs: asMonoNs(0),
    receivers: {},
    serviceReachable: true,
  };
}

/**
 * One step of the holder. Every input is checked against the deadline first, so that a machine that was suspended fences
 * itself before it does anything else (kernel.md §7). Input of another epoch than the current one changes nothing.
 */
export function holderStep(state: HolderState, input: HolderInput, now: MonoNs): HolderOutput[] {
  const out: HolderOutput[] = [];
  checkDeadline(state, input, now, out);
  switch (input.kind) {
    case "granted":
      takeGrant(state, input, now, out);
      break;
    case "renewed":
      takeRenewal(state, input, now, out);
      break;
    case "renew_refused":
      if (input.epoch !== state.epoch) break;
      // A restored store knows nothing against this holder: no reason to end a call.
      if (input.reason === "reissue") out.push({ kind: "reacquire", session: state.session });
      else fence(state, "renew_refused", out);
      break;
    case "revoked":
      if (input.epoch >= state.epoch) fence(state, "revoked", out);
      break;
    case "stale":
      // A receiver that knows a higher floor has seen a signed grant: this holder has been succeeded.
      if (input.floor > state.epoch) fence(state, "stale_epoch", out);
      break;
    case "release":
      fence(state, "released", out);
      break;
    case "service":
      state.serviceReachable = input.reachable;
      if (input.reachable) state.renewAtNs = asMonoNs(Math.min(state.renewAtNs, now));
      break;
    case "floor_acked":
      takeAck(state, input, out);
      break;
    case "receiver_restarted": {
      const view = state.receivers[input.receiver];
      if (view !== undefined) state.receivers[input.receiver] = { acked: false, announcedAtNs: null };
      break;
    }
    case "renew_now":
      state.renewAtNs = asMonoNs(Math.min(state.renewAtNs, now));
      break;
    case "tick":
      break;
    default:
      unreachable(input);
  }
  if (isActing(state)) act(state, now, out);
  return out;
}

/**
 * Whether anything may be sent to `receiver` now, and under which epoch: only once it has acknowledged the floor, or the
 * old lease has run out; then the signed grant goes along. `stale` marks work done past the deadline during an outage.
 */
export function holderMayAct(state: HolderState, receiver: string, now: MonoNs): MayAct {
  if (state.phase === "none") return { ok: false, reason: "no_lease" };
  if (!isActing(state) || now >= hardDeadline(state)) return { ok: false, reason: "fenced" };
  const view = state.receivers[receiver];
  if (view === undefined) return { ok: false, reason: "not_a_receiver" };
  if (!view.acked && now < state.oldRunsOutAtNs) return { ok: false, reason: "awaiting_ack" };
  return { ok: true, epoch: state.epoch, attachGrant: !view.acked, stale: now >= state.deadlineNs };
}

/** The next instant at which a `tick` does something; null when none does. */
export function holderNextDeadline(state: HolderState): MonoNs | null {
  if (!isActing(state)) return null;
  let next = Math.min(hardDeadline(state), state.renewAtNs);
  if (state.phase === "held") next = Math.min(next, state.deadlineNs);
  for (const view of Object.values(state.receivers)) {
    if (view.acked) continue;
    const again = view.announcedAtNs === null ? 0 : view.announcedAtNs + msToNs(limits.LEASE_ANNOUNCE_RETRY_MS);
    next = Math.min(next, again);
  }
  return asMonoNs(next);
}

function isActing(state: HolderState): boolean {
  return state.phase === "held" || state.phase === "overrun";
}

/** The deadline, put off while the lease service is known to be out: an outage does not end calls. */
function hardDeadline(state: HolderState): MonoNs {
  const late = state.phase === "overrun" || !state.serviceReachable;
  return late ? monoPlusNs(state.deadlineNs, msToNs(limits.LEASE_OVERRUN_MS)) : state.deadlineNs;
}

function checkDeadline(state: HolderState, input: HolderInput, now: MonoNs, out: HolderOutput[]): void {
  if (!isActing(state) || now < state.deadlineNs) return;
  // A fresh enough answer of the service is heard before the clock decides.
  const mends = input.kind === "renewed" || input.kind === "granted";
  if (now >= monoPlusNs(state.deadlineNs, msToNs(limits.LEASE_OVERRUN_MS))) fence(state, "expired", out);
  else if (!state.serviceReachable) {
    if (state.phase === "overrun") return;
    state.phase = "overrun";
    out.push({ kind: "overrun", epoch: state.epoch });
  } else if (!mends && state.phase === "held") fence(state, "expired", out);
}

function takeGrant(
  state: HolderState,
  input: Extract<HolderInput, { kind: "granted" }>,
  now: MonoNs,
  out: HolderOutput[],
): void {
  const { grant } = input.signed;
  if (grant.session !== state.session || grant.holder !== state.holder) return;
  if (grant.epoch < state.epoch) return;
  const sameEpoch = grant.epoch === state.epoch && state.signed !== null;
  if (sameEpoch && state.fencedBy !== "expired" && !isActing(state)) return;
  const deadlineNs = termEnd(input.requestedAtNs, grant.termMs);
  if (now >= deadlineNs) return;
  const previousEpoch = state.epoch;
  state.deadlineNs = sameEpoch ? asMonoNs(Math.max(state.deadlineNs, deadlineNs)) : deadlineNs;
  state.renewAtNs = monoPlusNs(input.requestedAtNs, msToNs(limits.LEASE_RENEW_MS));
  state.serviceReachable = true;
  state.phase = "held";
  state.fencedBy = null;
  if (sameEpoch) return;
  state.epoch = grant.epoch;
  state.signed = input.signed;
  // What was to be waited for stays so: a rotation's grant may come without it, as an answer to a renewal.
  state.oldRunsOutAtNs = asMonoNs(Math.max(state.oldRunsOutAtNs, now + msToNs(input.oldRunsOutInMs)));
  state.receivers = {};
  for (const receiver of grant.receivers) state.receivers[receiver] = { acked: false, announcedAtNs: null };
  out.push({ kind: "acquired", epoch: grant.epoch, previousEpoch, rotated: grant.lastSequence !== null });
}

function takeRenewal(
  state: HolderState,
  input: Extract<HolderInput, { kind: "renewed" }>,
  now: MonoNs,
  out: HolderOutput[],
): void {
  if (input.epoch !== state.epoch) return;
  const deadlineNs = termEnd(input.requestedAtNs, input.termMs);
  // The service renews only the current epoch, so a holder that fenced itself by its clock alone may stand up again.
  if (now >= deadlineNs || !(isActing(state) || state.fencedBy === "expired")) return;
  const wasPast = state.phase !== "held";
  state.deadlineNs = asMonoNs(Math.max(state.deadlineNs, deadlineNs));
  state.renewAtNs = monoPlusNs(input.requestedAtNs, msToNs(limits.LEASE_RENEW_MS));
  state.serviceReachable = true;
  state.phase = "held";
  state.fencedBy = null;
  if (wasPast) out.push({ kind: "recovered", epoch: state.epoch });
}

function termEnd(requestedAtNs: MonoNs, termMs: number): MonoNs {
  return monoPlusNs(requestedAtNs, msToNs(termMs - limits.LEASE_CLOCK_MARGIN_MS));
}

function takeAck(state: HolderState, input: Extract<HolderInput, { kind: "floor_acked" }>, out: HolderOutput[]): void {
  const view = state.receivers[input.receiver];
  if (view === undefined || input.epoch !== state.epoch || view.acked) return;
  view.acked = true;
  out.push({ kind: "receiver_ready", receiver: input.receiver, epoch: state.epoch });
}

function act(state: HolderState, now: MonoNs, out: HolderOutput[]): void {
  if (now >= state.renewAtNs) {
    state.renewAtNs = monoPlusNs(now, msToNs(limits.LEASE_RENEW_MS));
    out.push({ kind: "renew", session: state.session, epoch: state.epoch });
  }
  if (state.signed === null) return;
  for (const [receiver, view] of Object.entries(state.receivers)) announce(receiver, view, state.signed, now, out);
}

function announce(receiver: string, view: ReceiverView, signed: SignedGrant, now: MonoNs, out: HolderOutput[]): void {
  if (view.acked) return;
  if (view.announcedAtNs !== null && now - view.announcedAtNs < msToNs(limits.LEASE_ANNOUNCE_RETRY_MS)) return;
  view.announcedAtNs = now;
  out.push({ kind: "announce", receiver, signed });
}

function fence(state: HolderState, reason: FenceReason, out: HolderOutput[]): void {
  if (!isActing(state)) return;
  state.phase = "fenced";
  state.fencedBy = reason;
  out.push({ kind: "fenced", epoch: state.epoch, reason });
}
