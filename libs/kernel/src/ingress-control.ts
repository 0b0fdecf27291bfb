/** Control from the transport (`kernel.md` §6): overtaking acts at once, positioned waits for its media, 40 ms at most. */
import { type MonoNs, NS_PER_MS } from "@rspp/base/brand";
import { checkSignal, INGRESS_SIGNALS } from "./control-signals.ts";
import { epochFits } from "./guard.ts";
import { dedupeKey, dedupeSequence } from "./identity.ts";
import type { IngressControl, Input } from "./input.ts";
import { POSITIONED_WAIT_MS, POSITIONED_WAITING_MAX } from "./limits.ts";
import { onEndOfUtterance } from "./prelude.ts";
import { endSession } from "./session-end.ts";
import { sessionReconnecting, sessionTransition } from "./session-lifecycle.ts";
import { ensureSessionPlan } from "./session-plan.ts";
import { emitSnapshot } from "./settlement.ts";
import { findTurn } from "./state.ts";
import { cause, clearTimer, type StepContext, setTimer, setTimerIn, signal } from "./step-context.ts";

export function onIngressControl(cx: StepContext, input: Input): void {
  const body = input.body;
  if (body.type !== "control" || !epochFits(cx, body.epoch, body.signal)) return;
  if (
    dedupeSequence(cx.s.dedupe, "control", body.sequence) === "duplicate" ||
    dedupeKey(cx.s.dedupe, body.key, cx.s.seq + 1) !== null
  ) {
    cx.s.counters.duplicates += 1;
    return;
  }
  if (!INGRESS_SIGNALS.some((name) => name === body.signal)) {
    cx.effects.push({
      type: "error",
      code: "schema_validation_error",
      detail: `signal ${body.signal}: not one a transport may send`,
      inputSeq: input.seq,
    });
    return;
  }
  const waits = body.controlClass === "positioned" && body.lastMediaSequence > cx.s.lastAudioSequence;
  if (!waits) return act(cx, input, body, false);
  if (cx.s.positioned.length >= POSITIONED_WAITING_MAX) actOldest(cx);
  cx.s.positioned.push({ input, deadlineNs: (cx.nowNs + POSITIONED_WAIT_MS * NS_PER_MS) as MonoNs });
  armPositioned(cx);
}

function armPositioned(cx: StepContext): void {
  const first = cx.s.positioned[0];
  if (first === undefined) clearTimer(cx, "positioned");
  else setTimer(cx, "positioned", first.deadlineNs);
}

/** Media has come: whatever waited for it acts, in order. */
export function positionedReady(cx: StepContext): void {
  for (let first = cx.s.positioned[0]; first !== undefined; first = cx.s.positioned[0]) {
    const body = first.input.body;
    if (body.type !== "control" || body.lastMediaSequence > cx.s.lastAudioSequence) break;
    cx.s.positioned.shift();
    act(cx, first.input, body, false);
  }
  armPositioned(cx);
}

export function positionedTimeout(cx: StepContext): void {
  while (cx.s.positioned[0] !== undefined && cx.s.positioned[0].deadlineNs <= cx.nowNs) actOldest(cx);
  armPositioned(cx);
}

function actOldest(cx: StepContext): void {
  const first = cx.s.positioned.shift();
  if (first?.input.body.type === "control") act(cx, first.input, first.input.body, true);
}

function act(cx: StepContext, input: Input, body: IngressControl, forced: boolean): void {
  const fields: Record<string, string | number> = { ...body.fields };
  if (body.lastMediaSequence >= 0) fields.lastMediaSequence = body.lastMediaSequence;
  if (forced) fields.forced = 1;
  const isCancel =
    body.signal === "cancel" ||
    body.signal === "stop" ||
    body.signal === "cancel_requested" ||
    body.signal === "barge_in";
  if (isCancel && fields.scope === undefined) fields.scope = body.turn === 0 ? "session" : "turn";
  const reason = body.reason === "" && isCancel ? "user_cancel" : body.reason;
  const scope = isCancel ? String(fields.scope) : body.turn === 0 ? "session" : "turn";
  const problem = checkSignal(body.signal, "adapter", scope, reason === "" ? fields : { ...fields, reason });
  if (problem !== null) {
    cx.effects.push({
      type: "error",
      code: "schema_validation_error",
      detail: `${body.signal}: ${problem.field}: ${problem.reason}`,
      inputSeq: input.seq,
    });
    return;
  }
  signal(cx, body.signal, "adapter", 0, reason, { scope: "session", ...fields }, false);
  carryOut(cx, body, reason);
}

function carryOut(cx: StepContext, body: IngressControl, reason: string): void {
  const s = cx.s;
  switch (body.signal) {
    case "connected":
      return onConnected(cx);
    case "reconnecting":
    case "disconnected":
      if (sessionTransition(s.lifecycle, "reconnecting", cx.nowNs).ok) {
        setTimerIn(cx, "reconnect", s.config.policy.reconnectMs);
        status(cx, "reconnecting");
      }
      return;
    case "ended":
      return endSession(cx, "ended_by_caller", "transport_disconnect_or_stall");
    case "end_of_utterance":
      if (!onEndOfUtterance(cx)) s.counters.ignoredInputs += 1;
      return;
    case "mute":
      s.prelude.muted = true;
      return;
    case "unmute":
      s.prelude.muted = false;
      return;
    case "cancel":
    case "stop":
    case "barge_in":
    case "cancel_requested":
      return cancelAsked(cx, body.turn, reason);
    default:
      return;
  }
}

/** Turn 0: whatever turn is in flight. */
export function cancelAsked(cx: StepContext, number: number, reason: string): void {
  if (number !== 0) {
    if (findTurn(cx.s, number) === undefined) cx.s.counters.lateDropped += 1;
    else cause(cx, "cancel", number, reason);
    return;
  }
  for (const turn of cx.s.turns) cause(cx, "cancel", turn.number, reason);
}

function onConnected(cx: StepContext): void {
  const s = cx.s;
  if (sessionReconnecting(s.lifecycle)) {
    sessionTransition(s.lifecycle, "reconnected", cx.nowNs);
    clearTimer(cx, "reconnect");
    return status(cx, "reconnected");
  }
  if (!sessionTransition(s.lifecycle, "connected", cx.nowNs).ok) {
    s.counters.ignoredInputs += 1;
    return;
  }
  ensureSessionPlan(cx);
  status(cx, "connected");
  emitSnapshot(cx);
}

export function status(cx: StepContext, reason: string): void {
  const { lifecycle, degraded } = cx.s;
  cx.effects.push({
    type: "status",
    phase: lifecycle.phase,
    reconnecting: sessionReconnecting(lifecycle),
    degraded,
    reason,
  });
}
