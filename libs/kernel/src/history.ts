/**
 * What of the conversation the language model is still told: the last parts, turns or tokens, heard text only. What
 * leaves may be summed up by a language model in the background; the summary is adopted where no turn is open and stands
 * before what is left. It costs no turn anything: where it fails, what has left is simply gone.
 */
import { conversationChanged, cutText, releaseSpoken } from "./conversation.ts";
import { SPOKEN_SUMMARY_PROMPT } from "./dialogue-policy.ts";
import type { Dialogue, Summary } from "./dialogue-state.ts";
import type { ChatMessage, TextSpan } from "./event.ts";
import { dialogueOf } from "./hang-up.ts";
import { releaseText } from "./hearing.ts";
import { cancelInvocation, forget, openInvocation, pushMessages } from "./invocations.ts";
import { CONVERSATION_PARTS_MAX, SUMMARY_MS_MAX, SUMMARY_PARTS_MAX } from "./limits.ts";
import { sliceSpans, spansLength } from "./rope.ts";
import type { InvocationState, SessionState } from "./state.ts";
import { ask, clearTimer, type StepContext, setTimerIn } from "./step-context.ts";
import type { ConversationPart } from "./tool-state.ts";

export const SUMMARY_TIMER = "summary";

/** `chars/4@1`: tokens of a text, by its length alone. Declared in the policy; counts are the same wherever they are made. */
export function tokensOf(chars: number): number {
  return Math.ceil(chars / 4);
}

/** The oldest parts leave until the rest is within every bound; what was said last always stays. */
export function boundHistory(cx: StepContext): void {
  const { conversation, config } = cx.s;
  const limit = Math.min(config.policy.historyPartsMax, CONVERSATION_PARTS_MAX);
  while (conversation.length > limit || (conversation.length > 1 && exceeds(cx.s))) {
    const gone = conversation.shift();
    if (gone !== undefined) leave(cx, gone);
  }
}

function exceeds({ conversation, config }: SessionState): boolean {
  const { turnsMax, tokensMax } = config.policy.history ?? {};
  if (turnsMax !== undefined && new Set(conversation.map(({ turn }) => turn)).size > turnsMax) return true;
  return tokensMax !== undefined && conversation.reduce((sum, { chars }) => sum + tokensOf(chars), 0) > tokensMax;
}

function leave(cx: StepContext, part: ConversationPart): void {
  if (cx.s.config.policy.history?.summary === undefined || part.role === "tools") return releaseSpoken(cx, part.spans);
  const d = dialogueOf(cx);
  d.summary ??= { pending: [], invocation: 0, asked: [] };
  d.summary.pending.push(part);
  if (d.summary.pending.length <= SUMMARY_PARTS_MAX) return;
  const lost = d.summary.pending.shift();
  if (lost !== undefined) releaseSpoken(cx, lost.spans);
}

/** At the end of a step: takes a summary that is done, adopts it, asks for the next. */
export function summaryStep(cx: StepContext): void {
  const summary = cx.s.dialogue?.summary;
  if (summary === undefined) return;
  if (summary.invocation !== 0) take(cx, summary);
  if (cx.s.authority.held !== "held" || cx.s.turns.some((turn) => turn.phase === "active")) return;
  if (summary.ready !== undefined) adopt(cx, summary, summary.ready);
  if (summary.invocation === 0 && summary.pending.length > 0 && cx.s.lifecycle.phase === "active") askFor(cx, summary);
}

function askFor(cx: StepContext, summary: Summary): void {
  const { config } = cx.s;
  const policy = config.policy.history?.summary;
  const node = config.graph.nodes.findIndex(({ id }) => id === policy?.node);
  const prompt = config.spoken?.[SPOKEN_SUMMARY_PROMPT];
  if (node === -1 || prompt === undefined) return;
  const inv = openInvocation(cx, node, 0, true);
  summary.invocation = inv.id;
  summary.asked = summary.pending;
  summary.pending = [];
  const messages: ChatMessage[] = [{ role: "system", spans: prompt }];
  if (summary.adopted !== undefined) messages.push({ role: "system", spans: [summary.adopted] });
  for (const { role, spans } of summary.asked) if (role !== "tools") messages.push({ role, spans });
  messages.push({ role: "user", spans: prompt });
  pushMessages(cx, inv, messages, false);
  setTimerIn(cx, SUMMARY_TIMER, SUMMARY_MS_MAX);
}

function take(cx: StepContext, summary: Summary): void {
  const inv = cx.s.invocations[summary.invocation];
  const done = inv?.bufferedOutcome ?? null;
  if (inv?.status === "open" && done === null) return;
  const chunks = textOf(inv);
  const good = inv?.status === "open" && done?.outcome === "success" && chunks.length > 0;
  if (good && ask(cx, { fn: "is_blank", spans: chunks }) !== true) {
    const max = cx.s.config.policy.history?.summary?.charsMax ?? 0;
    const at = Math.min(spansLength(chunks), max);
    const chars = ask(cx, { fn: "word_end_before", spans: chunks, at }) as number;
    if (summary.ready !== undefined) releaseText(cx, [summary.ready]);
    summary.ready = cutText(cx, sliceSpans(chunks, 0, chars));
  }
  tell(cx, summary.ready === undefined ? "history_summary_failed" : "history_summary");
  if (inv?.status === "open") forget(cx, inv);
  finish(cx, summary, chunks);
}

/** Nothing more is awaited of it: its parts have been told, or are given up. */
function finish(cx: StepContext, summary: Summary, chunks: readonly TextSpan[]): void {
  summary.invocation = 0;
  const asked = summary.asked;
  summary.asked = [];
  clearTimer(cx, SUMMARY_TIMER);
  for (const part of asked) releaseSpoken(cx, part.spans);
  releaseText(cx, chunks);
}

function textOf(inv: InvocationState | undefined): TextSpan[] {
  return (inv?.buffered ?? []).flatMap((chunk) =>
    chunk.type === "text" ? [{ ref: chunk.payload.ref, from: 0, to: chunk.chars }] : [],
  );
}

function adopt(cx: StepContext, summary: Summary, ready: TextSpan): void {
  const before = summary.adopted;
  summary.adopted = ready;
  delete summary.ready;
  if (before !== undefined) releaseSpoken(cx, [before]);
  conversationChanged(cx);
}

/** It answered with too much, or took too long. */
export function giveUpSummary(cx: StepContext, reason: string): void {
  const summary = cx.s.dialogue?.summary;
  const inv = cx.s.invocations[summary?.invocation ?? 0];
  if (summary === undefined || inv === undefined) return;
  const chunks = textOf(inv);
  inv.buffered = null;
  cancelInvocation(cx, inv, reason);
  tell(cx, "history_summary_failed");
  finish(cx, summary, chunks);
}

export function isSummary(d: Dialogue | undefined, invocation: number): boolean {
  return invocation !== 0 && d?.summary?.invocation === invocation;
}

function tell(cx: StepContext, name: string): void {
  const value = cx.s.dialogue?.summary?.asked.length ?? 0;
  cx.effects.push({ type: "telemetry", name, value, turn: 0, node: "" });
}
