/** The end of a session: DRAINING, then ENDED once its turns are closed (`kernel.md` §2). */

import { customsStopped } from "./custom-stop.ts";
import { cancelInvocation, forget } from "./invocations.ts";
import { lanesForgetTurn } from "./lanes.ts";
import { DRAIN_MS } from "./limits.ts";
import { type SessionTrigger, sessionReconnecting, sessionTransition } from "./session-lifecycle.ts";
import { settleAsLost } from "./settlement.ts";
import { cancelSpeculation } from "./speculation.ts";
import { cause, clearTimer, type StepContext, setTimerIn, status } from "./step-context.ts";
import { abandonWork } from "./tool-late.ts";

/** Closes whatever is open and ends the session at the end of this step. */
export function endSession(cx: StepContext, reason: string, turnReason: string): void {
  const s = cx.s;
  if (s.lifecycle.phase === "ended") return;
  if (
    s.lifecycle.phase !== "draining" &&
    !moveSession(cx, sessionReconnecting(s.lifecycle) ? "reconnect_timeout" : "drain")
  )
    return;
  for (const turn of s.turns) cause(cx, "disconnect", turn.number, turnReason);
  if (s.ending === "") s.ending = reason;
}

/** Any other move is refused, leaves a marker and changes nothing (F-138). */
export function moveSession(cx: StepContext, trigger: SessionTrigger): boolean {
  const move = sessionTransition(cx.s.lifecycle, trigger, cx.nowNs);
  if (move.ok) return true;
  cx.s.counters.ignoredInputs += 1;
  cx.effects.push({ type: "error", code: "illegal_session_move", detail: move.refusal, inputSeq: cx.inputSeq });
  return false;
}

/** No new turns; what runs may finish, up to a deadline. */
export function drainSession(cx: StepContext, reason: string): void {
  if (!moveSession(cx, "drain")) return;
  setTimerIn(cx, "drain", DRAIN_MS);
  status(cx, reason);
}

/** At the end of a step: ENDED when nothing is left, or when the end was asked for and every turn has its terminal. */
export function finishEnding(cx: StepContext): void {
  const s = cx.s;
  if (s.lifecycle.phase !== "draining") return;
  const closed = s.turns.every((turn) => turn.phase === "closed_commit" || turn.phase === "closed_abort");
  if (s.turns.length > 0 && !(s.ending !== "" && closed)) return;
  if (!customsStopped(cx)) return;
  for (const turn of [...s.turns]) settleAsLost(cx, turn);
  cancelSpeculation(cx, "session_end");
  for (const inv of Object.values(s.invocations)) {
    if (abandonWork(cx, inv)) continue;
    cancelInvocation(cx, inv, "session_end");
    forget(cx, inv);
  }
  // Sorted: a restored state may hold them in another order.
  for (const id of Object.keys(s.timers).sort()) clearTimer(cx, id);
  // A partial that waited for its time waits no more.
  lanesForgetTurn(s.lanes, 0);
  s.positioned = [];
  sessionTransition(s.lifecycle, "end", cx.nowNs);
  status(cx, s.ending === "" ? "drained" : s.ending);
}
