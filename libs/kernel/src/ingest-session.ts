/** Timers and operator commands. */

import { replaceWorking } from "./budget-act.ts";
import { onBudgetTimer } from "./budget-meter.ts";
import { cancelAsked } from "./cancel-scope.ts";
import { isCustomTimer, onCustomTimer } from "./custom-stop.ts";
import { degradeNode } from "./degraded.ts";
import { onEdgeTimer } from "./flow.ts";
import { HANG_UP_TIMER, hangUp, onHangUpDeadline } from "./hang-up.ts";
import { onFinalWait } from "./hearing.ts";
import { giveUpSummary, SUMMARY_TIMER } from "./history.ts";
import { onNodeTimer } from "./host-nodes.ts";
import { positionedTimeout } from "./ingress-control.ts";
import type { InputBody } from "./input.ts";
import { forget, nodeOf, onAttemptTimeout, onIdleTimer } from "./invocations.ts";
import { proposeDigits } from "./keypad.ts";
import { proposeLate } from "./late-text.ts";
import { onMergeTimer } from "./merge.ts";
import { onHoldDeadline, onUtteranceStall } from "./prelude.ts";
import { drainSession, endSession } from "./session-end.ts";
import { onSettleTimer } from "./settlement.ts";
import {
  MAX_CALL_TIMER,
  MAX_CALL_WARNING_TIMER,
  onMaxCall,
  onMaxCallWarning,
  onSilence,
  SILENCE_TIMER,
} from "./silence.ts";
import { onSoftTimer } from "./soft-cancel.ts";
import { cancelSpeculation } from "./speculation.ts";
import { findTurn } from "./state.ts";
import { cause, clearTimer, type StepContext, setTimerIn, signal } from "./step-context.ts";
import { startMigration } from "./takeover.ts";
import { onFillerTimer, onToolDeadline } from "./tool-round.ts";
import { causeForAll, refuseQueued } from "./turn-arbiter.ts";
import { RATE_TIMER } from "./turn-rate.ts";

type OperatorInput = Extract<InputBody, { type: "operator" }>;

export function onOperator(cx: StepContext, input: OperatorInput): void {
  const { command, reason } = input;
  switch (command) {
    case "cancel_turn":
    case "cancel_session":
      return onOperatorCancel(cx, input, reason === "" ? "operator" : reason);
    case "drain":
      return drainSession(cx, reason === "" ? "operator" : reason);
    case "hang_up":
      return hangUp(cx, reason === "" ? "agent_hangup" : reason, true, "operator");
    case "migrate":
      return startMigration(cx);
    case "migrate_now":
      return causeForAll(cx, "authority_lost", "migration", cx.atNs);
    case "end":
      return endSession(cx, reason === "" ? "operator" : reason, "session_ended");
  }
}

/** A session's cancel also reaches what has not become a turn yet. */
function onOperatorCancel(cx: StepContext, { command, turn, mode }: OperatorInput, reason: string): void {
  const scope = command === "cancel_turn" ? "turn" : "session";
  const number = scope === "turn" && findTurn(cx.s, turn) !== undefined ? turn : 0;
  signal(cx, mode === "soft" ? "cancel_requested" : "cancel", "operator", number, reason, { scope });
  const chosen = mode === undefined ? {} : { mode };
  cancelAsked(cx, { scope, turn: scope === "turn" ? turn : 0, target: "", ...chosen }, reason);
  if (scope === "turn") return;
  cancelSpeculation(cx, reason);
  refuseQueued(cx, "session_cancelled");
}

