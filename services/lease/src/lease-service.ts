import { invariant } from "@rspp/base/invariant";
import { err, ok, type Result } from "@rspp/base/result";
import {
  endLease,
  grantLease,
  handOverLease,
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
  LeaseFound,
  LeaseRow,
  LeaseStore,
  LeaseView,
  ReceiverFloorRow,
} from "@rspp/store/lease-store";
import type { SessionKey } from "@rspp/store/state-store";
import { createDeciding, type Decide } from "./deciding.ts";
import { type GrantorView, grantorState, storedLease, storedState } from "./grantor-view.ts";
import { type KeptAnswer, keptAnswer } from "./keep-alive.ts";
import { type Request, repeatOf } from "./repeats.ts";
import { sessionName } from "./session-name.ts";

/** A lease as callers see it: the row, and how long the lease before it may still be acted on. */
export interface LeaseAnswer {
  readonly lease: LeaseRow;
  /** 0 when there is none before it. */
  readonly oldRunsOutInMs: number;
  /** True when nothing new was issued: a repeat, or the holder's own lease again. */
  readonly unchanged: boolean;
  /** True when a request of the same key was granted before. */
  readonly repeated: boolean;
  /** When that was so, by the store's clock. */
  readonly nowWallMs: number;
}

export type LeaseRefusal = GrantRefusal | "unexpected_epoch" | "superseded" | "key_reused";

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

export interface RotateAsk extends HeldAsk {
  readonly lastSequence: number;
  readonly requestKey: string;
}

/** Planned migration: `holder`, who has `epoch`, gives the session to `toHolder`. */
export interface TransferAsk extends HeldAsk {
  readonly toHolder: string;
  /** Of the new holder; those of the old lease stay named. */
  readonly receivers: readonly string[];
  /** The old holder acts no more: nobody waits for its term. */
  readonly consented: boolean;
  readonly requestKey: string;
}

/**
 * The lease service's logic (kernel.md §7): the machine of libs/protocol decides, the store makes it linearizable over
 * replicas. Refusals are values; what the store rejects with (StoreError) goes through.
 */
export interface LeaseService {
  grant(ask: GrantAsk): Promise<Result<LeaseAnswer, LeaseRefusal>>;
  /** A holder that was rotated and has not heard of it is told the epoch it has. */
  renew(ask: HeldAsk): Promise<Result<LeaseAnswer, LeaseRefusal>>;
  /** Everything one holder holds, each session named once, in the order asked; a session is refused by itself. */
  keepAlive(holder: string, held: readonly Omit<HeldAsk, "holder">[]): Promise<readonly KeptAnswer[]>;
  rotate(ask: RotateAsk): Promise<Result<LeaseAnswer, LeaseRefusal>>;
  transfer(ask: TransferAsk): Promise<Result<LeaseAnswer, LeaseRefusal>>;
  /** `epoch` is the one to be taken back: a later one is somebody else's. */
  revoke(session: SessionKey, epoch: number): Promise<Result<LeaseAnswer, LeaseRefusal>>;
  /** The holder is done with the session for good. */
  release(ask: HeldAsk): Promise<Result<LeaseAnswer, LeaseRefusal>>;
  get(session: SessionKey): Promise<LeaseFound | undefined>;
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
  const deciding = createDeciding(store, monoMs);
  const { decide } = deciding;

  function issue(ask: IssueAsk, step: IssueStep): Promise<Result<LeaseAnswer, LeaseRefusal>> {
    const { session, requestKey, request } = ask;
    const once = (view: LeaseView, grantor: GrantorView) => issueOnce(ask, step, view, grantor);
    return decide(session, "issue", once, request === undefined ? "" : requestKey);
  }

