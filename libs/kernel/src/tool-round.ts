/**
 * Tools of a language model: its answer calls some, they run side by side up to a bound, their results are put to
 * what it was asked, and it is asked again. Rounds, calls and results are bounded. What takes long may be bridged by filler
 * speech, once a round. A tool's deadline ends it; the model is told, and the turn goes on.
 */
import { WARNING_SHARE } from "./budget-meter.ts";
import type { ChatMessage, TextSpan } from "./event.ts";
import { emit } from "./flow.ts";
import type { NodeDefinition, ToolDefinition, ToolLimits } from "./graph.ts";
import type { ChunkText, OutcomeKind, Usage } from "./input.ts";
import { forget, nodeOf, noteOutcome, openInvocation, pushMessages } from "./invocations.ts";
import { INVOCATIONS_PER_TURN_MAX, TOOL_CALLS_PER_TURN_MAX, TOOL_LEAVES_MAX } from "./limits.ts";
import { sliceSpans } from "./rope.ts";
import { findTurn, type GraphRun, type InvocationState, type NodeRun, runOf, type TurnState } from "./state.ts";
import { cause, clearTimer, type StepContext, setTimerIn, signal } from "./step-context.ts";
import { literalText } from "./text-out.ts";
import { dropCopies, lateOutcome, ownCopy, resultOf } from "./tool-late.ts";
import { callsAsked, isUninterruptible, type ToolCall, type ToolRun } from "./tool-state.ts";

const DEFAULT_LIMITS: ToolLimits = {
  perTurnMax: TOOL_CALLS_PER_TURN_MAX,
  roundsMax: 4,
  parallelMax: 4,
  resultBytesMax: 16_384,
  lateResult: "note",
};

const limitsOf = (node: NodeDefinition): ToolLimits => node.toolLimits ?? DEFAULT_LIMITS;

/** The model's answer has ended well: what it called is begun, if it called anything. */
export function onModelDone(cx: StepContext, turn: number, index: number): void {
  const run = runOf(cx.s, turn);
  const node = run?.nodes[index];
  if (run === undefined || node === null || node === undefined || node.ended) return;
  if (node.tools === undefined || node.invocation !== 0 || !callsAsked(node.tools)) return;
  beginRound(cx, run, index, node, node.tools);
}

function beginRound(cx: StepContext, run: GraphRun, index: number, node: NodeRun, tools: ToolRun): void {
  const turn = findTurn(cx.s, run.turn);
  const definition = cx.s.config.graph.nodes[index] as NodeDefinition;
  if (turn === undefined) return;
  tools.round += 1;
  if (tools.round > limitsOf(definition).roundsMax) return tooManyRounds(cx, run, index, node, turn);
  // What was said so far is not to wait in the segmenter for words that come after the tools.
  if (tools.said.length > 0) speak(cx, run, index, " ");
  // The first output has its own budget; a tool has its deadline.
  if (turn.anchors.firstOutputNs === 0) {
    clearTimer(cx, `first_output:${turn.number}`);
    clearTimer(cx, `first_output_warning:${turn.number}`);
  }
  armFiller(cx, run, index, definition, tools);
  goOn(cx, run, index, node, tools);
}

/** It was offered none in its last answer and calls all the same. */
function tooManyRounds(cx: StepContext, run: GraphRun, index: number, node: NodeRun, turn: TurnState): void {
  if (turn.segments.length === 0) return cause(cx, "failure", turn.number, "tool_rounds");
  node.ended = true;
  emit(cx, run, index, "text", { type: "end" }, cx.inputSeq);
}

function speak(cx: StepContext, run: GraphRun, index: number, text: string): void {
  const spans = [literalText(cx, run.turn, text)];
  const chars = text.length;
  const rest = { segment: 0, revision: 1, final: true, confidence: 1, language: "" };
  emit(cx, run, index, "text", { type: "text", spans, chars, ...rest }, cx.inputSeq);
}

/** Begins what may run now; when all of the round is done the model is asked again. */
function goOn(cx: StepContext, run: GraphRun, index: number, node: NodeRun, tools: ToolRun): void {
  const definition = cx.s.config.graph.nodes[index] as NodeDefinition;
  const { parallelMax } = limitsOf(definition);
  for (const [at, call] of tools.calls.entries()) {
    if (call.status !== "asked") continue;
    if (tools.calls.filter(({ status }) => status === "running").length >= parallelMax) return;
    begin(cx, run, index, definition, call, at);
  }
  if (tools.calls.every(({ status }) => status === "done")) askAgain(cx, run, index, node, tools);
}

