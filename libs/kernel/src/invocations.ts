/**
 * Provider invocations as the kernel sees them (`kernel.md` §6, §9; F-160): opened for one candidate of the frozen list,
 * fed, cut off, ended by exactly one normalised outcome. Another candidate is tried only while nothing of the work in
 * hand has reached the graph.
 */

import { NS_PER_MS } from "@rspp/base/brand";
import { isOn, MAKES_A_CALL_ONCE } from "./behaviours.ts";
import { circuitNoted, circuitTried, usableFrom } from "./breaker.ts";
import { budgetAnswered, budgetAsked, budgetClosed, budgetOpened } from "./budget-meter.ts";
import { noteProvider } from "./conditions.ts";
import { recoverNode } from "./degraded.ts";
import type { MessagesBody, TextSpan } from "./event.ts";
import { emit } from "./flow.ts";
import type { NodeDefinition, ProviderCandidate } from "./graph.ts";
import type { ChunkAudio, ChunkText, ChunkToolCall, OutcomeKind, Usage } from "./input.ts";
import { INVOCATIONS_PER_TURN_MAX, PROVIDER_IDLE_MS } from "./limits.ts";
import { boundCandidates, candidatesOf, capsLeft, noteCaps } from "./policy-binding.ts";
import { stepDown, underPosture, voiceIsBack } from "./postures.ts";
import { attemptMs, retryAfterMs } from "./retry.ts";
import { findTurn, type Hearing, type InvocationState, runOf } from "./state.ts";
import { cause, clearTimer, type StepContext, setTimerIn, signal } from "./step-context.ts";
import { callsAsked, noteCall, type ToolRun, type ToolWork, toolOf } from "./tool-state.ts";

export function nodeOf(cx: StepContext, inv: InvocationState): NodeDefinition {
  return cx.s.config.graph.nodes[inv.node] as NodeDefinition;
}

export function candidateOf(cx: StepContext, inv: InvocationState): ProviderCandidate | undefined {
  return candidatesOf(cx, inv)[inv.candidate];
}

/** @param over a tool's work instead of the node's own; which candidate is asked first. */
export function openInvocation(
  cx: StepContext,
  node: number,
  turn: number,
  speculative: boolean,
  over: { work?: ToolWork; candidate?: number; candidates?: readonly ProviderCandidate[] | undefined } = {},
): InvocationState {
  const s = cx.s;
  const definition = s.config.graph.nodes[node] as NodeDefinition;
  const bound = over.candidates ?? boundCandidates(cx, node, turn);
  const id = s.nextInvocation;
  s.nextInvocation += 1;
  const inv: InvocationState = {
    id,
    name: `inv_${s.authority.epoch}_${id}`,
    turn,
    generation: findTurn(s, turn)?.generation ?? 0,
    node,
    modality:
      over.work !== undefined
        ? "tool"
        : definition.kind === "translator"
          ? "llm"
          : (definition.kind as "stt" | "llm" | "tts"),
    candidate: over.candidate ?? Math.max(0, usableFrom(cx, bound ?? definition.candidates, 0)),
    attempt: 1,
    status: "open",
    openedNs: cx.nowNs,
    firstChunkNs: 0,
    lastNs: cx.nowNs,
    payloadTurn: turn,
    chunks: 0,
    finished: false,
    firstInput: 0,
    lastInput: 0,
    late: [],
    clauses: [],
    messages: null,
    segmentsDone: 0,
    segmentBegun: false,
    buffered: speculative ? [] : null,
    bufferedOutcome: null,
  };
  if (over.work !== undefined) inv.tool = over.work;
  else if (bound !== undefined) inv.candidates = bound;
  s.invocations[id] = inv;
  findTurn(s, turn)?.openInvocations.push(id);
  sendOpen(cx, inv);
  return inv;
}

