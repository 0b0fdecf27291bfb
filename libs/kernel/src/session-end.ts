/** The end of a session: DRAINING, then ENDED once its turns are closed (`kernel.md` §2). */

import { cancelInvocation } from "./invocations.ts";
import { DRAIN_MS } from "./limits.ts";
import { sessionReconnecting, sessionTransition } from "./session-lifecycle.ts";
import { cancelSpeculation } from "./speculation.ts";
import { clearTimer, nextSeq, type StepContext, setTimerIn } from "./step-context.ts";

/** Closes whatever is open and ends the session at the end of this step. */
export function endSession(cx: StepContext, reason: string, turnReason: string): void {
  const s = cx.s;
  if (s.lifecycle.phase === "ended") return;
  for (const turn of s.turns)
    cx.causes.push({ kind: "disconnect", seq: nextSeq(cx), turn: turn.number, reason: turnReason, atNs: cx.atNs });
  sessionTransition(s.lifecycle, sessionReconnecting(s.lifecycle) ? "reconnect_timeout" : "drain", cx.nowNs);
  s.ending = reason;
}

/** No new turns; what runs may finish, up to a deadline. */
export function drainSession(cx: StepContext, reason: string): void {
  const s = cx.s;
  if (!sessionTransition(s.lifecycle, "drain", cx.nowNs).ok) return;
  setTimerIn(cx, "drain", DRAIN_MS);
  cx.effects.push({ type: "status", phase: s.lifecycle.phase, reconnecting: false, degraded: s.degraded, reason });
}

/** At the end of a step: ENDED when nothing is left, or when the end was asked for and every turn has its terminal. */
export function finishEnding(cx: StepContext): void {
  const s = cx.s;
  if (s.lifecycle.phase !== "draining") return;
  const closed = s.turns.every((turn) => turn.phase === "closed_commit" || turn.phase === "closed_abort");
  if (s.turns.length > 0 && !(s.ending !== "" && closed)) return;
  cancelSpeculation(cx, "session_end");
  for (const inv of Object.values(s.invocations)) cancelInvocation(cx, inv, "session_end");
  for (const id of Object.keys(s.timers)) clearTimer(cx, id);
  sessionTransition(s.lifecycle, "end", cx.nowNs);
  cx.effects.push({
    type: "status",
    phase: s.lifecycle.phase,
    reconnecting: false,
    degraded: s.degraded,
    reason: s.ending === "" ? "drained" : s.ending,
  });
}
