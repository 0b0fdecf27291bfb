/** The conversation: what the caller said and what of the replies was heard, as handles (`kernel.md` §6; F-039). */
import type { MessagesBody, TextSpan } from "./event.ts";
import { CONVERSATION_PARTS_MAX } from "./limits.ts";
import { sliceSpans, spansLength } from "./rope.ts";
import type { ConversationPart, SessionState, TurnState } from "./state.ts";
import { ask, type StepContext } from "./step-context.ts";

/** Messages for the language model: system prompt, history, then the words just heard. */
export function messagesFor(s: SessionState, user: readonly TextSpan[]): MessagesBody["messages"] {
  const messages: { role: "system" | "user" | "assistant"; spans: readonly TextSpan[] }[] = [];
  if (s.config.systemPrompt.length > 0) messages.push({ role: "system", spans: s.config.systemPrompt });
  for (const part of s.conversation) messages.push({ role: part.role, spans: part.spans });
  if (user.length > 0) messages.push({ role: "user", spans: user });
  return messages;
}

export function appendPart(cx: StepContext, part: ConversationPart): void {
  const s = cx.s;
  // A reply settles after the next words of the caller may already stand there: it belongs before them.
  let at = s.conversation.length;
  while (at > 0 && (s.conversation[at - 1]?.turn ?? 0) > part.turn) at -= 1;
  s.conversation.splice(at, 0, part);
  const limit = Math.min(s.config.policy.historyPartsMax, CONVERSATION_PARTS_MAX);
  while (s.conversation.length > limit) {
    const gone = s.conversation.shift();
    if (gone !== undefined) cx.effects.push({ type: "release", refs: gone.spans.map((span) => span.ref) });
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

export interface Heard {
  chars: number;
  by: "word_timings" | "proportional" | "none";
}

/**
 * How much of the reply was heard when `playedUs` of its audio was played: whole clauses, then the words of the running
 * clause whose last sample was played. Without word timings a proportional estimate, cut at a word end and marked so.
 */
export function heardUpTo(cx: StepContext, turn: TurnState, playedUs: number): Heard {
  let chars = 0;
  let by: Heard["by"] = "none";
  for (const segment of turn.segments) {
    if (segment.startUs < 0) break;
    const into = playedUs - segment.startUs;
    if (into <= 0) break;
    if (segment.complete && into >= segment.durationUs) {
      chars += segment.chars;
      if (by === "none") by = "word_timings";
      continue;
    }
    if (segment.words !== null) {
      by = "word_timings";
      let end = 0;
      for (const word of segment.words) if (word.endUs <= into) end = Math.max(end, word.to);
      chars += end;
    } else {
      by = "proportional";
      const share = segment.durationUs === 0 ? 0 : Math.min(1, into / segment.durationUs);
      chars += ask(cx, {
        fn: "word_end_before",
        spans: segment.spans,
        at: Math.floor(segment.chars * share),
      }) as number;
    }
    break;
  }
  return { chars, by };
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
  const ref = cx.s.nextDerivedRef;
  cx.s.nextDerivedRef -= 1;
  const chars = spansLength(spans);
  ask(cx, { fn: "cut", spans, from: 0, to: chars, ref });
  appendPart(cx, { role: "assistant", turn: turn.number, spans: [{ ref, from: 0, to: chars }], chars });
}
