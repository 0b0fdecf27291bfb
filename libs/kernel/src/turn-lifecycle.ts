/**
 * The turn machine, T1 to T13 of kernel.md §2, as one exhaustive table (F-139, F-141). The state Terminal is transient:
 * terminal and close leave in one step, so a phase names the kind of terminal the turn closed by.
 */

export const TURN_PHASES = ["idle", "opening", "active", "closed_commit", "closed_abort"] as const;
export type TurnPhase = (typeof TURN_PHASES)[number];

export const TURN_TRIGGERS = [
  "turn_open_proposed",
  "admission_defer",
  "admission_reject",
  "epoch_stale",
  "authority_revoked",
  "plan_resolved",
  "plan_failed_defer",
  "plan_failed_reject",
  "generation_complete",
  "cancel_accepted",
  "authority_lost",
  "evidence_exhausted",
  "failure",
  "late_event",
  "stale_event",
] as const;
export type TurnTrigger = (typeof TURN_TRIGGERS)[number];

export type TurnCase =
  | "T1"
  | "T2"
  | "T3"
  | "T4"
  | "T5"
  | "T5a"
  | "T6"
  | "T7"
  | "T8"
  | "T9"
  | "T10"
  | "T11"
  | "T12"
  | "T13";

export type TurnSignal =
  | "turn_open"
  | "commit"
  | "abort"
  | "close"
  | "defer"
  | "reject"
  | "stale_epoch_reject"
  | "deauthorized_drain"
  | "playback_cancelled";

export interface TurnMove {
  readonly ok: true;
  readonly case: TurnCase;
  /** In order of emission. The reason of an abort, defer or reject is the caller's. */
  readonly signals: readonly TurnSignal[];
  readonly next: TurnPhase;
}

export interface TurnRefusal {
  readonly ok: false;
  readonly refusal: string;
}

type Row = Readonly<Partial<Record<TurnTrigger, TurnMove>>>;

function move(turnCase: TurnCase, next: TurnPhase, ...signals: TurnSignal[]): TurnMove {
  return { ok: true, case: turnCase, signals, next };
}

const table: Readonly<Record<TurnPhase, Row>> = {
  idle: {
    turn_open_proposed: move("T1", "opening"),
    stale_event: move("T12", "idle", "stale_epoch_reject"),
  },
  opening: {
    admission_defer: move("T2", "idle", "defer"),
    admission_reject: move("T2", "idle", "reject"),
    epoch_stale: move("T3", "idle", "stale_epoch_reject"),
    authority_revoked: move("T4", "idle", "deauthorized_drain"),
    plan_resolved: move("T5", "active", "turn_open"),
    plan_failed_defer: move("T5a", "idle", "defer"),
    plan_failed_reject: move("T5a", "idle", "reject"),
  },
  active: {
    generation_complete: move("T6", "closed_commit", "commit", "close"),
    cancel_accepted: move("T7", "closed_abort", "abort", "close"),
    authority_lost: move("T8", "closed_abort", "deauthorized_drain", "abort", "close"),
    evidence_exhausted: move("T9", "closed_abort", "abort", "close"),
    failure: move("T10", "closed_abort", "abort", "close"),
    stale_event: move("T12", "active", "stale_epoch_reject"),
  },
  closed_commit: {
    // T13 stands apart from T11: a committed turn that still plays can be cut, never ended a second time.
    cancel_accepted: move("T13", "closed_commit", "playback_cancelled"),
    late_event: move("T11", "closed_commit"),
    stale_event: move("T12", "closed_commit", "stale_epoch_reject"),
  },
  closed_abort: {
    late_event: move("T11", "closed_abort"),
    stale_event: move("T12", "closed_abort", "stale_epoch_reject"),
  },
};

/**
 * The move for `trigger` in `phase`, or a refusal that changes nothing and whose text is the marker to leave.
 * `deliverySettled` guards T13 only: whether the turn's delivery machine has reached its end.
 */
export function turnTransition(
  phase: TurnPhase,
  trigger: TurnTrigger,
  deliverySettled: boolean,
): TurnMove | TurnRefusal {
  const found = table[phase][trigger];
  if (found === undefined) return { ok: false, refusal: `turn: ${trigger} is illegal in ${phase}` };
  if (found.case === "T13" && deliverySettled) {
    return { ok: false, refusal: `turn: ${trigger} is illegal in ${phase} once delivery has settled` };
  }
  return found;
}

/** Whether a turn in this phase has had its one terminal. */
export function turnClosed(phase: TurnPhase): boolean {
  return phase === "closed_commit" || phase === "closed_abort";
}

export type CauseKind =
  | "authority_lost"
  | "cancel"
  | "budget_terminate"
  | "failure"
  | "disconnect"
  | "generation_complete";

/**
 * Tie order of terminal causes that meet in one batch, lowest first (kernel.md §2). `failure` is an unrecoverable provider,
 * runtime or evidence error; `disconnect` also a clean-up timeout.
 */
export const TERMINAL_RANK: Readonly<Record<CauseKind, number>> = {
  authority_lost: 0,
  cancel: 1,
  budget_terminate: 2,
  failure: 3,
  disconnect: 4,
  generation_complete: 5,
};

/** The causes by rank, then by sequence, equal ones in the order given; a new array. The first one decides the turn. */
export function orderCauses<T extends { kind: CauseKind; seq: number }>(causes: readonly T[]): T[] {
  return [...causes].sort((a, b) => TERMINAL_RANK[a.kind] - TERMINAL_RANK[b.kind] || a.seq - b.seq);
}
