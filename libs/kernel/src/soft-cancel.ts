/**
 * Soft cancel (F-041; `kernel.md` §6): asked for now, accepted together with its fence at the end of the clause being spoken,
 * which is bounded. Until then only that clause is still put out; a hard cancel, or any other terminal, comes first.
 */
import { type MonoNs, NS_PER_MS, NS_PER_US } from "@rspp/base/brand";
import { settled } from "./delivery.ts";
import { SOFT_CANCEL_LIMIT_MS } from "./limits.ts";
import { findTurn, type TurnState } from "./state.ts";
import { cause, type StepContext, setTimer, signal } from "./step-context.ts";

export type CancelMode = "hard" | "soft";

export interface SoftCancel {
  reason: string;
  scope: "turn" | "session";
  deadlineNs: number;
  /** Clause that may still be put out; -1 where none is under way. */
  segment: number;
}

/** A turn is to be cancelled: as it was asked, else as the session's policy says. `atNs`: the deciding stamp. */
export function cancelTurn(
  cx: StepContext,
  turn: TurnState,
  reason: string,
  more: { scope?: "turn" | "session"; mode?: CancelMode | undefined; atNs?: MonoNs } = {},
): void {
  const { scope = "turn", mode = cx.s.config.policy.cancelMode ?? "hard", atNs } = more;
  if (mode === "soft" && postpone(cx, turn, reason, scope)) return;
  cause(cx, "cancel", turn.number, reason, { scope, ...(atNs === undefined ? {} : { atNs }) });
}

/** False where nothing is being spoken: then there is nothing to wait for. */
function postpone(cx: StepContext, turn: TurnState, reason: string, scope: "turn" | "session"): boolean {
  if (turn.soft !== undefined) return true;
  if (turn.cancelReason !== "" || settled(turn.delivery) || turn.output.heldSinceNs >= 0) return false;
  const segment = turn.segments.findLastIndex((play) => play.startUs >= 0);
  const underWay = segment !== -1 && turn.segments[segment]?.complete === false;
  if (!underWay && playedOutNs(turn) <= cx.nowNs) return false;
  const limitMs = cx.s.config.policy.softLimitMs ?? SOFT_CANCEL_LIMIT_MS;
  const deadlineNs = cx.nowNs + limitMs * NS_PER_MS;
  turn.soft = { reason, scope, deadlineNs, segment: underWay ? segment : -1 };
  signal(cx, "cancel_requested", "cancellation", turn.number, reason, { scope, mode: "soft", limitMs });
  armSoft(cx, turn);
  return true;
}

/** When all that was sent has been played, had it begun at once. */
function playedOutNs(turn: TurnState): number {
  const { startNs, sentUs } = turn.output;
  return startNs < 0 ? 0 : startNs + sentUs * NS_PER_US;
}

function endNs(turn: TurnState, soft: SoftCancel): number {
  const open = soft.segment !== -1 && turn.segments[soft.segment]?.complete === false;
  return open ? soft.deadlineNs : Math.min(soft.deadlineNs, playedOutNs(turn));
}

/** Set anew as the clause comes to its end. */
export function armSoft(cx: StepContext, turn: TurnState): void {
  const { soft } = turn;
  if (soft === undefined || turn.cancelReason !== "") return;
  setTimer(cx, `soft:${turn.number}`, Math.max(cx.nowNs, endNs(turn, soft)) as MonoNs);
}

/** Whether this clause may still be put out while a soft cancel waits for it. */
export function softlyAllows(turn: TurnState, segment: number): boolean {
  return turn.soft === undefined || turn.soft.segment === segment;
}

export function onSoftTimer(cx: StepContext, number: number): void {
  const turn = findTurn(cx.s, number);
  const soft = turn?.soft;
  if (turn === undefined || soft === undefined || turn.cancelReason !== "") return;
  if (cx.nowNs < endNs(turn, soft)) return armSoft(cx, turn);
  signal(cx, "cancel", "cancellation", number, soft.reason, { scope: soft.scope, mode: "soft" });
  cause(cx, "cancel", number, soft.reason, { scope: soft.scope });
}
