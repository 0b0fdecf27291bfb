/**
 * The agent hangs up: what it is saying is played out, then the spec's last sentence if there is one, and once that
 * has been heard the session ends. Asked for by an operator, a key, a phrase of the model, silence or the longest call.
 */
import { settled } from "./delivery.ts";
import { SPOKEN_HANG_UP } from "./dialogue-policy.ts";
import type { Dialogue, HangUp } from "./dialogue-state.ts";
import type { TextSpan } from "./event.ts";
import { keysOf } from "./keypad.ts";
import { HANG_UP_MS_MAX } from "./limits.ts";
import { proposeSentence } from "./proposals.ts";
import { sliceSpans } from "./rope.ts";
import { endSession } from "./session-end.ts";
import { findTurn, type Proposal, type TurnState } from "./state.ts";
import { ask, clearTimer, type StepContext, setTimerIn } from "./step-context.ts";

export const HANG_UP_TIMER = "hang_up";

export function dialogueOf(cx: StepContext): Dialogue {
  cx.s.dialogue ??= { prompted: 0 };
  return cx.s.dialogue;
}

/** `firm`: nothing the caller says takes it back. Asked again it stays as it was, but for becoming firm. */
export function hangUp(
  cx: StepContext,
  reason: string,
  firm: boolean,
  origin: "timer" | "operator" | "endpoint",
): void {
  const s = cx.s;
  if (s.lifecycle.phase !== "active") return;
  const d = dialogueOf(cx);
  if (d.hangUp !== undefined) {
    if (firm && !d.hangUp.firm) d.hangUp = { ...d.hangUp, reason, firm };
    return;
  }
  const sentence = s.config.spoken?.[SPOKEN_HANG_UP];
  const last = s.turns.findLast((turn) => turn.cancelReason === "" && !settled(turn.delivery));
  begin(cx, d, { reason, turn: sentence === undefined ? (last?.number ?? -1) : 0, firm });
  if (sentence !== undefined) proposeSentence(cx, sentence, reason, { second: "queue", hangUp: true }, origin);
}

function begin(cx: StepContext, d: Dialogue, intent: HangUp): void {
  d.hangUp = intent;
  setTimerIn(cx, HANG_UP_TIMER, HANG_UP_MS_MAX);
}

/** A turn that is to be the last has opened. */
export function farewellOpened(cx: StepContext, proposal: Proposal, turn: number): void {
  const d = dialogueOf(cx);
  if (d.hangUp !== undefined) d.hangUp.turn = turn;
  else begin(cx, d, { reason: "agent_hangup", turn, firm: proposal.origin !== "endpoint" });
}

/** It could not be said: nothing more is awaited. */
export function farewellRefused(cx: StepContext): void {
  const { dialogue } = cx.s;
  if (dialogue?.hangUp?.turn === 0) dialogue.hangUp.turn = -1;
}

/** Why a proposal finds no hearing any more; empty where it does. The caller's own words take back what is not firm. */
export function refusedByHangUp(cx: StepContext, proposal: Proposal): string {
  const intent = cx.s.dialogue?.hangUp;
  // Taken back while it waited for its turn.
  if (intent === undefined) return proposal.hangUp === true && proposal.reason !== "say" ? "hang_up_withdrawn" : "";
  if (proposal.hangUp === true) return "";
  if (intent.firm) return "session_hanging_up";
  if (proposal.origin === "endpoint" && proposal.say === null) withdraw(cx);
  return "";
}

function withdraw(cx: StepContext): void {
  delete dialogueOf(cx).hangUp;
  clearTimer(cx, HANG_UP_TIMER);
}

/** At the end of a step: the last turn has settled, or its caller has spoken over it. */
export function hangUpStep(cx: StepContext): void {
  const intent = cx.s.dialogue?.hangUp;
  if (intent === undefined || intent.turn === 0) return;
  const turn = findTurn(cx.s, intent.turn);
  if (turn === undefined) return endSession(cx, intent.reason, "session_ended");
  if (turn.cancelReason === "barge_in" && !intent.firm) withdraw(cx);
}

export function onHangUpDeadline(cx: StepContext): void {
  endSession(cx, cx.s.dialogue?.hangUp?.reason ?? "agent_hangup", "session_ended");
}

/** The caller's own key for the end of the call. */
export function heedKey(cx: StepContext, fields: Readonly<Record<string, string | number>>): void {
  const key = cx.s.config.policy.hangUp?.key ?? "";
  if (key !== "" && keysOf(fields).includes(key)) hangUp(cx, "caller_hangup", true, "endpoint");
}

/** What of a clause is to be said; the reply hangs up where it says so (`HangUpPolicy`). Spans and characters. */
export function heedHangUp(
  cx: StepContext,
  turn: TurnState,
  clause: { spans: readonly TextSpan[]; chars: number },
): { spans: readonly TextSpan[]; chars: number } {
  const policy = cx.s.config.policy.hangUp;
  if (policy === undefined || turn.given === true || (policy.phrases.length === 0 && policy.marker === ""))
    return clause;
  const { spans, chars } = clause;
  const at = policy.marker === "" ? -1 : (ask(cx, { fn: "find", spans, text: policy.marker }) as number);
  const said = policy.phrases.length > 0 && ask(cx, { fn: "has_words", spans, words: policy.phrases }) === true;
  const d = dialogueOf(cx);
  if ((at !== -1 || said) && d.hangUp === undefined)
    begin(cx, d, { reason: "agent_hangup", turn: turn.number, firm: false });
  if (at === -1) return clause;
  const after = at + policy.marker.length;
  return {
    spans: [...sliceSpans(spans, 0, at), ...sliceSpans(spans, after, chars)],
    chars: chars - policy.marker.length,
  };
}