/** @param afterMs it waits so long first; what it is given meanwhile is held by the shell. */
function sendOpen(cx: StepContext, inv: InvocationState, afterMs = 0): void {
  const candidate = candidateOf(cx, inv);
  const tool = inv.tool === undefined ? undefined : toolOf(nodeOf(cx, inv), inv.tool);
  const { retries = 0 } = nodeOf(cx, inv);
  const others = candidatesOf(cx, inv).length - inv.candidate - 1 + Math.max(0, retries - (inv.retried ?? 0));
  const timeoutMs = tool?.deadlineMs ?? attemptMs(cx, inv, others, afterMs);
  cx.effects.push({
    type: "provider_open",
    invocation: inv.id,
    invocationId: inv.name,
    modality: inv.modality,
    node: nodeOf(cx, inv).id,
    provider: candidate?.provider ?? "",
    settings: underPosture(cx, inv.turn, nodeOf(cx, inv).id, candidate?.settings ?? {}),
    attempt: inv.attempt,
    attemptTimeoutMs: timeoutMs,
    ...(afterMs === 0 ? {} : { afterMs }),
    idempotencyKey: keyOf(cx, inv),
    epoch: cx.s.authority.epoch,
    turn: inv.turn,
    generation: inv.generation,
    ...(tool === undefined ? {} : { tool: { name: tool.name, sideEffect: tool.sideEffect } }),
    ...capsLeft(cx, inv),
  });
  budgetOpened(cx, inv);
  if (cx.s.circuits !== undefined) circuitTried(cx, inv, candidate?.provider ?? "");
  // A recogniser answers while it listens; its own deadline is the wait for the final.
  if (inv.modality !== "stt") setTimerIn(cx, `attempt:${inv.id}`, timeoutMs + afterMs);
}

/** A tool's call is the same call whatever name its invocation has: turns are numbered on over a takeover (F-158). */
function keyOf(cx: StepContext, inv: InvocationState): string {
  const { sessionId } = cx.s.config;
  if (inv.tool !== undefined) return `${sessionId}/tool/${inv.turn}/${inv.tool.call + 1}`;
  return `${sessionId}/${inv.name}/${inv.attempt}`;
}

/** @param mayCall whether it is offered the tools of its node, if that has any. */
export function pushMessages(
  cx: StepContext,
  inv: InvocationState,
  messages: MessagesBody["messages"],
  mayCall = true,
): void {
  inv.messages = messages;
  const { tools } = nodeOf(cx, inv);
  if (tools !== undefined) inv.offered = mayCall ? tools.map(({ name }) => name) : [];
  sendMessages(cx, inv, messages);
  for (const { spans } of messages) budgetAsked(cx, inv, spans);
  finishInvocation(cx, inv);
}

function sendMessages(cx: StepContext, inv: InvocationState, messages: MessagesBody["messages"]): void {
  const tools = inv.offered === undefined ? {} : { tools: inv.offered };
  cx.effects.push({ type: "provider_push_messages", invocation: inv.id, messages, ...tools });
}

export function pushClause(cx: StepContext, inv: InvocationState, segment: number, spans: readonly TextSpan[]): void {
  inv.clauses.push({ segment, spans });
  budgetAsked(cx, inv, spans);
  inv.lastNs = cx.nowNs;
  if (inv.firstChunkNs !== 0) armIdle(cx, inv);
  cx.effects.push({ type: "provider_push_text", invocation: inv.id, segment, spans });
}

export function finishInvocation(cx: StepContext, inv: InvocationState): void {
  if (inv.finished || inv.status !== "open") return;
  inv.finished = true;
  inv.lastNs = cx.nowNs;
  cx.effects.push({ type: "provider_finish", invocation: inv.id });
  if (inv.firstChunkNs !== 0 && inv.modality !== "stt") armIdle(cx, inv);
}

/** A stream that has begun must go on while something is due from it; looked at when the timer fires, not per chunk. */
function armIdle(cx: StepContext, inv: InvocationState): void {
  if (cx.s.timers[`idle:${inv.id}`] === undefined) setTimerIn(cx, `idle:${inv.id}`, PROVIDER_IDLE_MS);
}

export function onIdleTimer(cx: StepContext, inv: InvocationState): void {
  const due = inv.modality === "llm" || inv.finished || inv.clauses.length > 0;
  if (inv.status !== "open" || inv.bufferedOutcome !== null || !due) return;
  const quietMs = (cx.nowNs - inv.lastNs) / NS_PER_MS;
  if (quietMs < PROVIDER_IDLE_MS) return setTimerIn(cx, `idle:${inv.id}`, PROVIDER_IDLE_MS - quietMs);
  giveUp(cx, inv, "the stream went silent");
}