  return {
    grant: (ask) => {
      const request = { kind: "grant", holder: ask.holder, askedEpoch: ask.expectedEpoch };
      return issue({ ...ask, request }, (grantor, view) => grant(ask, grantor, view, sign));
    },
    renew: (ask) => decide(ask.session, "renew", (view, grantor) => renew(ask, view, grantor)),
    keepAlive: (holder, held) =>
      deciding.renewAll(held, (one, view, grantor) => {
        const { answer, lease } = renew({ ...one, holder }, view, grantor);
        const kept = keptAnswer(answer, view);
        return lease == null ? { answer: kept } : { answer: kept, lease };
      }),
    rotate: (ask) => {
      const request = { kind: "rotate", holder: ask.holder, askedEpoch: ask.epoch };
      const session = sessionName(ask.session);
      return issue({ ...ask, request }, ({ state, now }) => rotateLease(state, { ...ask, session }, sign, now));
    },
    transfer: (ask) => {
      const request = { kind: `transfer/${ask.holder}`, holder: ask.toHolder, askedEpoch: ask.epoch };
      const session = sessionName(ask.session);
      return issue({ ...ask, request }, ({ state, now }) => handOverLease(state, { ...ask, session }, sign, now));
    },
    revoke: (session, epoch) =>
      issue({ session, requestKey: `revoke/${epoch}` }, ({ state, now }, { lease }) => {
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

interface IssueAsk {
  readonly session: SessionKey;
  readonly requestKey: string;
  /** Remembered under the key; absent where the lease itself tells a repeat. */
  readonly request?: Request;
}

type IssueStep = (grantor: GrantorView, view: LeaseView) => Result<Granted, LeaseRefusal> | LeaseRow;

function issueOnce(
  { session, requestKey, request }: IssueAsk,
  step: IssueStep,
  view: LeaseView,
  grantor: GrantorView,
): LeaseDecision<Result<LeaseAnswer, LeaseRefusal>> {
  const repeat = request && repeatOf(view, request);
  if (repeat !== undefined) return { answer: repeat.ok ? ok(answerOf(repeat.value, view, true, true)) : repeat };
  const decided = step(grantor, view);
  if (!("ok" in decided)) return { answer: ok(answerOf(decided, view, true, true)) };
  if (!decided.ok) return { answer: decided };
  const lease = storedLease(view, recordOf(grantor, session), session, requestKey);
  const answer = ok(answerOf(lease, view, lease.epoch === view.lease?.epoch));
  const remembered = request === undefined ? {} : { request: { ...request, epoch: lease.epoch } };
  return { answer, lease, store: storedState(view, grantor.state), ...remembered };
}

function recordOf({ state }: GrantorView, session: SessionKey) {
  const record = state.leases[sessionName(session)];
  invariant(record !== undefined, "a granted lease stands in the grantor's state");
  return record;
}

function answerOf(lease: LeaseRow, { nowWallMs }: LeaseView, unchanged: boolean, repeated = false): LeaseAnswer {
  return { lease, oldRunsOutInMs: Math.max(0, lease.oldRunsOutWallMs - nowWallMs), unchanged, repeated, nowWallMs };
}

function grant(
  ask: GrantAsk,
  { state, now }: GrantorView,
  { lease }: LeaseView,
  sign: SignGrant,
): Result<Granted, LeaseRefusal> {
  if (ask.expectedEpoch !== 0 && lease?.epoch !== ask.expectedEpoch) return err("unexpected_epoch");
  const { holder, receivers } = ask;
  const session = sessionName(ask.session);
  if (ask.takeover && lease !== undefined && lease.holder !== holder) {
    return transferLease(state, { session, toHolder: holder, receivers }, sign, now);
  }
  return grantLease(state, { session, holder, receivers }, sign, now);
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
): LeaseDecision<Result<LeaseAnswer, LeaseRefusal>> {
  const session = sessionName(ask.session);
  // Whoever may renew may release: the same checks.
  const held = renewLease(state, { ...ask, session }, now);
  if (!held.ok || view.lease === undefined) return { answer: held.ok ? err("unknown_session") : held };
  endLease(state, session);
  return { answer: ok(answerOf(view.lease, view, false)), lease: null, store: storedState(view, state) };
}

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
