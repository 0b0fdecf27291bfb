/**
 * False barge-in (`kernel.md` §2): speech over the output that is long enough is still only a candidate where the policy has
 * words decide. Words of assent, or the agent's own echo, discard it; any other word confirms it at once, and so does
 * speech that goes on without words. What ended before its words came is judged when they do; meanwhile it cuts nothing.
 */
import { US_PER_MS } from "@rspp/base/brand";
import { settled } from "./delivery.ts";
import type { SpeechVerdict } from "./dialogue-state.ts";
import type { TextSpan } from "./event.ts";
import { ECHO_CLAUSES_MAX, ECHO_MIN_SHARE, ECHO_WORDS_MAX, GUARD_WAIT_MS } from "./limits.ts";
import type { Hearing, TurnState } from "./state.ts";
import { ask, type StepContext } from "./step-context.ts";

/** Turns that a barge-in would cut now: whatever is said, or still to be heard. */
export function interruptible(cx: StepContext): TurnState[] {
  return cx.s.turns.filter((turn) => {
    const inFlight = turn.phase === "active" || (turn.phase === "closed_commit" && !settled(turn.delivery));
    return inFlight && turn.cancelReason === "" && turn.uninterruptible !== true;
  });
}

/** Speech that counts, microseconds. */
export function leastSpeechUs(cx: StepContext, ownMs: number): number {
  const { minSpeechMs } = cx.s.config.policy;
  const over = minSpeechMs !== undefined && minSpeechMs > ownMs && interruptible(cx).length > 0;
  return (over ? minSpeechMs : ownMs) * US_PER_MS;
}

/** Whether words decide on this speech. */
export function guarded(cx: StepContext): boolean {
  const { bargeIn, backChannel, echoGuard } = cx.s.config.policy;
  return bargeIn && (backChannel !== undefined || echoGuard === true) && interruptible(cx).length > 0;
}

/** Long enough: whether its words so far, or the lack of them, let it interrupt. */
export function mayInterrupt(cx: StepContext): boolean {
  if (!guarded(cx)) return true;
  const { hearing, speechUs } = cx.s.prelude;
  const verdict = hearing?.verdict ?? "unknown";
  if (verdict === "speech") return true;
  const maxMs = cx.s.config.policy.backChannel?.maxMs ?? GUARD_WAIT_MS;
  return verdict !== "own_echo" && speechUs >= maxMs * US_PER_MS;
}

/** What the words heard are, beside what is being said. */
export function judge(cx: StepContext, heard: readonly TextSpan[]): SpeechVerdict {
  const { backChannel, echoGuard } = cx.s.config.policy;
  if (heard.length === 0 || ask(cx, { fn: "is_blank", spans: heard }) === true) return "unknown";
  if (backChannel !== undefined && ask(cx, { fn: "only_words", spans: heard, words: backChannel.words }) === true)
    return "back_channel";
  const spoken = echoGuard === true ? spokenLast(cx) : [];
  if (spoken.length === 0) return "speech";
  const share = ask(cx, { fn: "echo_share", version: 1, heard, spoken, last: ECHO_WORDS_MAX }) as number;
  return share >= ECHO_MIN_SHARE ? "own_echo" : "speech";
}

/** The clauses said last of what is still to be heard. */
function spokenLast(cx: StepContext): TextSpan[] {
  const said = interruptible(cx).flatMap((turn) => turn.segments.filter((segment) => segment.startUs >= 0));
  return said.slice(-ECHO_CLAUSES_MAX).flatMap((segment) => segment.spans);
}

/** New words of the utterance under way. */
export function heedWords(cx: StepContext, hearing: Hearing): void {
  if (cx.s.prelude.hearing !== hearing || cx.s.prelude.utterance.phase !== "candidate" || !guarded(cx)) return;
  hearing.verdict = judge(cx, [...hearing.finals, ...hearing.partial]);
}
