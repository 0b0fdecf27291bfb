/** How events move along edges: offer, overflow, notices, flow control (`kernel.md` §5). */
import type { MonoNs } from "@rspp/base/brand";
import { ringAt, ringPush } from "@rspp/base/ring";
import { budgetEmitted, budgetOffered, budgetTaken } from "./budget-meter.ts";
import { passesCondition } from "./conditions.ts";
import {
  type EdgeState,
  edgeAdmitWaiting,
  edgeBlockDeadlineNs,
  edgeOffer,
  edgeShedExpired,
  edgeTake,
} from "./edge-buffer.ts";
import { type EventBody, type KernelEvent, LANE_NAMES, LANE_TELEMETRY } from "./event.ts";
import type { EdgeDefinition } from "./graph.ts";
import { lanePush } from "./lanes.ts";
import { findTurn, type GraphRun, type NodeRun, runOf, type TurnState } from "./state.ts";
import { cause, clearTimer, makeEvent, type StepContext, setTimer, signal } from "./step-context.ts";

/** Emits on an output port: every edge of the port gets the same event once, in the order of the spec (F-004). */
export function emit(
  cx: StepContext,
  run: GraphRun,
  node: number,
  port: string,
  body: EventBody,
  causeSeq: number,
): KernelEvent {
  const turn = run.turn === 0 ? undefined : findTurn(cx.s, run.turn);
  const event = makeEvent(cx, run.turn, turn?.generation ?? 0, body, causeSeq);
  if (event.lane === LANE_TELEMETRY) {
    offerTelemetry(cx, run.turn, node, event);
    return event;
  }
  if (turn !== undefined) noteOrder(turn, event);
  if (turn?.budgets !== undefined) budgetEmitted(cx, turn, node, body);
  const edges = cx.s.topology.out[node]?.[port];
  if (edges !== undefined) for (const e of edges) offer(cx, run, e, event);
  return event;
}

/** Ordering marker of the turn's Data lane (F-150). */
export function noteOrder(turn: TurnState, event: KernelEvent): void {
  if (turn.dataFirst === 0) turn.dataFirst = event.seq;
  turn.dataLast = event.seq;
}

/** Ready items of this edge number stand for a telemetry sample, not for an event on an edge. */
export const TELEMETRY_EDGE = -1;

/** Samples wait apart from data, for their share of a step; full means dropped and counted (`kernel.md` §4; F-142). */
function offerTelemetry(cx: StepContext, turn: number, node: number, event: KernelEvent): void {
  const { body } = event;
  if (body.type !== "metrics" && !cx.s.config.debugEvents) return;
  // The text of a debug event may hold what a caller said: only that there was one is passed on.
  const sample =
    body.type === "metrics"
      ? { name: body.name, value: body.value, turn, node }
      : { name: "debug_event", value: 1, turn, node };
  if (ringPush(cx.s.telemetry, sample))
    lanePush(cx.s.lanes, LANE_TELEMETRY, { due: 0, seq: event.seq, turn: 0, edge: TELEMETRY_EDGE });
  else cx.s.counters.telemetryDropped += 1;
}

/** Puts an event on one edge by its BufferSpec. */
export function offer(cx: StepContext, run: GraphRun, e: number, event: KernelEvent): void {
  const edge = run.edges[e];
  if (edge === null || edge === undefined) return;
  const definition = cx.s.config.graph.edges[e];
  const target = run.nodes[cx.s.topology.edgeTo[e] as number];
  if (definition === undefined || target === null || target === undefined) return;
  if (definition.condition !== undefined && !travels(cx, run, edge, definition, target, event)) return;
  if (target.kind === "output") noteOutput(cx, run, event);
  const result = edgeOffer(edge, definition.buffer, event, cx.nowNs);
  if (result === "queued") schedule(cx, run, e, target, event);
  else if (result === "waiting") block(cx, run, e, edge);
  if (run.turn !== 0 && cx.s.config.graph.budgets !== undefined) {
    const turn = findTurn(cx.s, run.turn);
    if (turn !== undefined) budgetOffered(cx, turn, e, event.body, result === "queued");
  }
  if (edge.noticeFrom !== 0) flushNotice(cx, run, e, edge);
}

/** Audio of a reply that its condition keeps from the output is never heard. */
function travels(
  cx: StepContext,
  run: GraphRun,
  edge: EdgeState,
  definition: EdgeDefinition,
  target: NodeRun,
  event: KernelEvent,
): boolean {
  const { condition } = definition;
  const { body } = event;
  if (condition === undefined || body.type === "end") return true;
  if (passesCondition(cx, run, edge, definition, condition, event)) return true;
  if (target.kind === "output" && body.type === "audio")
    noteUnheard(findTurn(cx.s, run.turn), body.segment, body.durationUs);
  return false;
}

