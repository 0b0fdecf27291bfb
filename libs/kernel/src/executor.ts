/** Dispatch of one ready event to its node (`kernel.md` §4). Pure nodes run here; host and provider nodes are asked by effect. */

import { ringShift } from "@rspp/base/ring";
import { budgetGiven } from "./budget-meter.ts";
import { sayCanned } from "./canned.ts";
import { messagesFor } from "./conversation.ts";
import { dispatchCustom } from "./custom-nodes.ts";
import { tellEdgeSample } from "./edge-telemetry.ts";
import type { KernelEvent, TextBody, TextSpan } from "./event.ts";
import { emit, flushNotice, take } from "./flow.ts";
import { NODE_KINDS } from "./graph.ts";
import { heedHangUp } from "./hang-up.ts";
import { onPacedWords, onRecogniserAudio } from "./hearing.ts";
import { command, hostReady } from "./host-nodes.ts";
import { finishInvocation, openInvocation, pushClause, pushMessages } from "./invocations.ts";
import type { ReadyItem } from "./lanes.ts";
import { admitsDequeue, admitsDispatch } from "./local-admission.ts";
import { mergeEdge } from "./merge.ts";
import { historyUnderPosture } from "./postures.ts";
import { onActivity } from "./prelude.ts";
import { respell } from "./pronunciation.ts";
import { sliceSpans } from "./rope.ts";
import { findTurn, type GraphRun, type NodeRun, numberSetting, runOf } from "./state.ts";
import { ask, type StepContext } from "./step-context.ts";
import { onFilterAudio } from "./text-filter.ts";
import { isJunction, onJunction, onText, onTextEnd } from "./text-nodes.ts";
import { textRun } from "./text-out.ts";

export function dispatch(cx: StepContext, item: ReadyItem): void {
  if (item.edge < 0) {
    if (!tellEdgeSample(cx, item.turn, item.edge)) tell(cx);
    return;
  }
  const run = runOf(cx.s, item.turn);
  if (run === undefined) return;
  const index = servedBy(cx, run, cx.s.topology.edgeTo[item.edge] as number);
  const node = run.nodes[index];
  if (node === null || node === undefined || node.command !== 0) return;
  if (node.kind === "custom") return dispatchCustom(cx, run, index, node, item.edge);
  // A merge is told that an input is ready and takes from the one whose turn it is.
  const e = node.kind === "merge" ? mergeEdge(cx, run, index, item.edge) : item.edge;
  const event = take(cx, run, e);
  const edge = run.edges[e];
  if (edge !== null && edge !== undefined && edge.noticeFrom !== 0) flushNotice(cx, run, e, edge);
  if (event === undefined) return;
  if (cx.s.config.graph.admission !== undefined && !admitted(cx, run, e, event, node, index)) return;
  if (event.discontinuity !== undefined) startAnew(cx, run, index, node, event.seq);
  if (cx.s.config.graph.budgets !== undefined) budgetGiven(cx, run, index);
  if (isJunction(node)) return onJunction(cx, run, index, node, event, e);
  if (event.body.type === "end") {
    node.endsAwaited -= 1;
    if (node.endsAwaited === 0) onEnd(cx, run, index, node, event);
    return;
  }
  deliver(cx, run, index, node, event);
}

/** F1: shed at the dequeue for its age, or at the dispatch for the step's share. A host node asks for its next. */
function admitted(
  cx: StepContext,
  run: GraphRun,
  e: number,
  event: KernelEvent,
  node: NodeRun,
  index: number,
): boolean {
  if (admitsDequeue(cx, run, e, event) && admitsDispatch(cx, run, e, event)) return true;
  if (NODE_KINDS[node.kind].execution === "host") hostReady(cx, run, index);
  return false;
}

/** The node itself, or the one that stands in for it in this turn (F-133); a provider node without a provider has failed. */
function servedBy(cx: StepContext, run: GraphRun, index: number): number {
  if (cx.s.topology.fallbacks?.[index] === undefined) return index;
  const definition = cx.s.config.graph.nodes[index];
  const bound = definition === undefined || definition.candidates.length > 0;
  if (!bound && NODE_KINDS[definition.kind].execution === "provider")
    cx.failover(cx, run.turn, index, null, "no_candidate");
  const standIn = run.nodes[index]?.standIn;
  return standIn?.role === "replaced" ? standIn.by : index;
}

