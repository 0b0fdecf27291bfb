/** The conversation: what the caller said and what of the replies was heard, as handles (`kernel.md` §6; F-039). */
import { isOn, PARTS_CUT_CLAUSES } from "./behaviours.ts";
import { committedUs } from "./commit-point.ts";
import type { ChatMessage, MessagesBody, TextSpan } from "./event.ts";
import { boundHistory } from "./history.ts";
import { PLAYED_ROUNDING_US_MAX, SPEECH_CHAR_US } from "./limits.ts";
import { sliceSpans, spansLength } from "./rope.ts";
import type { SegmentPlay, TurnState } from "./state.ts";
import { ask, type StepContext } from "./step-context.ts";
import { literalText } from "./text-out.ts";
import { toldAsText } from "./told-as-text.ts";
import type { ConversationPart, ToolExchange } from "./tool-state.ts";
import { turnClosed } from "./turn-lifecycle.ts";

/**
 * Messages for the language model: system prompt, history, then the words just heard. A reply that was cut and still
 * awaits the adapter's last word counts as far as it is known to have been heard, so that the next turn knows of it. `said`
 * stands in the place of the caller's words of that turn: what text nodes made of them. `partsMax`: the latest parts only.
 */
export function messagesFor(
  cx: StepContext,
  user: readonly TextSpan[],
  said?: { turn: number; spans: readonly TextSpan[] },
  partsMax = Number.POSITIVE_INFINITY,
): { messages: MessagesBody["messages"]; owned: number[] } {
  const owned: number[] = [];
  const { config, conversation, turns } = cx.s;
  const parts: (Omit<ConversationPart, "chars"> & { exchanges?: ToolExchange[] })[] = conversation.map((part) =>
    part.role === "user" && part.turn === said?.turn ? { ...part, spans: said.spans } : part,
  );
  for (const turn of turns) {
    if (!turnClosed(turn.phase)) continue;
    const exchanges = unsettledExchanges(cx, turn, owned);
    if (exchanges.length > 0)
      parts.splice(placeOf(parts, turn.number), 0, { role: "tools", turn: turn.number, spans: [], exchanges });
    const { spans } = heardUpTo(cx, turn, committedUs(cx, turn));
    if (spans.length === 0) continue;
    // A payload of its own: those of that turn go when it settles, and another candidate may be asked later.
    const copy = cutText(cx, spans);
    owned.push(copy.ref);
    parts.splice(placeOf(parts, turn.number), 0, { role: "assistant", turn: turn.number, spans: [copy] });
  }
  const messages: ChatMessage[] = [];
  if (config.systemPrompt.length > 0) messages.push({ role: "system", spans: config.systemPrompt });
  const summary = cx.s.dialogue?.summary?.adopted;
  if (summary !== undefined) messages.push({ role: "system", spans: [summary] });
  for (const part of parts.slice(Math.max(0, parts.length - partsMax))) {
    if (part.role === "tools") messages.push(...exchanged(cx, part.exchanges ?? [], owned));
    else messages.push({ role: part.role, spans: part.spans });
  }
  if (user.length > 0) messages.push({ role: "user", spans: user });
  return { messages, owned };
}

/** What a turn that has not settled has had done so far: a later turn knows of it. */
function unsettledExchanges(cx: StepContext, turn: TurnState, owned: number[]): ToolExchange[] {
  const calls = turn.run.nodes.flatMap((node) => node?.tools?.calls ?? []);
  return calls.flatMap(({ callId, name, arguments: args, result, status, invocation }) => {
    if (status === "asked" || invocation === 0) return [];
    const told = status === "done" ? cutText(cx, result) : null;
    if (told !== null) owned.push(told.ref);
    return [{ callId, name, arguments: args, result: told, invocation }];
  });
}

const UNKNOWN_RESULT = JSON.stringify({ status: "not known yet" });

