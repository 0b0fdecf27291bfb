/**
 * Fallback nodes (F-007, F-047, F-133): where a node fails in a turn and no candidate of its own is left, what it was given
 * goes to the node declared for it, whose outputs serve the same consumers. Once per node and turn; the next turn begins
 * with the node itself. A stand-in that fails, too, leaves T10.
 */
import { sayCanned } from "./canned.ts";
import { instanceOf, roomAgain } from "./custom-nodes.ts";
import type { EventBody, KernelEvent, TextBody, TextSpan } from "./event.ts";
import { deliver, onEnd } from "./executor.ts";
import { candidateOf, finishInvocation, openInvocation, pushClause } from "./invocations.ts";
import { INVOCATIONS_PER_TURN_MAX } from "./limits.ts";
import { spansLength } from "./rope.ts";
import { findTurn, type GraphRun, type InvocationState, type NodeRun } from "./state.ts";
import { makeEvent, type StepContext, signal } from "./step-context.ts";

/** `error`: the original one. False where there is no fallback that may still be taken; nothing has changed then. */
export function takeFallback(
  cx: StepContext,
  turnNumber: number,
  index: number,
  inv: InvocationState | null,
  error: string,
): boolean {
  const { topology, config } = cx.s;
  const by = topology.fallbacks?.[index];
  const turn = findTurn(cx.s, turnNumber);
  if (by === undefined || turn?.phase !== "active") return false;
  const node = turn.run.nodes[index];
  const other = turn.run.nodes[by];
  if (node === null || node === undefined || other === null || other === undefined) return false;
  if (node.standIn !== undefined || other.ended) return false;
  // What has been heard of a reply in part cannot be said again by another; a canned reply ends it politely.
  if (other.kind !== "canned" && inv !== null && begun(inv)) return false;
  if (turn.invocations.length >= INVOCATIONS_PER_TURN_MAX) return false;
  node.standIn = { role: "replaced", by };
  node.ended = true;
  node.invocation = 0;
  other.standIn = { role: "stands_in", for: index, reason: error };
  other.endsAwaited = node.endsAwaited;
  const provider = inv === null ? undefined : candidateOf(cx, inv)?.provider;
  signal(cx, "fallback", "budget", turnNumber, error, {
    node: config.graph.nodes[index]?.id ?? "",
    to: config.graph.nodes[by]?.id ?? "",
    ...(inv === null ? {} : { invocation: inv.name }),
    ...(provider === undefined ? {} : { provider }),
  });
  if (other.kind === "custom") giveUnanswered(cx, turnNumber, by, node, other);
  else handOver(cx, turn.run, by, other, inv);
  return true;
}

/** What the node has not answered; what waits on its edges follows, once there is room. */
function giveUnanswered(cx: StepContext, turn: number, by: number, node: NodeRun, other: NodeRun): void {
  other.owed = node.unanswered ?? [];
  delete node.unanswered;
  // What comes on its edges is ready at once: the other says whether it has room.
  node.command = 0;
  const instance = instanceOf(cx, turn, by);
  if (instance?.phase === "ready") roomAgain(cx, instance);
}

function begun(inv: InvocationState): boolean {
  return inv.modality === "tts" ? inv.segmentBegun : inv.chunks > 0;
}

function handOver(cx: StepContext, run: GraphRun, by: number, other: NodeRun, inv: InvocationState | null): void {
  if (other.kind === "canned") return sayCanned(cx, run, by, other, cx.inputSeq, inv !== null && begun(inv));
  if (inv === null) return;
  if (other.kind === "tts") return giveClauses(cx, run, by, other, inv);
  if (inv.messages === null) return;
  if (other.kind === "llm") return give(cx, run, by, other, { type: "messages", messages: inv.messages });
  // Of a translator: the words as they were, then what had not been translated yet.
  const state = run.nodes[inv.node]?.text?.translator;
  const spans = [...(inv.messages.at(-1)?.spans ?? []), ...(state?.spans ?? [])];
  give(cx, run, by, other, words(spans));
  if (state?.inputEnded === true) onEnd(cx, run, by, other, eventOf(cx, run, { type: "end" }));
}

function words(spans: readonly TextSpan[]): TextBody {
  const chars = spansLength(spans);
  return { type: "text", spans, chars, segment: 0, revision: 1, final: true, confidence: 1, language: "" };
}

function give(cx: StepContext, run: GraphRun, by: number, other: NodeRun, body: EventBody): void {
  deliver(cx, run, by, other, eventOf(cx, run, body));
}

function eventOf(cx: StepContext, run: GraphRun, body: EventBody): KernelEvent {
  return makeEvent(cx, run.turn, findTurn(cx.s, run.turn)?.generation ?? 0, body, cx.inputSeq);
}

/** Clauses that the voice before has not spoken to their end; they were shown and numbered already. */
function giveClauses(cx: StepContext, run: GraphRun, by: number, other: NodeRun, inv: InvocationState): void {
  const next = openInvocation(cx, by, run.turn, false);
  other.invocation = next.id;
  for (const { segment, spans } of inv.clauses) pushClause(cx, next, segment, spans);
  if (inv.finished) finishInvocation(cx, next);
}
