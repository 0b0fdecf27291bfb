/** Control from the transport (`kernel.md` §6): overtaking acts at once, positioned waits for its media, 40 ms at most. */
import { type MonoNs, NS_PER_MS } from "@rspp/base/brand";
import { cancelAsked } from "./cancel-scope.ts";
import { checkSignal, INGRESS_SIGNALS } from "./control-signals.ts";
import { openSessionNodes } from "./custom-nodes.ts";
import { deadLetter } from "./dead-letter.ts";
import { epochFits, seenBefore } from "./guard.ts";
import { heedKey } from "./hang-up.ts";
import type { IngressControl, Input } from "./input.ts";
import { onDtmf, takesDigits } from "./keypad.ts";
import { POSITIONED_WAIT_MS, POSITIONED_WAITING_MAX } from "./limits.ts";
import { onEndOfUtterance, onMuted } from "./prelude.ts";
import { endSession, moveSession } from "./session-end.ts";
import { sessionReconnecting } from "./session-lifecycle.ts";
import { ensureSessionPlan } from "./session-plan.ts";
import { TRANSPORT_GONE } from "./settlement.ts";
import { startCallClock, stirredByKey } from "./silence.ts";
import { findTurn } from "./state.ts";
import { cause, clearTimer, type StepContext, setTimer, setTimerIn, signal, status } from "./step-context.ts";
import { goOnAfterTakeover } from "./takeover.ts";

export function onIngressControl(cx: StepContext, input: Input): void {
  const body = input.body;
  if (body.type !== "control" || !epochFits(cx, body.epoch, body.signal)) return;
  // What overtakes may do so in the shell's queue, too: each class has its own high-water mark, else the overtaken one
  // would count as seen.
  const source = body.controlClass === "overtaking" ? "overtaking" : "control";
  if (seenBefore(cx, source, body.sequence, body.key)) return;
  if (!INGRESS_SIGNALS.some((name) => name === body.signal) || DELIVERY.includes(body.signal))
    return refuseSignal(cx, input, `signal ${body.signal.slice(0, 64)}: not one a transport may send`);
  // Positioned ones keep their order among themselves.
  const waits =
    body.controlClass === "positioned" &&
    (body.lastMediaSequence > cx.s.lastAudioSequence || cx.s.positioned.length > 0);
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

/** Each is soft or hard as its `mode` says, else as the session's policy does (F-041). */
const CANCELS: readonly string[] = ["cancel", "stop", "cancel_requested", "barge_in"];
/** Delivery has its own input with generation and state; as mere signals these would bypass the fence. */
const DELIVERY: readonly string[] = [
  "output_accepted",
  "playback_started",
  "playback_completed",
  "playback_cancelled",
  "playback_lost",
];

function act(cx: StepContext, input: Input, body: IngressControl, forced: boolean): void {
  const isCancel = CANCELS.includes(body.signal);
  const turn = findTurn(cx.s, body.turn);
  // Only a cancel may still name a closed turn (T13).
  const number = turn !== undefined && (isCancel || turn.phase === "active") ? turn.number : 0;
  const { scope: asked, ...rest } = body.fields ?? {};
  const fields: Record<string, string | number> =
    cx.s.recording.level === "L0" || takesDigits(cx) ? withoutValues(body.signal, rest) : rest;
  if (body.lastMediaSequence >= 0) fields.lastMediaSequence = body.lastMediaSequence;
  if (forced) fields[body.signal === "dtmf" || body.signal === "transport_signal" ? "transport.forced" : "forced"] = 1;
  if (isCancel) fields.scope = asked ?? (body.turn === 0 ? "session" : "turn");
  const scope = isCancel ? String(fields.scope) : number === 0 ? "session" : "turn";
  const reason = body.reason === "" && isCancel ? "user_cancel" : body.reason;
  const problem = checkSignal(body.signal, "adapter", scope, reason === "" ? fields : { ...fields, reason });
  if (problem !== null) return refuseSignal(cx, input, `${body.signal}: ${problem.field}: ${problem.reason}`);
  signal(cx, body.signal, "adapter", number, reason, fields, false);
  if (!isCancel) return carryOut(cx, body);
  const target = String((scope === "node" ? fields.node : fields.invocation) ?? "");
  const { mode } = fields;
  const chosen: { mode?: "hard" | "soft" } = mode === "soft" || mode === "hard" ? { mode } : {};
  cancelAsked(cx, { scope, turn: scope === "session" ? 0 : body.turn, target, ...chosen }, reason);
}

/**
 * What a caller keyed in is payload, of which L0 keeps nothing (`kernel.md` §11): the fields stay, their values do not. Where
 * digits are the caller's words they are payloads of their own at every level.
 */
function withoutValues(name: string, fields: Record<string, string | number>): Record<string, string | number> {
  if (name !== "dtmf" && name !== "transport_signal") return fields;
  return Object.fromEntries(
    Object.keys(fields).map((field) => [field, field.includes(".") ? "*" : (fields[field] ?? "")]),
  );
}

function refuseSignal(cx: StepContext, input: Input, detail: string): void {
  const source = input.body.type === "control" ? input.body.signal : "";
  deadLetter(cx, { what: "control", reason: "schema_validation_error", source, turn: 0 });
  cx.effects.push({ type: "error", code: "schema_validation_error", detail, inputSeq: input.seq });
}

function carryOut(cx: StepContext, body: IngressControl): void {
  const s = cx.s;
  switch (body.signal) {
    case "connected":
      return onConnected(cx);
    case "reconnecting":
    case "disconnected":
      if (moveSession(cx, "reconnecting")) {
        setTimerIn(cx, "reconnect", s.config.policy.reconnectMs);
        status(cx, "reconnecting");
      }
      return;
    case "ended":
      return endSession(cx, "ended_by_caller", "transport_disconnect_or_stall");
    case "end_of_utterance":
      if (onEndOfUtterance(cx)) return;
      s.counters.ignoredInputs += 1;
      cx.effects.push({ type: "telemetry", name: "end_of_utterance_ignored", value: 1, turn: 0, node: "" });
      return;
    case "dtmf":
      stirredByKey(cx, body.fields ?? {});
      heedKey(cx, body.fields ?? {});
      return onDtmf(cx, body.fields ?? {});
    case "stall":
      // F6: an Active turn cannot go on over a transport that takes nothing; what has committed may still be played.
      for (const turn of s.turns)
        if (turn.phase === "active" && (body.turn === 0 || body.turn === turn.number))
          cause(cx, "disconnect", turn.number, TRANSPORT_GONE);
      return;
    case "mute":
      s.prelude.muted = true;
      return onMuted(cx);
    case "unmute":
      s.prelude.muted = false;
      return;
    default:
      return;
  }
}

function onConnected(cx: StepContext): void {
  const s = cx.s;
  if (sessionReconnecting(s.lifecycle)) {
    moveSession(cx, "reconnected");
    clearTimer(cx, "reconnect");
    return status(cx, "reconnected");
  }
  // Back while the session drains: the reconnect deadline is off, the drain's own stands.
  if (s.lifecycle.phase === "draining") clearTimer(cx, "reconnect");
  if (!moveSession(cx, "connected")) return;
  ensureSessionPlan(cx);
  startCallClock(cx);
  openSessionNodes(cx);
  status(cx, "connected");
  goOnAfterTakeover(cx);
  cx.s.snapshotOwed = true;
}