/** One message that calls, and the results; payloads of their own, since those of a turn may go before another candidate is asked. */
function exchanged(cx: StepContext, exchanges: readonly ToolExchange[], owned: number[]): ChatMessage[] {
  const copy = (span: TextSpan | null): TextSpan => {
    const made = span === null ? literalText(cx, 0, UNKNOWN_RESULT) : cutText(cx, [span]);
    owned.push(made.ref);
    return made;
  };
  const toolCalls = exchanges.map(({ callId, name, arguments: args }) => ({ callId, name, spans: [copy(args)] }));
  const results = exchanges.map(({ callId, result }) => ({ role: "tool" as const, spans: [copy(result)], callId }));
  return [{ role: "assistant", spans: [], toolCalls }, ...results];
}

/** A new session payload with the joined text of these spans. */
export function cutText(cx: StepContext, spans: readonly TextSpan[]): TextSpan {
  const ref = cx.s.nextDerivedRef;
  cx.s.nextDerivedRef -= 1;
  const chars = spansLength(spans);
  ask(cx, { fn: "cut", spans, from: 0, to: chars, ref });
  return { ref, from: 0, to: chars };
}

/** The same of pieces that were said one after another: a space parts what would run together. */
export function joinText(cx: StepContext, spans: readonly TextSpan[]): TextSpan {
  if (spans.length < 2) return cutText(cx, spans);
  const ref = cx.s.nextDerivedRef;
  cx.s.nextDerivedRef -= 1;
  const question = { fn: "cut", spans, from: 0, to: spansLength(spans) + spans.length, ref, spaced: true } as const;
  const { chars } = ask(cx, question) as { chars: number };
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
  boundHistory(cx);
  conversationChanged(cx);
}

export function conversationChanged(cx: StepContext): void {
  cx.s.stateVersion += 1;
  if (cx.s.authority.held === "held") writeConversation(cx);
  else cx.s.stateWriteOwed = true;
}

export function writeConversation(cx: StepContext): void {
  const s = cx.s;
  cx.effects.push({
    type: "state_write",
    key: "conversation",
    version: s.stateVersion,
    epoch: s.authority.epoch,
    parts: s.conversation.length,
  });
}

/** What leaves the history may still have to be told to another candidate: then it goes with the turn that may ask. */
export function releaseSpoken(cx: StepContext, spans: readonly TextSpan[]): void {
  const refs: number[] = [];
  for (const { ref } of spans) {
    const turn =
      // A model that waits for its tools is asked again.
      cx.s.turns.findLast((t) => t.phase === "active" && waitsWith(t, ref)) ??
      cx.s.turns.find((t) => t.openInvocations.some((id) => speaksOf(cx.s.invocations[id]?.messages, ref))) ??
      // Custom nodes may still have to be given it.
      (cx.s.topology.customs === undefined ? undefined : cx.s.turns.findLast((t) => t.phase === "active"));
    if (turn === undefined) refs.push(ref);
    else turn.ownRefs.push(ref);
  }
  if (refs.length > 0) cx.effects.push({ type: "release", refs });
}

function waitsWith(turn: TurnState, ref: number): boolean {
  return turn.run.nodes.some((node) => speaksOf(node?.tools?.messages, ref));
}

function speaksOf(messages: MessagesBody["messages"] | null | undefined, ref: number): boolean {
  const speaks = (spans: readonly TextSpan[]): boolean => spans.some((span) => span.ref === ref);
  return messages?.some((m) => speaks(m.spans) || m.toolCalls?.some((call) => speaks(call.spans))) === true;
}

export interface Heard {
  spans: TextSpan[];
  chars: number;
  by: "word_timings" | "proportional" | "none";
}

/**
 * How much of the reply was heard when `playedUs` of its audio was played: whole clauses, then the words of the running
 * clause whose last sample was played. Without word timings, or where audio of the clause was shed on the way, a
 * proportional estimate, cut at a word end and marked so. A clause whose audio was all shed was not heard; one
 * that the voice passed over without a sound of its own is told with the next.
 */