/** Behind a loss in its sync domain nothing of before belongs to what comes (F-146). */
function startAnew(cx: StepContext, run: GraphRun, index: number, node: NodeRun, causeSeq: number): void {
  if (node.kind === "segmenter" && node.segmenter !== null)
    return flushClauses(cx, run, index, node.segmenter, true, causeSeq);
  if (node.kind === "endpointing") cx.s.prelude.onsetFrames = 0;
  if (NODE_KINDS[node.kind].execution !== "host") return;
  const id = cx.s.config.graph.nodes[index]?.id ?? "";
  cx.effects.push({ type: "node_reset", node: id, reason: "discontinuity" });
}

function tell(cx: StepContext): void {
  const sample = ringShift(cx.s.telemetry);
  if (sample === undefined) return;
  const node = cx.s.config.graph.nodes[sample.node]?.id ?? "";
  cx.effects.push({ type: "telemetry", name: sample.name, value: sample.value, turn: sample.turn, node });
}

/** Gives a node one event that is no end mark. */
export function deliver(cx: StepContext, run: GraphRun, index: number, node: NodeRun, event: KernelEvent): void {
  const body = event.body;
  switch (node.kind) {
    case "filter":
      if (body.type === "text") onText(cx, run, index, node, event, body);
      else onFilterAudio(cx, run, index, event);
      return;
    case "compliance":
    case "translator":
      if (body.type === "text") onText(cx, run, index, node, event, body);
      return;
    case "vad":
      if (body.type === "audio") command(cx, run, index, node, event, body);
      return;
    case "stt":
      onRecogniserAudio(cx, event);
      return;
    case "endpointing":
      if (body.type === "activity") onActivity(cx, event, body);
      else if (body.type === "text") onPacedWords(cx, body);
      return;
    case "context":
      if (body.type !== "text") return;
      if (cx.s.topology.words?.gathers === true) gather(node, body);
      else tellModel(cx, run, index, event);
      return;
    case "llm":
      if (body.type !== "messages" || node.ended || node.invocation !== 0) return;
      node.invocation = openInvocation(cx, index, run.turn, false).id;
      pushMessages(
        cx,
        cx.s.invocations[node.invocation] as NonNullable<(typeof cx.s.invocations)[string]>,
        body.messages,
      );
      return;
    case "canned":
      return sayCanned(cx, run, index, node, event.seq);
    case "segmenter":
      if (body.type === "text") segment(cx, run, index, node, body, event.seq);
      return;
    case "tts":
      if (body.type === "text") speakClause(cx, run, index, node, body);
      return;
    case "ingress":
    case "dtmf":
    case "merge":
    case "select":
    case "custom":
    case "output":
      return;
  }
}

/** The conversation for the language model; `words` stand for what the caller said in this turn, if given. */
function tellModel(
  cx: StepContext,
  run: GraphRun,
  index: number,
  event: KernelEvent,
  words?: readonly TextSpan[],
): void {
  const { messages, owned } = messagesFor(
    cx,
    [],
    words === undefined ? undefined : { turn: run.turn, spans: words },
    historyUnderPosture(cx, run.turn, index),
  );
  findTurn(cx.s, run.turn)?.ownRefs.push(...owned);
  emit(cx, run, index, "messages", { type: "messages", messages }, event.seq);
}

/** Text nodes stand before the context: the model is told once all they made of the caller's words is there. */
function gather(node: NodeRun, body: TextBody): void {
  const run = textRun(node);
  run.gathered ??= [];
  run.gathered.push(...body.spans);
}

