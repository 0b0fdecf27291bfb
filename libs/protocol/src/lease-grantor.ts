import type { MonoNs } from "@rspp/base/brand";
import { asMonoNs, monoPlusNs, msToNs, nsToMs } from "@rspp/base/brand";
import { invariant } from "@rspp/base/invariant";
import type { Result } from "@rspp/base/result";
import { err, ok } from "@rspp/base/result";
import { epochAfter, epochParts, makeEpoch } from "./lease-epoch.ts";
import type {
  Granted,
  GrantorState,
  GrantRefusal,
  LeaseRecord,
  Renewed,
  SignedGrant,
  SignGrant,
  SyncAnswer,
} from "./lease-types.ts";
import { limits } from "./limits.ts";

// The lease service's decisions (kernel.md §7, F-095). Each function is one transaction of its store: it changes `state`
// only when it answers `ok`. The term is fixed at {@link limits.LEASE_TERM_MS}.

/** `storeIncarnation` must be raised by whoever restores the store from a backup. */
export function createGrantor(
  storeIncarnation: number,
  sessionsMax: number = limits.LEASE_GRANTOR_SESSIONS_MAX,
): GrantorState {
  const lastEpoch = makeEpoch(storeIncarnation, 0);
  return { storeIncarnation, lastEpoch, lostRunOutAtNs: asMonoNs(0), sessionsMax, leases: {}, sessionCount: 0 };
}

/**
 * Takes up a store's data under a higher incarnation. What was granted after the backup is unknown to it, so that no lease
 * of an earlier incarnation binds or is vouched for any more: holders are told to ask again (`reissue`), and any lost
 * lease may live for a whole term from now.
 */
export function reopenGrantor(state: GrantorState, storeIncarnation: number, now: MonoNs): void {
  invariant(storeIncarnation > state.storeIncarnation, "a restored store has a new incarnation", storeIncarnation);
  state.storeIncarnation = storeIncarnation;
  state.lastEpoch = makeEpoch(storeIncarnation, 0);
  state.lostRunOutAtNs = monoPlusNs(now, msToNs(limits.LEASE_TERM_MS));
}

/** A lease on a session nobody holds any more; the present holder's own repeated request gets its lease again. */
export function grantLease(
  state: GrantorState,
  ask: { session: string; holder: string; receivers: readonly string[] },
  sign: SignGrant,
  now: MonoNs,
): Result<Granted, GrantRefusal> {
  const lease = state.leases[ask.session];
  if (lease !== undefined && !lease.revoked && isOfThisStore(state, lease.signed.grant.epoch)) {
    const { holder } = lease.signed.grant;
    if (now < lease.expiresAtNs && holder !== ask.holder) return err("held");
    if (holder === ask.holder) {
      lease.expiresAtNs = monoPlusNs(now, msToNs(limits.LEASE_TERM_MS));
      return ok(granted(lease, now));
    }
  }
  return issue(state, { ...ask, lastSequence: null }, sign, now);
}

/** Gives the session to another holder at once, whatever the old one does: failover. */
export function transferLease(
  state: GrantorState,
  ask: { session: string; toHolder: string; receivers: readonly string[] },
  sign: SignGrant,
  now: MonoNs,
): Result<Granted, GrantRefusal> {
  if (state.leases[ask.session] === undefined) return err("unknown_session");
  const { session, toHolder: holder, receivers } = ask;
  return issue(state, { session, holder, receivers, lastSequence: null }, sign, now);
}

/**
 * Planned migration: the next epoch to another holder, asked for under the epoch the old one has. An old holder that
 * `consented` acts no more, so that nobody waits for its term; else it is waited for as after {@link transferLease}.
 */
export function handOverLease(
  state: GrantorState,
  ask: {
    session: string;
    holder: string;
    epoch: number;
    toHolder: string;
    receivers: readonly string[];
    consented: boolean;
  },
  sign: SignGrant,
  now: MonoNs,
): Result<Granted, GrantRefusal> {
  const lease = current(state, ask);
  if (!lease.ok) return lease;
  const { session, toHolder: holder, receivers } = ask;
  const oldRunsOutAtNs = ask.consented ? lease.value.oldRunsOutAtNs : null;
  return issue(state, { session, holder, receivers, lastSequence: null }, sign, now, oldRunsOutAtNs);
}

/** A new epoch for the same holder; `lastSequence` is the last it used under the old one (`lease_rotated`). */
export function rotateLease(
  state: GrantorState,
  ask: { session: string; holder: string; epoch: number; lastSequence: number },
  sign: SignGrant,
  now: MonoNs,
): Result<Granted, GrantRefusal> {
  const lease = current(state, ask);
  if (!lease.ok) return lease;
  const { session, holder, lastSequence } = ask;
  return issue(state, { session, holder, receivers: lease.value.signed.grant.receivers, lastSequence }, sign, now);
}

/**
 * Prolongs the lease. A lease past its term that nobody else was granted is still its holder's: a timeout must not fence a
 * healthy owner (kernel.md §7). Nor must an answer that was lost: a holder that was rotated and has not heard of it renews
 * under the epoch it knows, and is told the one it has.
 */
export function renewLease(
  state: GrantorState,
  ask: { session: string; holder: string; epoch: number },
  now: MonoNs,
): Result<Renewed, GrantRefusal> {
  const known = state.leases[ask.session];
  const goesOn = known !== undefined && heldThroughout(known, ask) && isOfThisStore(state, known.signed.grant.epoch);
  const own = goesOn ? ok(known) : current(state, ask);
  if (!own.ok) return own;
  own.value.expiresAtNs = monoPlusNs(now, msToNs(limits.LEASE_TERM_MS));
  const { signed } = own.value;
  return ok({ epoch: signed.grant.epoch, termMs: limits.LEASE_TERM_MS, signed });
}