export function heardUpTo(cx: StepContext, turn: TurnState, playedUs: number): Heard {
  const played = playedToEnd(turn, playedUs);
  const heard: Heard = { spans: [], chars: 0, by: "none" };
  let cut: readonly TextSpan[] = [];
  const add = (segment: SegmentPlay, chars: number): void => {
    if (chars === 0) return;
    if (cut.length > 0) heard.spans.push(...spaceBehind(cx, cut));
    heard.chars += chars;
    heard.spans.push(...sliceSpans(segment.spans, 0, chars));
    cut = sliceSpans(segment.spans, chars, chars + 1);
  };
  for (const [at, segment] of turn.segments.entries()) {
    if (toldAsText(turn, at)) {
      add(segment, segment.chars);
      continue;
    }
    const later = turn.segments.slice(at + 1).filter((next) => next.startUs >= 0);
    const silent = segment.startUs < 0 && segment.shedUs === 0 && later.some((next) => next.startUs < played);
    if (!silent && (segment.startUs < 0 || segment.startUs >= played)) continue;
    const intoUs = silent ? 0 : Math.min(played - segment.startUs, segment.durationUs);
    const part = heardOf(cx, turn, segment, intoUs, later.length > 0);
    if (heard.by !== "proportional") heard.by = part.by;
    add(segment, part.chars);
  }
  return heard;
}

/** Of the character behind a cut: kept where it parts words. */
function spaceBehind(cx: StepContext, next: readonly TextSpan[]): readonly TextSpan[] {
  const keeps = isOn(cx.s.config.behaviours, PARTS_CUT_CLAUSES);
  return keeps && ask(cx, { fn: "is_blank", spans: next }) === true ? next : [];
}

/** An adapter may round what it played to the end by a frame; what it did not play beyond that was not heard. */
function playedToEnd(turn: TurnState, playedUs: number): number {
  const { sentUs } = turn.output;
  const rounding = turn.delivery.phase === "completed" && sentUs - playedUs <= PLAYED_ROUNDING_US_MAX;
  return rounding ? sentUs : playedUs;
}

/** `intoUs` of the clause was played. `followed`: audio of a later clause was sent, so that this one has come to its end. */
function heardOf(
  cx: StepContext,
  turn: TurnState,
  segment: SegmentPlay,
  intoUs: number,
  followed: boolean,
): { chars: number; by: "word_timings" | "proportional" } {
  const whole = segment.complete || turn.output.endSent || followed;
  if (segment.shedUs === 0) {
    if (whole && intoUs >= segment.durationUs) return { chars: segment.chars, by: "word_timings" };
    if (segment.words !== null) {
      let end = 0;
      for (const word of segment.words) if (word.endUs <= intoUs) end = Math.max(end, word.to);
      return { chars: Math.min(end, segment.chars), by: "word_timings" };
    }
  }
  const sentUs = segment.durationUs + segment.shedUs;
  // How long a clause still under way will be is not known: rather too few words than words nobody heard.
  const lengthUs = whole ? sentUs : Math.max(sentUs, segment.chars * usPerChar(turn));
  const share = lengthUs === 0 ? 0 : Math.min(1, intoUs / lengthUs);
  const at = Math.floor(segment.chars * share);
  return { chars: ask(cx, { fn: "word_end_before", spans: segment.spans, at }) as number, by: "proportional" };
}

/** The voice's pace, by its clauses that are complete. */
function usPerChar(turn: TurnState): number {
  let us = 0;
  let chars = 0;
  for (const segment of turn.segments) {
    if (!segment.complete) continue;
    us += segment.durationUs + segment.shedUs;
    chars += segment.chars;
  }
  return chars === 0 ? SPEECH_CHAR_US : us / chars;
}

/** Puts the heard part of a settled reply into the conversation, as a payload of its own. */
export function rememberReply(cx: StepContext, turn: TurnState, heard: Heard): void {
  turn.heardChars = heard.chars;
  turn.heardEstimated = heard.by === "proportional";
  const { spans } = heard;
  if (spans.length === 0) return;
  const chars = spansLength(spans);
  appendPart(cx, { role: "assistant", turn: turn.number, spans: [cutText(cx, spans)], chars });
}