/** Output nodes pull, busy host nodes ask again when they are done; all others are told. */
function schedule(cx: StepContext, run: GraphRun, e: number, target: NodeRun, event: KernelEvent): void {
  if (target.kind === "output" || target.command !== 0) return;
  lanePush(cx.s.lanes, event.lane, { due: 0, seq: event.seq, turn: run.turn, edge: e });
}

/** A commit is due when the end of the stream reaches the output, whatever is still to be played (`kernel.md` §2). */
function noteOutput(cx: StepContext, run: GraphRun, event: KernelEvent): void {
  if (run.turn === 0) return;
  const turn = findTurn(cx.s, run.turn);
  if (turn === undefined) return;
  if (event.body.type === "audio") turn.lastDataSequence += 1;
  if (event.body.type === "end" && turn.generating) {
    turn.lastDataSequence += 1;
    turn.generating = false;
    cause(cx, "generation_complete", run.turn, "");
  }
}

function block(cx: StepContext, run: GraphRun, e: number, edge: EdgeState): void {
  const definition = cx.s.config.graph.edges[e];
  if (definition === undefined) return;
  setTimer(cx, `edge:${run.turn}:${e}`, edgeBlockDeadlineNs(edge, definition.buffer) as MonoNs);
  if (edge.xoff) return;
  edge.xoff = true;
  signal(cx, "flow_xoff", "flow_control", run.turn, "edge_full", { edge: definition.id, lane: LANE_NAMES[1] }, false);
}

/** Audio of a reply that never reaches the transport: its words do not count as heard (`kernel.md` §6). */
export function noteUnheard(turn: TurnState | undefined, segment: number, durationUs: number): void {
  const play = turn?.segments[segment];
  if (play !== undefined) play.shedUs += durationUs;
}

/** A replay can tell a declared drop from a loss: every drop leaves its sequence range. */
export function flushNotice(cx: StepContext, run: GraphRun, e: number, edge: EdgeState): void {
  const definition = cx.s.config.graph.edges[e];
  if (edge.noticeFrom === 0 || definition === undefined) return;
  const fields = {
    edge: definition.id,
    lane: LANE_NAMES[1],
    fromSequence: edge.noticeFrom,
    toSequence: edge.noticeTo,
  };
  const reason = edge.noticeReason;
  edge.noticeFrom = 0;
  edge.noticeTo = 0;
  edge.noticeReason = "";
  for (const { segment, durationUs } of edge.shed) noteUnheard(findTurn(cx.s, run.turn), segment, durationUs);
  edge.shed = [];
  signal(cx, "drop_notice", "edge", run.turn, reason, fields, false);
}

/** Takes the oldest event of an edge and lets blocked ones move up. */
export function take(cx: StepContext, run: GraphRun, e: number): KernelEvent | undefined {
  const edge = run.edges[e];
  const definition = cx.s.config.graph.edges[e];
  if (edge === null || edge === undefined || definition === undefined) return undefined;
  const event = edgeTake(edge);
  if (event !== undefined && run.turn !== 0 && cx.s.config.graph.budgets !== undefined) {
    const turn = findTurn(cx.s, run.turn);
    if (turn !== undefined) budgetTaken(cx, turn, e, edge.queue.size);
  }
  if (event !== undefined && edge.waiting.size > 0) admitWaiting(cx, run, e, edge);
  return event;
}

export function admitWaiting(cx: StepContext, run: GraphRun, e: number, edge: EdgeState): void {
  const definition = cx.s.config.graph.edges[e];
  const target = run.nodes[cx.s.topology.edgeTo[e] as number];
  if (definition === undefined || target === null || target === undefined) return;
  const moved = edgeAdmitWaiting(edge, definition.buffer);
  for (let i = edge.queue.size - moved; i < edge.queue.size; i++) {
    const event = ringAt(edge.queue, i);
    if (event !== undefined) schedule(cx, run, e, target, event);
  }
  if (edge.waiting.size > 0 || !edge.xoff) return;
  edge.xoff = false;
  clearTimer(cx, `edge:${run.turn}:${e}`);
  signal(cx, "flow_xon", "flow_control", run.turn, "", { edge: definition.id, lane: LANE_NAMES[1] }, false);
}

/** The block deadline of an edge: what waited too long is shed, what waits on is looked at again (`kernel.md` §5). */
export function onEdgeTimer(cx: StepContext, turn: number, e: number): void {
  const run = runOf(cx.s, turn);
  const edge = run?.edges[e];
  const definition = cx.s.config.graph.edges[e];
  if (run === undefined || edge === null || edge === undefined || definition === undefined) return;
  edgeShedExpired(edge, definition.buffer, cx.nowNs);
  flushNotice(cx, run, e, edge);
  admitWaiting(cx, run, e, edge);
  const deadlineNs = edgeBlockDeadlineNs(edge, definition.buffer);
  if (deadlineNs !== 0) setTimer(cx, `edge:${turn}:${e}`, deadlineNs as MonoNs);
}