/** Takes the session from whoever holds it: a floor without a holder, to be announced to its receivers. */
export function revokeLease(
  state: GrantorState,
  session: string,
  sign: SignGrant,
  now: MonoNs,
): Result<Granted, GrantRefusal> {
  const lease = state.leases[session];
  if (lease === undefined) return err("unknown_session");
  return issue(
    state,
    { session, holder: null, receivers: lease.signed.grant.receivers, lastSequence: null },
    sign,
    now,
  );
}

/** The session is over. Its epochs are never given again, since the counter runs over all sessions. */
export function endLease(state: GrantorState, session: string): void {
  if (state.leases[session] === undefined) return;
  delete state.leases[session];
  state.sessionCount--;
}

/** For a restarted receiver: every current grant that names it. Built after its request, so that it misses nothing. */
export function syncReceiver(state: GrantorState, receiver: string, nonce: number): SyncAnswer {
  const grants: SignedGrant[] = [];
  for (const lease of Object.values(state.leases)) {
    const { epoch, receivers } = lease.signed.grant;
    if (isOfThisStore(state, epoch) && receivers.includes(receiver)) grants.push(lease.signed);
  }
  return { nonce, asOfEpoch: state.lastEpoch, grants };
}

/** Whether `holder` has had the session without a break from `epoch` on, whatever rotations came since. */
export function heldThroughout(
  { signed: { grant }, revoked, heldSinceEpoch }: LeaseRecord,
  { holder, epoch }: { holder: string; epoch: number },
): boolean {
  return !revoked && grant.holder === holder && heldSinceEpoch <= epoch && epoch <= grant.epoch;
}

function isOfThisStore(state: GrantorState, epoch: number): boolean {
  return epochParts(epoch).storeIncarnation === state.storeIncarnation;
}

function current(
  state: GrantorState,
  ask: { session: string; holder: string; epoch: number },
): Result<LeaseRecord, GrantRefusal> {
  const lease = state.leases[ask.session];
  if (!isOfThisStore(state, ask.epoch) && !(lease && isOfThisStore(state, lease.signed.grant.epoch))) {
    return err("reissue");
  }
  if (lease === undefined) return err("unknown_session");
  if (lease.revoked) return err("revoked");
  if (lease.signed.grant.epoch !== ask.epoch) return err("stale_epoch");
  return lease.signed.grant.holder === ask.holder ? ok(lease) : err("not_holder");
}

function issue(
  state: GrantorState,
  ask: { session: string; holder: string | null; receivers: readonly string[]; lastSequence: number | null },
  sign: SignGrant,
  now: MonoNs,
  consentedRunOutAtNs: MonoNs | null = null,
): Result<Granted, GrantRefusal> {
  const before = state.leases[ask.session];
  if (before === undefined && state.sessionCount >= state.sessionsMax) return err("sessions_full");
  // A receiver named once stays named: it may still be accepting the old epoch and must hear of the new one.
  const receivers = [...new Set([...ask.receivers, ...(before?.signed.grant.receivers ?? [])])].sort();
  if (receivers.length > limits.LEASE_RECEIVERS_MAX) return err("too_many_receivers");
  const epoch = epochAfter(state.lastEpoch, state.storeIncarnation);
  if (epoch === null) return err("epochs_exhausted");
  invariant(before === undefined || epoch > before.signed.grant.epoch, "epochs of a session rise strictly", epoch);
  const { session, holder, lastSequence } = ask;
  const grant = { session, epoch, holder, receivers, termMs: limits.LEASE_TERM_MS, lastSequence };
  if (before === undefined) state.sessionCount++;
  state.lastEpoch = epoch;
  const lease: LeaseRecord = {
    signed: { grant, signature: sign(grant) },
    heldSinceEpoch: heldSince(before, holder, epoch),
    expiresAtNs: holder === null ? now : monoPlusNs(now, msToNs(limits.LEASE_TERM_MS)),
    oldRunsOutAtNs: asMonoNs(Math.max(consentedRunOutAtNs ?? oldRunsOut(before, holder, now), state.lostRunOutAtNs)),
    revoked: holder === null,
  };
  state.leases[session] = lease;
  return ok(granted(lease, now));
}

/** Only a rotation goes on under the same hold: whoever was revoked, or asks for an older store's lease again, begins anew. */
function heldSince(before: LeaseRecord | undefined, holder: string | null, epoch: number): number {
  const goesOn = before !== undefined && !before.revoked && before.signed.grant.holder === holder;
  return goesOn && epochParts(before.signed.grant.epoch).storeIncarnation === epochParts(epoch).storeIncarnation
    ? before.heldSinceEpoch
    : epoch;
}

/** A holder need not wait for its own old lease to run out, but for everybody's before it. */
function oldRunsOut(before: LeaseRecord | undefined, holder: string | null, now: MonoNs): MonoNs {
  if (before === undefined) return now;
  if (before.signed.grant.holder === holder) return before.oldRunsOutAtNs;
  return asMonoNs(Math.max(before.expiresAtNs, before.oldRunsOutAtNs));
}

function granted(lease: LeaseRecord, now: MonoNs): Granted {
  return { signed: lease.signed, oldRunsOutInMs: Math.ceil(nsToMs(Math.max(0, lease.oldRunsOutAtNs - now))) };
}
