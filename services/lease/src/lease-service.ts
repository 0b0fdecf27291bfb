import { invariant } from "@rspp/base/invariant";
import { err, ok, type Result } from "@rspp/base/result";
import {
  endLease,
  grantLease,
  renewLease,
  revokeLease,
  rotateLease,
  syncReceiver,
  transferLease,
} from "@rspp/protocol/lease-grantor";
import type { Granted, GrantRefusal, SignGrant, SyncAnswer } from "@rspp/protocol/lease-types";
import { limits } from "@rspp/protocol/limits";
import type {
  LeaseDecision,
  LeaseMode,
  LeaseRow,
  LeaseStore,
  LeaseView,
  ReceiverFloorRow,
} from "@rspp/store/lease-store";
import type { SessionKey } from "@rspp/store/state-store";
import { type GrantorView, grantorState, grantorView, storedLease, storedState } from "./grantor-view.ts";
import { sessionName } from "./session-name.ts";
import { SharedClock } from "./shared-clock.ts";

/** A lease as callers see it: the row, and how long the lease before it may still be acted on. */
export interface LeaseAnswer {
  readonly lease: LeaseRow;
  /** 0 when there is none before it. */
  readonly oldRunsOutInMs: number;
  /** True when nothing new was issued: a repeat, or the holder's own lease again. */
  readonly unchanged: boolean;
}

export type LeaseRefusal = GrantRefusal | "unexpected_epoch";

export interface GrantAsk {
  readonly session: SessionKey;
  readonly holder: string;
  readonly receivers: readonly string[];
  /** Takes the session from a holder that is lost; whoever calls has the permission checked. */
  readonly takeover: boolean;
  /** What the caller believes is in force; 0: does not matter. */
  readonly expectedEpoch: number;
  readonly requestKey: string;
}

export interface HeldAsk {
  readonly session: SessionKey;
  readonly holder: string;
  readonly epoch: number;
}

/**
 * The lease service's logic (kernel.md §7): the machine of libs/protocol decides, the store makes it linearizable over
 * replicas. Refusals are values; what the store rejects with (StoreError) goes through.
 */
export interface LeaseService {
  grant(ask: GrantAsk): Promise<Result<LeaseAnswer, LeaseRefusal>>;
  renew(ask: HeldAsk): Promise<Result<LeaseAnswer, LeaseRefusal>>;
  rotate(
    ask: HeldAsk & { readonly lastSequence: number; readonly requestKey: string },
  ): Promise<Result<LeaseAnswer, LeaseRefusal>>;
  /** `epoch` is the one to be taken back: a later one is somebody else's. */
  revoke(session: SessionKey, epoch: number): Promise<Result<LeaseAnswer, LeaseRefusal>>;
  /** The holder is done with the session for good. */
  release(ask: HeldAsk): Promise<Result<LeaseRow, LeaseRefusal>>;
  get(session: SessionKey): Promise<{ readonly lease: LeaseRow; readonly ended: boolean } | undefined>;
  acknowledgeFloors(floors: readonly Omit<ReceiverFloorRow, "acknowledgedWallMs">[]): Promise<void>;
  floors(session: SessionKey): Promise<readonly ReceiverFloorRow[]>;
  /** For a restarted receiver. */
  syncReceiver(receiver: string, nonce: number): Promise<SyncAnswer>;
  /** Ends sessions whose holder is long gone, forgets ended ones. To be called now and then; bounded. */
  sweep(): Promise<{ readonly ended: number; readonly forgotten: number }>;
}

export interface LeaseServicePorts {
  readonly store: LeaseStore;
  /** Pure; may be called more than once for one grant. */
  readonly sign: SignGrant;
  /** Monotonic milliseconds of this process. */
  readonly monoMs: () => number;
}

/** Past its term, past the longest overrun of a holder that cannot reach us, and as much again. */
const abandonedAfterMs = limits.LEASE_TERM_MS + 2 * limits.LEASE_OVERRUN_MS;
const endedKeptMs = 3_600_000;
const sweepMax = 100;

export function createLeaseService({ store, sign, monoMs }: LeaseServicePorts): LeaseService {
  const clock = new SharedClock();

  /** Runs the machine on one session; a step of the shared clock is met before anything is decided by it. */
  async function decide<T>(
    session: SessionKey,
    mode: LeaseMode,
    step: (view: LeaseView, grantor: GrantorView) => LeaseDecision<T>,
  ): Promise<T> {
    const askedMs = monoMs();
    let stepped = false;
    const answer = await store.update(session, mode, (seen) => {
      stepped ||= clock.stepped(seen.nowWallMs, askedMs, monoMs());
      const view = stepped ? distrusting(seen) : seen;
      const decision = step(view, grantorView(view));
      // Renewals leave the store's row alone; the mistrust is written behind them.
      return stepped && mode === "issue" ? { ...decision, store: decision.store ?? view.store } : decision;
    });
    if (stepped && mode === "renew") await store.distrustClock(limits.LEASE_TERM_MS);
    return answer;
  }

  const issue = (
    session: SessionKey,
    requestKey: string,
    step: (grantor: GrantorView, view: LeaseView) => Result<Granted, LeaseRefusal> | LeaseRow,
  ): Promise<Result<LeaseAnswer, LeaseRefusal>> =>
    decide<Result<LeaseAnswer, LeaseRefusal>>(session, "issue", (view, grantor) => {
      const decided = step(grantor, view);
      if (!("ok" in decided)) return { answer: ok(answerOf(decided, view, true)) };
      if (!decided.ok) return { answer: decided };
      const lease = storedLease(view, recordOf(grantor, session), session, requestKey);
      const unchanged = lease.epoch === view.lease?.epoch;
      return { answer: ok(answerOf(lease, view, unchanged)), lease, store: storedState(view, grantor.state) };
    });

  return {
    grant: (ask) => issue(ask.session, ask.requestKey, (grantor, view) => grant(ask, grantor, view, sign)),
    renew: (ask) => decide(ask.session, "renew", (view, grantor) => renew(ask, view, grantor)),
    rotate: (ask) =>
      issue(ask.session, ask.requestKey, ({ state, now }, { lease }) => {
        if (lease !== undefined && isRepeat(lease, ask) && lease.epoch > ask.epoch) return lease;
        return rotateLease(state, { ...ask, session: sessionName(ask.session) }, sign, now);
      }),
    revoke: (session, epoch) =>
      issue(session, `revoke/${epoch}`, ({ state, now }, { lease }) => {
        if (lease !== undefined && lease.epoch !== epoch) {
          // Taken back already under the epoch that followed: the same answer again.
          return lease.revoked && lease.requestKey === `revoke/${epoch}` ? lease : err("stale_epoch");
        }
        return revokeLease(state, sessionName(session), sign, now);
      }),
    release: (ask) => decide(ask.session, "issue", (view, grantor) => release(ask, view, grantor)),
    get: (session) => store.get(session),
    acknowledgeFloors: (floors) => store.acknowledgeFloors(floors),
    floors: (session) => store.floors(session),
    syncReceiver: async (receiver, nonce) => {
      const { store: state, leases } = await store.ofReceiver(receiver);
      return syncReceiver(grantorState(state, leases, 0), receiver, nonce);
    },
    sweep: () => sweep(store, decide),
  };
}

