/**
 * Prompts on silence and the longest call. Timers only: what nobody says is measured from the instant it became
 * quiet. It is not quiet while the agent speaks or is about to, while the caller speaks or has muted himself, and while
 * the line is being restored.
 */
import { isOn, KNOWS_WHO_IS_HEARD } from "./behaviours.ts";
import { SPOKEN_MAX_CALL_WARNING, spokenSilence } from "./dialogue-policy.ts";
import { countPromptsAnew } from "./dialogue-state.ts";
import { dialogueOf, hangUp, hangUpStep } from "./hang-up.ts";
import { summaryStep } from "./history.ts";
import { keysOf } from "./keypad.ts";
import { proposeSentence } from "./proposals.ts";
import { sessionReconnecting } from "./session-lifecycle.ts";
import type { SessionState } from "./state.ts";
import { clearTimer, type StepContext, setTimerIn } from "./step-context.ts";

export const SILENCE_TIMER = "silence";
export const MAX_CALL_TIMER = "max_call";
export const MAX_CALL_WARNING_TIMER = "max_call_warning";

/** At the end of a step, of sessions that use any of it. */
export function dialogueStep(cx: StepContext): void {
  hangUpStep(cx);
  summaryStep(cx);
  watchSilence(cx);
}

function watchSilence(cx: StepContext): void {
  const s = cx.s;
  const policy = s.config.policy.silence;
  if (policy === undefined) return;
  const running = s.timers[SILENCE_TIMER] !== undefined;
  if (callerHeard(s)) countPromptsAnew(s);
  const spent = (s.dialogue?.prompted ?? 0) >= policy.maxPrompts && policy.andThen === "nothing";
  const due = !spent && quiet(s);
  if (due && !running) setTimerIn(cx, SILENCE_TIMER, policy.afterMs);
  else if (!due && running) clearTimer(cx, SILENCE_TIMER);
}

/** Confirmed speech, or keys. What words are still to decide on may be the agent's own echo (`kernel.md` §2). */
function callerHeard({ prelude, keypad, config }: SessionState): boolean {
  if (prelude.utterance.phase === "confirmed" || keypad !== undefined) return true;
  const { closing } = prelude;
  if (!isOn(config.behaviours, KNOWS_WHO_IS_HEARD)) return closing.length > 0;
  return closing.some(({ unjudged }) => unjudged !== true);
}

/** The caller has pressed a key, and be it one that says nothing: silence is measured, and prompts are counted, from here. */
export function stirredByKey(cx: StepContext, fields: Readonly<Record<string, string | number>>): void {
  if (!isOn(cx.s.config.behaviours, KNOWS_WHO_IS_HEARD) || keysOf(fields).length === 0) return;
  countPromptsAnew(cx.s);
  clearTimer(cx, SILENCE_TIMER);
}

function quiet(s: SessionState): boolean {
  const { prelude } = s;
  return (
    s.lifecycle.phase === "active" &&
    !sessionReconnecting(s.lifecycle) &&
    s.turns.length === 0 &&
    s.proposals.size === 0 &&
    prelude.utterance.phase === "none" &&
    prelude.closing.length === 0 &&
    !prelude.muted &&
    s.keypad === undefined &&
    s.dialogue?.hangUp === undefined &&
    s.authority.held === "held"
  );
}

export function onSilence(cx: StepContext): void {
  const policy = cx.s.config.policy.silence;
  if (policy === undefined || !quiet(cx.s)) return;
  const d = dialogueOf(cx);
  if (d.prompted >= policy.maxPrompts) return hangUp(cx, "silence", false, "timer");
  const sentence = cx.s.config.spoken?.[spokenSilence(d.prompted % policy.prompts)];
  d.prompted += 1;
  if (sentence !== undefined) proposeSentence(cx, sentence, "silence", {});
}

/** The call has begun. */
export function startCallClock(cx: StepContext): void {
  const { maxCallMs, maxCallWarningMs } = cx.s.config.policy;
  if (maxCallMs === undefined) return;
  // A successor goes on with the clock of the call (`kernel.md` §8).
  const before = cx.s.config.takeover?.durable?.maxCallLeftMs ?? -1;
  const leftMs = before === -1 ? maxCallMs : Math.min(maxCallMs, before);
  setTimerIn(cx, MAX_CALL_TIMER, leftMs);
  if (maxCallWarningMs !== undefined && leftMs > maxCallWarningMs)
    setTimerIn(cx, MAX_CALL_WARNING_TIMER, leftMs - maxCallWarningMs);
}

/** Said after whatever is being said. */
export function onMaxCallWarning(cx: StepContext): void {
  const sentence = cx.s.config.spoken?.[SPOKEN_MAX_CALL_WARNING];
  if (sentence === undefined || cx.s.lifecycle.phase !== "active") return;
  proposeSentence(cx, sentence, "max_duration", { second: "queue" });
}

export function onMaxCall(cx: StepContext): void {
  hangUp(cx, "max_duration", true, "timer");
}