/** Cut off at its budget: as after a failure, another candidate or a fallback goes on (F-046). */
export function cutAttempt(cx: StepContext, inv: InvocationState, detail: string): void {
  giveUp(cx, inv, detail);
}

/** Cut off for its silence. It may ignore that, too: its acknowledgement is awaited like that of any cancel (F-037). */
function giveUp(cx: StepContext, inv: InvocationState, detail: string): void {
  const silent: InvocationState = { ...inv, status: "cancelled", clauses: [], messages: null, late: [] };
  cx.effects.push({ type: "provider_cancel", invocation: inv.id, reason: "timeout" });
  onOutcome(cx, inv, "timeout", detail, null);
  if (cx.s.invocations[silent.id] !== undefined) return;
  cx.s.invocations[silent.id] = silent;
  setTimerIn(cx, `grace:${silent.id}`, cx.s.config.budgets.cancelGraceMs);
}

/** Cuts an invocation off; what still comes from it is late. The outcome is normalised to `cancelled` here and now. */
export function cancelInvocation(cx: StepContext, inv: InvocationState, reason: string): void {
  if (inv.status !== "open") return;
  inv.status = "cancelled";
  clearTimer(cx, `attempt:${inv.id}`);
  clearTimer(cx, `idle:${inv.id}`);
  cx.effects.push({ type: "provider_cancel", invocation: inv.id, reason });
  setTimerIn(cx, `grace:${inv.id}`, cx.s.config.budgets.cancelGraceMs);
  noteOutcome(cx, inv, "cancelled", reason, null);
}

/** A chunk of a language model or a voice; recognisers go to the prelude. */
export function onChunk(cx: StepContext, inv: InvocationState, chunk: ChunkText | ChunkAudio | ChunkToolCall): void {
  noteChunk(cx, inv);
  if (inv.turn !== 0) budgetAnswered(cx, inv, chunk);
  const run = runOf(cx.s, inv.turn);
  if (inv.payloadTurn !== inv.turn) findTurn(cx.s, inv.turn)?.ownRefs.push(chunk.payload.ref);
  if (chunk.type !== "audio" && inv.buffered !== null) {
    inv.buffered.push(chunk);
    return;
  }
  if (run === undefined) return;
  if (chunk.type === "tool_call") {
    const tools = toolRun(cx, inv);
    const once = isOn(cx.s.config.behaviours, MAKES_A_CALL_ONCE);
    if (tools !== undefined && !noteCall(tools, nodeOf(cx, inv), chunk, once)) cx.s.counters.lateDropped += 1;
    return;
  }
  if (chunk.type === "text") {
    if (nodeOf(cx, inv).tools !== undefined)
      toolRun(cx, inv)?.said.push({ ref: chunk.payload.ref, from: 0, to: chunk.chars });
    emit(
      cx,
      run,
      inv.node,
      "text",
      {
        type: "text",
        spans: [{ ref: chunk.payload.ref, from: 0, to: chunk.chars }],
        chars: chunk.chars,
        segment: 0,
        revision: inv.chunks,
        final: true,
        confidence: chunk.confidence,
        language: languageOf(nodeOf(cx, inv), chunk),
      },
      cx.inputSeq,
    );
    return;
  }
  inv.segmentBegun = !chunk.segmentEnd;
  if (chunk.segmentEnd) inv.segmentsDone = chunk.segment + 1;
  while (inv.clauses[0] !== undefined && inv.clauses[0].segment < inv.segmentsDone) inv.clauses.shift();
  emit(cx, run, inv.node, "audio", { ...chunk, mediaUs: -1 }, cx.inputSeq);
}

/** The node's tool calls in this turn, from what its model was asked first. */
function toolRun(cx: StepContext, inv: InvocationState): ToolRun | undefined {
  const node = runOf(cx.s, inv.turn)?.nodes[inv.node];
  if (node === null || node === undefined) return undefined;
  node.tools ??= { messages: inv.messages ?? [], round: 0, calls: [], said: [], filler: -1, candidate: 0 };
  node.tools.candidate = inv.candidate;
  return node.tools;
}