/** Tells a node that nothing more comes. */
export function onEnd(cx: StepContext, run: GraphRun, index: number, node: NodeRun, event: KernelEvent): void {
  if (node.kind === "segmenter" && node.segmenter !== null) {
    flushClauses(cx, run, index, node.segmenter, true, event.seq);
    emit(cx, run, index, "text", { type: "end" }, event.seq);
  } else if (node.kind === "filter" && cx.s.topology.out[index]?.text?.length === 0) {
    emit(cx, run, index, "out", { type: "end" }, event.seq);
  } else if (node.kind === "filter" || node.kind === "compliance" || node.kind === "translator") {
    onTextEnd(cx, run, index, node, event);
  } else if (node.kind === "llm") {
    // Nothing was asked of it: text nodes before it have let nothing through.
    if (cx.s.topology.words === undefined || node.ended || node.invocation !== 0) return;
    node.ended = true;
    emit(cx, run, index, "text", { type: "end" }, event.seq);
  } else if (node.kind === "context") {
    const words = node.text?.gathered;
    if (words !== undefined) tellModel(cx, run, index, event, words);
    emit(cx, run, index, "messages", { type: "end" }, event.seq);
  } else if (node.kind === "tts") {
    const inv = cx.s.invocations[node.invocation];
    if (inv !== undefined) finishInvocation(cx, inv);
    // Nothing was to be said: the stream ends here.
    else if (!node.ended) emit(cx, run, index, "audio", { type: "end" }, event.seq);
  } else if (node.kind === "canned" && !node.ended) {
    node.ended = true;
    emit(cx, run, index, "text", { type: "end" }, event.seq);
  }
}

function segment(cx: StepContext, run: GraphRun, index: number, node: NodeRun, body: TextBody, causeSeq: number): void {
  const state = node.segmenter;
  if (state === null) return;
  state.spans.push(...body.spans);
  state.chars += body.chars;
  flushClauses(cx, run, index, state, false, causeSeq);
}

function flushClauses(
  cx: StepContext,
  run: GraphRun,
  index: number,
  state: NonNullable<NodeRun["segmenter"]>,
  final: boolean,
  causeSeq: number,
): void {
  if (state.spans.length === 0) return;
  const settings = cx.s.config.graph.nodes[index]?.settings ?? {};
  const first = state.nextSegment === 0;
  const minChars = numberSetting(settings, first ? "first_min_chars" : "min_chars", first ? 12 : 24);
  const ends = ask(cx, {
    fn: "clause_ends",
    spans: state.spans,
    minChars,
    maxChars: numberSetting(settings, "max_chars", 160),
    final,
  }) as readonly number[];
  let start = 0;
  for (const end of ends) {
    const spans = sliceSpans(state.spans, start, end);
    emit(
      cx,
      run,
      index,
      "text",
      {
        type: "text",
        spans,
        chars: end - start,
        segment: state.nextSegment,
        revision: 1,
        final: true,
        confidence: 1,
        language: "",
      },
      causeSeq,
    );
    state.nextSegment += 1;
    start = end;
  }
  if (start === 0) return;
  state.spans = sliceSpans(state.spans, start, state.chars);
  state.chars -= start;
}

/** One streaming invocation a turn; clauses are pushed as they come (F-064). */
function speakClause(cx: StepContext, run: GraphRun, index: number, node: NodeRun, body: TextBody): void {
  if (node.ended) return;
  const turn = findTurn(cx.s, run.turn);
  if (turn === undefined) return;
  const { spans, chars } = heedHangUp(cx, turn, body);
  // Nothing but the mark of a hang-up: there is no word to be said.
  if (chars < body.chars && ask(cx, { fn: "is_blank", spans }) === true) return;
  if (node.invocation === 0 && node.textOnly !== true) node.invocation = openInvocation(cx, index, run.turn, false).id;
  const inv = cx.s.invocations[node.invocation];
  if (inv === undefined && node.textOnly !== true) return;
  const number = turn.segments.length;
  const spelt = inv === undefined ? null : respell(cx, turn.number, spans);
  turn.segments.push({
    spans,
    chars,
    startUs: -1,
    durationUs: 0,
    shedUs: 0,
    complete: false,
    words: null,
    ...(spelt === null ? {} : { marks: spelt.marks }),
  });
  if (inv !== undefined) pushClause(cx, inv, number, spelt?.spans ?? spans);
  cx.effects.push({
    type: "egress_text",
    epoch: cx.s.authority.epoch,
    turn: turn.number,
    generation: turn.generation,
    role: "assistant",
    spans,
    final: true,
    segment: number,
    revision: 1,
  });
}