function distrusting(view: LeaseView): LeaseView {
  const lostRunOutWallMs = Math.max(view.store.lostRunOutWallMs, view.nowWallMs + limits.LEASE_TERM_MS);
  return { ...view, store: { ...view.store, lostRunOutWallMs } };
}

function recordOf({ state }: GrantorView, session: SessionKey) {
  const record = state.leases[sessionName(session)];
  invariant(record !== undefined, "a granted lease stands in the grantor's state");
  return record;
}

function answerOf(lease: LeaseRow, view: LeaseView, unchanged: boolean): LeaseAnswer {
  return { lease, oldRunsOutInMs: Math.max(0, lease.oldRunsOutWallMs - view.nowWallMs), unchanged };
}

/** The same request again, from the holder it was granted to, and nothing issued since. */
function isRepeat(lease: LeaseRow, ask: { readonly holder: string; readonly requestKey: string }): boolean {
  return ask.requestKey !== "" && lease.requestKey === ask.requestKey && lease.holder === ask.holder;
}

function grant(
  ask: GrantAsk,
  { state, now }: GrantorView,
  { lease, store }: LeaseView,
  sign: SignGrant,
): Result<Granted, LeaseRefusal> | LeaseRow {
  const ofThisStore = lease !== undefined && lease.epoch >= epochFloor(store.incarnation);
  if (lease !== undefined && ofThisStore && ask.takeover && isRepeat(lease, ask)) return lease;
  if (ask.expectedEpoch !== 0 && lease?.epoch !== ask.expectedEpoch) return err("unexpected_epoch");
  const { holder, receivers } = ask;
  const session = sessionName(ask.session);
  if (ask.takeover && lease !== undefined && lease.holder !== holder) {
    return transferLease(state, { session, toHolder: holder, receivers }, sign, now);
  }
  return grantLease(state, { session, holder, receivers }, sign, now);
}

function epochFloor(incarnation: number): number {
  return incarnation * 2 ** 32;
}

function renew(ask: HeldAsk, view: LeaseView, grantor: GrantorView): LeaseDecision<Result<LeaseAnswer, LeaseRefusal>> {
  const renewed = renewLease(grantor.state, { ...ask, session: sessionName(ask.session) }, grantor.now);
  if (!renewed.ok) return { answer: renewed };
  const lease = storedLease(view, recordOf(grantor, ask.session), ask.session, "");
  return { answer: ok(answerOf(lease, view, true)), lease };
}

function release(
  ask: HeldAsk,
  view: LeaseView,
  { state, now }: GrantorView,
): LeaseDecision<Result<LeaseRow, LeaseRefusal>> {
  const session = sessionName(ask.session);
  // Whoever may renew may release: the same checks.
  const held = renewLease(state, { ...ask, session }, now);
  if (!held.ok || view.lease === undefined) return { answer: held.ok ? err("unknown_session") : held };
  endLease(state, session);
  return { answer: ok(view.lease), lease: null, store: storedState(view, state) };
}

type Decide = <T>(
  session: SessionKey,
  mode: LeaseMode,
  step: (view: LeaseView, grantor: GrantorView) => LeaseDecision<T>,
) => Promise<T>;

async function sweep(store: LeaseStore, decide: Decide) {
  // "Now" is the database's; a session that cannot exist gives it without touching anything.
  const nowWallMs = await decide({ tenantId: "", sessionId: "" }, "renew", (view) => ({ answer: view.nowWallMs }));
  let ended = 0;
  for (const { session, epoch } of await store.expired(nowWallMs - abandonedAfterMs, sweepMax)) {
    ended += await decide(session, "issue", (view, { state }) => {
      const { lease } = view;
      if (lease?.epoch !== epoch || lease.expiresWallMs > view.nowWallMs - abandonedAfterMs) return { answer: 0 };
      endLease(state, sessionName(session));
      return { answer: 1, lease: null, store: storedState(view, state) };
    });
  }
  return { ended, forgotten: await store.purgeEnded(nowWallMs - endedKeptMs, sweepMax) };
}