/** What a translator says is in the language it was set to, whether its model names it or not. */
function languageOf(node: NodeDefinition, chunk: ChunkText): string {
  return node.kind === "translator" ? String(node.settings.target_language ?? chunk.language) : chunk.language;
}

export function noteChunk(cx: StepContext, inv: InvocationState): void {
  inv.chunks += 1;
  inv.lastNs = cx.nowNs;
  if (inv.firstChunkNs !== 0) return;
  inv.firstChunkNs = cx.atNs;
  clearTimer(cx, `attempt:${inv.id}`);
  if (inv.modality !== "stt") armIdle(cx, inv);
}

/** What a speculation gathered flows on once its turn has adopted it. */
export function adoptSpeculation(cx: StepContext, inv: InvocationState, turn: number): void {
  const target = findTurn(cx.s, turn);
  const chunks = inv.buffered ?? [];
  inv.buffered = null;
  inv.turn = turn;
  inv.generation = target?.generation ?? 0;
  target?.openInvocations.push(inv.id);
  budgetOpened(cx, inv);
  for (const { spans } of inv.messages ?? []) budgetAsked(cx, inv, spans);
  for (const chunk of chunks) {
    inv.chunks -= 1;
    onChunk(cx, inv, chunk);
  }
  const outcome = inv.bufferedOutcome;
  inv.bufferedOutcome = null;
  if (outcome !== null) onOutcome(cx, inv, outcome.outcome, outcome.detail, outcome.usage);
}

/** The end of a language model's or voice's invocation. True when it did what it was asked for. */
export function onOutcome(
  cx: StepContext,
  inv: InvocationState,
  outcome: OutcomeKind,
  detail: string,
  usage: Usage | null,
): boolean {
  clearTimer(cx, `attempt:${inv.id}`);
  clearTimer(cx, `idle:${inv.id}`);
  if (inv.buffered !== null) {
    inv.bufferedOutcome ??= { outcome, detail, usage };
    return false;
  }
  const empty = outcome === "success" && inv.chunks === 0 && (inv.messages !== null || inv.clauses.length > 0);
  // A voice that ends before all its text was given has left words unsaid: it is gone, whatever it says (F3).
  const cutShort = outcome === "success" && inv.modality === "tts" && !inv.finished;
  const kind: OutcomeKind = empty ? "empty" : cutShort ? "disconnect" : outcome;
  noteOutcome(cx, inv, kind, detail, usage);
  if (kind === "success") {
    inv.status = "done";
    forget(cx, inv);
    if (cx.s.degradedBy.length > 0) {
      recoverNode(cx, nodeOf(cx, inv).id);
      if (inv.modality === "tts") voiceIsBack(cx, nodeOf(cx, inv).id);
    }
    const run = runOf(cx.s, inv.turn);
    const node = run?.nodes[inv.node];
    if (run === undefined || node === null || node === undefined) return true;
    node.invocation = 0;
    // One of several: whether its text has come to an end is for `translator.ts` to say.
    if (node.kind === "translator" || callsAsked(node.tools)) return true;
    node.ended = true;
    emit(cx, run, inv.node, inv.modality === "tts" ? "audio" : "text", { type: "end" }, cx.inputSeq);
    return true;
  }
  const turn = inv.turn;
  signal(cx, "provider_error", "invocation", turn, kind, {
    provider: candidateOf(cx, inv)?.provider ?? "none",
    invocation: inv.name,
  });
  if (!switchCandidate(cx, inv, kind, detail)) {
    inv.status = "done";
    forget(cx, inv);
    if (!cx.failover(cx, turn, inv.node, inv, kind)) cause(cx, "failure", turn, "provider_failure");
  }
  return false;
}

/** The attempt's first chunk did not come in time: cut it off and go on as after a failure. */
export function onAttemptTimeout(cx: StepContext, inv: InvocationState): void {
  if (inv.status !== "open" || inv.firstChunkNs !== 0 || inv.bufferedOutcome !== null) return;
  giveUp(cx, inv, "no chunk within the attempt budget");
}