/** A timer that was moved or cleared meanwhile is late and means nothing. */
export function onTimer(cx: StepContext, id: string): void {
  const s = cx.s;
  const at = s.timers[id];
  if (at === undefined) return;
  if (at > cx.nowNs) {
    // Fired early, or just before it was moved: asked for again, else it would be waited for in vain.
    cx.effects.push({ type: "timer_set", id, atNs: at });
    return;
  }
  delete s.timers[id];
  const [kind = "", first = "", second = ""] = id.split(":");
  const number = Number(first);
  if (isCustomTimer(kind)) return onCustomTimer(cx, kind, number);
  switch (kind) {
    case "output":
      return;
    case "attempt":
    case "idle":
      return onInvocationTimer(cx, kind, number);
    case "filler":
      return onFillerTimer(cx, number, Number(second));
    case "utterance":
      return onUtteranceStall(cx);
    case "hold":
      return onHoldDeadline(cx, number);
    case "grace":
      return onGrace(cx, number);
    case "final":
      return onFinalWait(cx, number);
    case "first_output_warning":
      return budget(cx, number, "budget_warning");
    case "first_output":
      return onFirstOutputExhausted(cx, number);
    case "soft":
      return onSoftTimer(cx, number);
    case "budget":
      return onBudgetTimer(cx, number, second);
    case "settle": {
      const turn = findTurn(s, number);
      return turn === undefined ? undefined : onSettleTimer(cx, turn);
    }
    case "node":
      return onNodeTimer(cx, number, Number(second));
    case "edge":
      return onEdgeTimer(cx, number, Number(second));
    case "merge":
      return onMergeTimer(cx, number, Number(second));
    case "keypad":
      return proposeDigits(cx);
    case "positioned":
      return positionedTimeout(cx);
    // What waits for its share is looked at in every step.
    case RATE_TIMER:
      return;
    case SUMMARY_TIMER:
      return giveUpSummary(cx, "history_summary_timeout");
    case SILENCE_TIMER:
      return onSilence(cx);
    case MAX_CALL_WARNING_TIMER:
      return onMaxCallWarning(cx);
    case MAX_CALL_TIMER:
      return onMaxCall(cx);
    case HANG_UP_TIMER:
      return onHangUpDeadline(cx);
    case "reconnect":
      return endSession(cx, "reconnect_timeout", "transport_disconnect_or_stall");
    case "drain":
      return endSession(cx, "drain_deadline", "drain_deadline");
  }
}

/** F-047: what still works makes room for its fallback, which has the time once more; without one the turn ends. */
function onFirstOutputExhausted(cx: StepContext, number: number): void {
  // Both may fall due at one poll: the warning comes first all the same (§9).
  if (cx.s.timers[`first_output_warning:${number}`] !== undefined) budget(cx, number, "budget_warning");
  clearTimer(cx, `first_output_warning:${number}`);
  budget(cx, number, "budget_exhausted");
  const turn = findTurn(cx.s, number);
  if (turn?.phase === "active" && replaceWorking(cx, turn))
    return setTimerIn(cx, `first_output:${number}`, cx.s.config.budgets.turnFirstOutputMs);
  cause(cx, "budget_terminate", number, "budget_exhausted");
}

function onInvocationTimer(cx: StepContext, kind: "attempt" | "idle", number: number): void {
  const inv = cx.s.invocations[number];
  if (inv === undefined) return;
  if (kind === "idle") onIdleTimer(cx, inv);
  else if (inv.tool !== undefined) onToolDeadline(cx, inv);
  else onAttemptTimeout(cx, inv);
}

function budget(cx: StepContext, turn: number, name: "budget_warning" | "budget_exhausted"): void {
  if (findTurn(cx.s, turn)?.phase !== "active") return;
  const { turnFirstOutputMs } = cx.s.config.budgets;
  const left = name === "budget_warning" ? Math.round(turnFirstOutputMs / 4) : 0;
  signal(cx, name, "budget", turn, "turn_first_output", { budgetLeft: left });
}

/** A provider that has not acknowledged its cancel in time is stopped: the session is degraded, the work is forgotten. */
function onGrace(cx: StepContext, invocation: number): void {
  const inv = cx.s.invocations[invocation];
  if (inv === undefined || inv.status !== "cancelled") return;
  forget(cx, inv);
  proposeLate(cx, inv);
  const { id: node } = nodeOf(cx, inv);
  const fields = { scope: "node", node, invocation: inv.name };
  signal(cx, "node_stopped", "node_host", 0, "cancel_ignored", fields, false);
  degradeNode(cx, node, "cancel_ignored");
}
