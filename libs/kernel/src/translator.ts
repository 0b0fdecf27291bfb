/**
 * Translator (F-010): text in, text out, by a language model that is given one stretch of clauses at a time. One invocation
 * runs at a time, so that the order stands; what comes meanwhile goes with the next. Bounded: the last invocation a turn may
 * have waits for the end of the text and takes all of it.
 */
import type { KernelEvent, TextBody, TextSpan } from "./event.ts";
import { emit } from "./flow.ts";
import { openInvocation, pushMessages } from "./invocations.ts";
import { INVOCATIONS_PER_TURN_MAX, TRANSLATIONS_PER_TURN_MAX, TRANSLATOR_LEAVES_MAX } from "./limits.ts";
import { sliceSpans } from "./rope.ts";
import { findTurn, type GraphRun, type InvocationState, type NodeRun, numberSetting, runOf } from "./state.ts";
import { ask, cause, type StepContext } from "./step-context.ts";
import type { TranslatorRun } from "./text-node-state.ts";
import { textRun } from "./text-out.ts";

function translatorRun(node: NodeRun): TranslatorRun {
  const run = textRun(node);
  run.translator ??= { spans: [], chars: 0, inputEnded: false, opened: 0, tail: null, causeSeq: 0 };
  return run.translator;
}

export function onTranslatorText(
  cx: StepContext,
  run: GraphRun,
  index: number,
  node: NodeRun,
  event: KernelEvent,
  body: TextBody,
): void {
  const state = translatorRun(node);
  state.spans.push(...body.spans);
  state.chars += body.chars;
  state.causeSeq = event.seq;
  goOn(cx, run, index, node, state);
}

export function onTranslatorEnd(
  cx: StepContext,
  run: GraphRun,
  index: number,
  node: NodeRun,
  event: KernelEvent,
): void {
  const state = translatorRun(node);
  state.inputEnded = true;
  state.causeSeq = event.seq;
  goOn(cx, run, index, node, state);
}

/** An invocation has ended well: the next stretch is asked for, or the text has come to its end. */
export function onTranslated(cx: StepContext, inv: InvocationState): void {
  const run = runOf(cx.s, inv.turn);
  const node = run?.nodes[inv.node];
  if (run === undefined || node === null || node === undefined || node.ended) return;
  const state = translatorRun(node);
  if (state.tail !== null) say(cx, run, inv.node, [state.tail], state);
  state.tail = null;
  goOn(cx, run, inv.node, node, state);
}

function goOn(cx: StepContext, run: GraphRun, index: number, node: NodeRun, state: TranslatorRun): void {
  while (!node.ended && node.invocation === 0) {
    if (state.chars === 0) {
      if (!state.inputEnded) return;
      node.ended = true;
      emit(cx, run, index, "text", { type: "end" }, state.causeSeq);
      return;
    }
    const upTo = nextEnd(cx, run, index, state);
    if (upTo === 0) return;
    const spans = sliceSpans(state.spans, 0, upTo);
    state.spans = sliceSpans(state.spans, upTo, state.chars);
    state.chars -= upTo;
    if (ask(cx, { fn: "is_blank", spans }) === true) say(cx, run, index, spans, state);
    else translate(cx, run, index, node, state, spans, upTo);
  }
}

/** Where the stretch ends that may be translated now; 0 for none. */
function nextEnd(cx: StepContext, run: GraphRun, index: number, state: TranslatorRun): number {
  if (!mayOpenAnother(cx, run, state)) return state.inputEnded ? state.chars : 0;
  const settings = cx.s.config.graph.nodes[index]?.settings ?? {};
  const ends = ask(cx, {
    fn: "clause_ends",
    spans: state.spans,
    minChars: numberSetting(settings, "min_chars", 24),
    maxChars: numberSetting(settings, "max_chars", 400),
    final: state.inputEnded,
  }) as readonly number[];
  return ends.at(-1) ?? (state.inputEnded ? state.chars : 0);
}

/** Besides the last one, which takes what is left. */
function mayOpenAnother(cx: StepContext, run: GraphRun, state: TranslatorRun): boolean {
  return (
    state.opened + 1 < TRANSLATIONS_PER_TURN_MAX &&
    invocationsOf(cx, run.turn) + TRANSLATOR_LEAVES_MAX < INVOCATIONS_PER_TURN_MAX
  );
}

function invocationsOf(cx: StepContext, turn: number): number {
  const found = findTurn(cx.s, turn);
  return found === undefined ? 0 : found.invocations.length + found.openInvocations.length;
}

function translate(
  cx: StepContext,
  run: GraphRun,
  index: number,
  node: NodeRun,
  state: TranslatorRun,
  spans: readonly TextSpan[],
  chars: number,
): void {
  if (invocationsOf(cx, run.turn) >= INVOCATIONS_PER_TURN_MAX) {
    node.ended = true;
    return cause(cx, "failure", run.turn, "invocation_limit");
  }
  state.opened += 1;
  const [last] = sliceSpans(spans, chars - 1, chars);
  state.tail = last !== undefined && ask(cx, { fn: "is_blank", spans: [last] }) === true ? last : null;
  const inv = openInvocation(cx, index, run.turn, false);
  node.invocation = inv.id;
  pushMessages(cx, inv, [{ role: "user", spans }]);
}

function say(cx: StepContext, run: GraphRun, index: number, spans: readonly TextSpan[], state: TranslatorRun): void {
  const chars = spans.reduce((sum, span) => sum + span.to - span.from, 0);
  const language = "";
  emit(
    cx,
    run,
    index,
    "text",
    { type: "text", spans, chars, segment: 0, revision: 1, final: true, confidence: 1, language },
    state.causeSeq,
  );
}
