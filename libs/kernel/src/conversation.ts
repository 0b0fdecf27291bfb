/** The conversation: what the caller said and what of the replies was heard, as handles (`kernel.md` §6; F-039). */
import type { MessagesBody, TextSpan } from "./event.ts";
import { CONVERSATION_PARTS_MAX } from "./limits.ts";
import { sliceSpans, spansLength } from "./rope.ts";
import type { ConversationPart, InvocationState, TurnState } from "./state.ts";
import { ask, type StepContext } from "./step-context.ts";
import { turnClosed } from "./turn-lifecycle.ts";

/**
 * Messages for the language model: system prompt, history, then the words just heard. A reply that was cut and still
 * awaits the adapter's last word counts as far as it is known to have been heard, so that the next turn knows of it.
 */
export function messagesFor(
  cx: StepContext,
  user: readonly TextSpan[],
): { messages: MessagesBody["messages"]; owned: number[] } {
  const owned: number[] = [];
  const { config, conversation, turns } = cx.s;
  const parts = conversation.map(({ role, turn, spans }) => ({ role, turn, spans }));
  for (const turn of turns) {
    if (!turnClosed(turn.phase)) continue;
    const spans = sliceSpans(replySpans(turn), 0, heardUpTo(cx, turn, turn.delivery.playedUs).chars);
    if (spans.length === 0) continue;
    // A payload of its own: those of that turn go when it settles, and another candidate may be asked later.
    const copy = cutText(cx, spans);
    owned.push(copy.ref);
    parts.splice(placeOf(parts, turn.number), 0, { role: "assistant", turn: turn.number, spans: [copy] });
  }
  const messages: { role: "system" | "user" | "assistant"; spans: readonly TextSpan[] }[] = [];
  if (config.systemPrompt.length > 0) messages.push({ role: "system", spans: config.systemPrompt });
  for (const part of parts) messages.push({ role: part.role, spans: part.spans });
  if (user.length > 0) messages.push({ role: "user", spans: user });
  return { messages, owned };
}

/** A new session payload with the joined text of these spans. */
export function cutText(cx: StepContext, spans: readonly TextSpan[]): TextSpan {
  const ref = cx.s.nextDerivedRef;
  cx.s.nextDerivedRef -= 1;
  const chars = spansLength(spans);
  ask(cx, { fn: "cut", spans, from: 0, to: chars, ref });
  return { ref, from: 0, to: chars };
}

/** A reply settles after the next words of the caller may already stand there: it belongs before them. */
function placeOf(parts: readonly { turn: number }[], turn: number): number {
  let at = parts.length;
  while (at > 0 && (parts[at - 1]?.turn ?? 0) > turn) at -= 1;
  return at;
}

export function appendPart(cx: StepContext, part: ConversationPart): void {
  const s = cx.s;
  s.conversation.splice(placeOf(s.conversation, part.turn), 0, part);
  const limit = Math.min(s.config.policy.historyPartsMax, CONVERSATION_PARTS_MAX);
  while (s.conversation.length > limit) {
    const gone = s.conversation.shift();
    if (gone !== undefined) releaseSpoken(cx, gone.spans);
  }
  s.stateVersion += 1;
  cx.effects.push({
    type: "state_write",
    key: "conversation",
    version: s.stateVersion,
    epoch: s.authority.epoch,
    parts: s.conversation.length,
  });
}

/** What leaves the history may still have to be told to another candidate: then it goes with the turn that may ask. */
function releaseSpoken(cx: StepContext, spans: readonly TextSpan[]): void {
  const refs: number[] = [];
  for (const { ref } of spans) {
    const turn = cx.s.turns.find((t) => t.openInvocations.some((id) => speaksOf(cx.s.invocations[id], ref)));
    if (turn === undefined) refs.push(ref);
    else turn.ownRefs.push(ref);
  }
  if (refs.length > 0) cx.effects.push({ type: "release", refs });
}

function speaksOf(inv: InvocationState | undefined, ref: number): boolean {
  return inv?.messages?.some((message) => message.spans.some((span) => span.ref === ref)) === true;
}

export interface Heard {
  chars: number;
  by: "word_timings" | "proportional" | "none";
}

/**
 * How much of the reply was heard when `playedUs` of its audio was played: whole clauses, then the words of the running
 * clause whose last sample was played. Without word timings a proportional estimate, cut at a word end and marked so.
 */
export function heardUpTo(cx: StepContext, turn: TurnState, playedUs: number): Heard {
  const { segments } = turn;
  // What an adapter played to its end was all that was sent, whatever its rounding.
  const played = turn.delivery.phase === "completed" ? Math.max(playedUs, turn.output.sentUs) : playedUs;
  const running = segments.findLastIndex((segment) => segment.startUs >= 0 && segment.startUs < played);
  const last = segments[running];
  if (last === undefined) return { chars: 0, by: "none" };
  let chars = 0;
  for (const segment of segments.slice(0, running)) chars += segment.chars;
  const into = played - last.startUs;
  const whole = last.complete || turn.output.endSent || segments.slice(running + 1).some((s) => s.startUs >= 0);
  if (whole && into >= last.durationUs) return { chars: chars + last.chars, by: "word_timings" };
  if (last.words !== null) {
    let end = 0;
    for (const word of last.words) if (word.endUs <= into) end = Math.max(end, word.to);
    return { chars: chars + Math.min(end, last.chars), by: "word_timings" };
  }
  const share = last.durationUs === 0 ? 0 : Math.min(1, into / last.durationUs);
  const at = Math.floor(last.chars * share);
  chars += ask(cx, { fn: "word_end_before", spans: last.spans, at }) as number;
  return { chars, by: "proportional" };
}

export function replySpans(turn: TurnState): TextSpan[] {
  return turn.segments.flatMap((segment) => [...segment.spans]);
}

/** Puts the heard part of a settled reply into the conversation, as a payload of its own. */
export function rememberReply(cx: StepContext, turn: TurnState, heard: Heard): void {
  turn.heardChars = heard.chars;
  turn.heardEstimated = heard.by === "proportional";
  if (heard.chars === 0) return;
  const spans = sliceSpans(replySpans(turn), 0, heard.chars);
  if (spans.length === 0) return;
  appendPart(cx, { role: "assistant", turn: turn.number, spans: [cutText(cx, spans)], chars: spansLength(spans) });
}