/** Switches to the next frozen candidate under a new invocation number, so that chunks of the old one are late by id. */
function switchCandidate(cx: StepContext, inv: InvocationState, reason: OutcomeKind, detail: string): boolean {
  const untouched = inv.modality === "llm" ? inv.chunks === 0 : !inv.segmentBegun;
  const waitMs = retryAfterMs(cx, inv, nodeOf(cx, inv), reason, detail);
  const again = waitMs !== undefined;
  const at = again ? inv.candidate : usableFrom(cx, candidatesOf(cx, inv), inv.candidate + 1);
  const next = candidatesOf(cx, inv)[at];
  const turn = findTurn(cx.s, inv.turn);
  if (reason === "overload") stepDown(cx, inv.turn, "provider_overload");
  if (!untouched || next === undefined || turn === undefined || turn.phase !== "active") return false;
  if (turn.invocations.length >= INVOCATIONS_PER_TURN_MAX) return false;
  const old = inv.id;
  delete cx.s.invocations[old];
  inv.id = cx.s.nextInvocation;
  cx.s.nextInvocation += 1;
  inv.name = `inv_${cx.s.authority.epoch}_${inv.id}`;
  if (again) inv.retried = (inv.retried ?? 0) + 1;
  else {
    inv.candidate = at;
    delete inv.retried;
  }
  inv.attempt += 1;
  inv.chunks = 0;
  inv.firstChunkNs = 0;
  inv.firstInput = 0;
  inv.lastInput = 0;
  inv.lastNs = cx.nowNs;
  inv.payloadTurn = inv.turn;
  inv.openedNs = cx.nowNs;
  cx.s.invocations[inv.id] = inv;
  turn.openInvocations = turn.openInvocations.map((id) => (id === old ? inv.id : id));
  const node = turn.run.nodes[inv.node];
  if (node !== null && node !== undefined) node.invocation = inv.id;
  if (!again)
    signal(cx, "provider_switch", "invocation", inv.turn, reason, { provider: next.provider, invocation: inv.name });
  sendOpen(cx, inv, waitMs);
  if (inv.messages !== null) sendMessages(cx, inv, inv.messages);
  for (const clause of inv.clauses)
    cx.effects.push({ type: "provider_push_text", invocation: inv.id, segment: clause.segment, spans: clause.spans });
  if (inv.finished) cx.effects.push({ type: "provider_finish", invocation: inv.id });
  return true;
}

/** The utterance that an invocation recognises. */
export function hearingOf(cx: StepContext, invocation: number): Hearing | undefined {
  const p = cx.s.prelude;
  if (p.hearing?.invocation === invocation) return p.hearing;
  return p.closing.find((h) => h.invocation === invocation);
}

export function noteOutcome(
  cx: StepContext,
  inv: InvocationState,
  outcome: OutcomeKind,
  detail: string,
  usage: Usage | null,
): void {
  const provider = candidateOf(cx, inv)?.provider ?? "";
  noteProvider(cx, provider, outcome);
  circuitNoted(cx, inv, provider, outcome);
  budgetClosed(cx, inv, usage);
  noteCaps(cx, inv, provider, detail, usage);
  // A recogniser works before its turn: its utterance takes the outcome along.
  const list = inv.modality === "stt" ? hearingOf(cx, inv.id)?.invocations : findTurn(cx.s, inv.turn)?.invocations;
  list?.push({
    name: inv.name,
    node: nodeOf(cx, inv).id,
    modality: inv.modality,
    provider,
    attempt: inv.attempt,
    outcome,
    detail,
    chunks: inv.chunks,
    openedNs: inv.openedNs,
    firstChunkNs: inv.firstChunkNs,
    endedNs: cx.nowNs,
    firstInput: inv.firstInput,
    lastInput: inv.lastInput,
    usage,
    ...(inv.tool === undefined ? {} : { tool: toolOf(nodeOf(cx, inv), inv.tool)?.name ?? "" }),
  });
}

export function forget(cx: StepContext, inv: InvocationState): void {
  delete cx.s.invocations[inv.id];
  clearTimer(cx, `attempt:${inv.id}`);
  clearTimer(cx, `idle:${inv.id}`);
  clearTimer(cx, `grace:${inv.id}`);
  const turn = findTurn(cx.s, inv.turn);
  if (turn !== undefined) turn.openInvocations = turn.openInvocations.filter((id) => id !== inv.id);
}