function begin(
  cx: StepContext,
  run: GraphRun,
  index: number,
  definition: NodeDefinition,
  call: ToolCall,
  at: number,
): void {
  const tool = definition.tools?.[call.tool];
  if (tool === undefined) return refuse(cx, run, call, "unknown_tool");
  const crowded = invocationsOf(cx, run.turn) + TOOL_LEAVES_MAX >= INVOCATIONS_PER_TURN_MAX;
  if (at >= limitsOf(definition).perTurnMax || crowded) return refuse(cx, run, call, "too_many_tool_calls");
  const inv = openInvocation(cx, index, run.turn, false, { work: { tool: call.tool, call: at, result: [], chars: 0 } });
  call.status = "running";
  call.invocation = inv.id;
  inv.finished = true;
  cx.effects.push({ type: "provider_push_text", invocation: inv.id, segment: 0, spans: [call.arguments] });
  cx.effects.push({ type: "provider_finish", invocation: inv.id });
}

function refuse(cx: StepContext, run: GraphRun, call: ToolCall, error: string): void {
  call.status = "done";
  call.outcome = "error";
  call.result = [literalText(cx, run.turn, JSON.stringify({ error }))];
}

function invocationsOf(cx: StepContext, turn: number): number {
  const found = findTurn(cx.s, turn);
  return found === undefined ? 0 : found.invocations.length + found.openInvocations.length;
}

// --- what a tool says ---

/** Part of a result; what exceeds the bound is left out. */
export function onToolChunk(cx: StepContext, inv: InvocationState, chunk: ChunkText): void {
  const work = inv.tool;
  if (work === undefined) return;
  inv.chunks += 1;
  inv.lastNs = cx.nowNs;
  if (inv.firstChunkNs === 0) inv.firstChunkNs = cx.atNs;
  const span: TextSpan = { ref: chunk.payload.ref, from: 0, to: chunk.chars };
  const [kept] = sliceSpans([span], 0, Math.max(0, limitsOf(nodeOf(cx, inv)).resultBytesMax - work.chars));
  if (kept !== undefined) {
    work.chars += kept.to - kept.from;
    work.result.push(work.detached === true ? ownCopy(cx, kept) : kept);
  }
  // Its turn is over and may be gone: nobody else lets go of what came for it.
  if (work.detached === true) cx.effects.push({ type: "release", refs: [chunk.payload.ref] });
}

/** Exactly one end of each call, however it comes. */
export function onToolOutcome(
  cx: StepContext,
  inv: InvocationState,
  outcome: OutcomeKind,
  detail: string,
  usage: Usage | null,
): void {
  const { tool: work } = inv;
  if (work === undefined) return;
  clearTimer(cx, `attempt:${inv.id}`);
  inv.status = "done";
  const turn = findTurn(cx.s, inv.turn);
  const open = turn?.phase === "active" && work.detached !== true;
  if (!open) return lateOutcome(cx, inv, turn, outcome, detail);
  noteOutcome(cx, inv, outcome, detail, usage);
  forget(cx, inv);
  const node = turn.run.nodes[inv.node];
  const call = node?.tools?.calls[work.call];
  if (node?.tools === undefined || call === undefined) return;
  if (outcome !== "success") {
    const fields = { provider: toolOfCall(cx, inv)?.candidates[0]?.provider ?? "none", invocation: inv.name };
    signal(cx, "provider_error", "invocation", inv.turn, outcome, fields);
  }
  call.status = "done";
  call.outcome = outcome;
  call.result = resultOf(cx, inv, outcome, detail);
  goOn(cx, turn.run, inv.node, node, node.tools);
}

function toolOfCall(cx: StepContext, inv: InvocationState): ToolDefinition | undefined {
  return inv.tool === undefined ? undefined : nodeOf(cx, inv).tools?.[inv.tool.tool];
}

/** The deadline of a call ends it, side-effecting or not: the model is told so. */
export function onToolDeadline(cx: StepContext, inv: InvocationState): void {
  if (inv.status !== "open" || inv.tool === undefined) return;
  const silent: InvocationState = { ...inv, status: "cancelled", clauses: [], messages: null, late: [] };
  cx.effects.push({ type: "provider_cancel", invocation: inv.id, reason: "timeout" });
  // Its chunks may be of a result that was cut short: the model is told of the deadline instead.
  dropCopies(cx, inv.tool);
  inv.tool = { ...inv.tool, result: [] };
  onToolOutcome(cx, inv, "timeout", "no result within its deadline", null);
  cx.s.invocations[silent.id] = silent;
  setTimerIn(cx, `grace:${silent.id}`, cx.s.config.budgets.cancelGraceMs);
}

/** One call is cancelled by name: the model is told, siblings go on. Side-effecting work is not cut off. */
export function cancelCall(cx: StepContext, inv: InvocationState, reason: string): void {
  if (inv.tool === undefined || isUninterruptible(nodeOf(cx, inv), inv.tool)) return;
  const silent: InvocationState = { ...inv, status: "cancelled", clauses: [], messages: null, late: [] };
  cx.effects.push({ type: "provider_cancel", invocation: inv.id, reason });
  onToolOutcome(cx, inv, "cancelled", reason, null);
  cx.s.invocations[silent.id] = silent;
  setTimerIn(cx, `grace:${silent.id}`, cx.s.config.budgets.cancelGraceMs);
}

// --- the next answer ---

function askAgain(cx: StepContext, run: GraphRun, index: number, node: NodeRun, tools: ToolRun): void {
  const definition = cx.s.config.graph.nodes[index] as NodeDefinition;
  const turn = findTurn(cx.s, run.turn);
  if (turn === undefined) return;
  clearTimer(cx, `filler:${run.turn}:${index}`);
  tools.filler = -1;
  if (invocationsOf(cx, run.turn) >= INVOCATIONS_PER_TURN_MAX) {
    node.ended = true;
    return cause(cx, "failure", run.turn, "invocation_limit");
  }
  const calls = tools.calls.filter(({ round }) => round === tools.round);
  const asked: ChatMessage = {
    role: "assistant",
    spans: tools.said,
    toolCalls: calls.map((call) => ({ callId: call.callId, name: call.name, spans: [call.arguments] })),
  };
  const results = calls.map((call): ChatMessage => ({ role: "tool", spans: call.result, callId: call.callId }));
  tools.messages = [...tools.messages, asked, ...results];
  tools.said = [];
  const { turnFirstOutputMs } = cx.s.config.budgets;
  if (turn.anchors.firstOutputNs === 0) {
    setTimerIn(cx, `first_output_warning:${turn.number}`, turnFirstOutputMs * WARNING_SHARE);
    setTimerIn(cx, `first_output:${turn.number}`, turnFirstOutputMs);
  }
  const limits = limitsOf(definition);
  const mayCall = tools.round < limits.roundsMax && tools.calls.length < limits.perTurnMax;
  const inv = openInvocation(cx, index, run.turn, false, { candidate: tools.candidate });
  node.invocation = inv.id;
  pushMessages(cx, inv, tools.messages, mayCall);
}

// --- filler speech ---

/** The filler that would come first, of the tools called in this round. */
function armFiller(cx: StepContext, run: GraphRun, index: number, definition: NodeDefinition, tools: ToolRun): void {
  const after = (tool: number): number => definition.tools?.[tool]?.filler?.afterMs ?? Number.POSITIVE_INFINITY;
  const called = tools.calls.filter(({ status, tool }) => status === "asked" && after(tool) < Number.POSITIVE_INFINITY);
  const [first] = called.sort((a, b) => after(a.tool) - after(b.tool));
  tools.filler = first?.tool ?? -1;
  if (first !== undefined) setTimerIn(cx, `filler:${run.turn}:${index}`, after(first.tool));
}

/** Said as part of the turn's output; the result was faster where it has been cleared meanwhile. */
export function onFillerTimer(cx: StepContext, number: number, index: number): void {
  const run = runOf(cx.s, number);
  const tools = run?.nodes[index]?.tools;
  if (run === undefined || tools === undefined || run.nodes[index]?.ended !== false) return;
  const filler = cx.s.config.graph.nodes[index]?.tools?.[tools.filler]?.filler;
  tools.filler = -1;
  if (filler === undefined) return;
  cx.effects.push({
    type: "telemetry",
    name: "tool_filler",
    value: 1,
    turn: number,
    node: cx.s.config.graph.nodes[index]?.id ?? "",
  });
  speak(cx, run, index, filler.text);
}
