/** How events move along edges: offer, overflow, notices, flow control (`kernel.md` §5). */
import type { MonoNs } from "@rspp/base/brand";
import { ringAt, ringForEach, ringPeek, ringPush } from "@rspp/base/ring";
import { COMMITS_AT_ADMISSION, isOn } from "./behaviours.ts";
import { budgetEmitted, budgetOffered, budgetTaken } from "./budget-meter.ts";
import { passesCondition } from "./conditions.ts";
import {
  type EdgeState,
  edgeAdmitWaiting,
  edgeBlockDeadlineNs,
  edgeIsHeld,
  edgeOffer,
  edgeShedExpired,
  edgeShedLate,
  edgeTake,
  type OfferResult,
} from "./edge-buffer.ts";
import type { EdgeExtras } from "./edge-extras.ts";
import {
  cadenceDueNs,
  checkPressure,
  grantCredits,
  hasEnded,
  isPartial,
  isSilent,
  noteDelivery,
  usesSignals,
} from "./edge-pressure.ts";
import { offerSample, ruledEdge } from "./edge-telemetry.ts";
import { type EventBody, type KernelEvent, LANE_DATA, LANE_NAMES, LANE_TELEMETRY } from "./event.ts";
import type { EdgeDefinition } from "./graph.ts";
import { lanePush } from "./lanes.ts";
import { admitsEnqueue } from "./local-admission.ts";
import { findTurn, type GraphRun, type NodeRun, runOf, type TurnState } from "./state.ts";
import { cause, clearTimer, makeEvent, type StepContext, setTimer, signal } from "./step-context.ts";
import { bornBy, settleLosses } from "./sync-groups.ts";

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
    offerTelemetry(cx, run, node, port, event);
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
const TELEMETRY_EDGE = -1;

/** Samples wait apart from data, for their share of a step; full means dropped and counted (`kernel.md` §4; F-142). */
function offerTelemetry(cx: StepContext, run: GraphRun, node: number, port: string, event: KernelEvent): void {
  const { body } = event;
  const { turn } = run;
  if (body.type !== "metrics" && !cx.s.config.debugEvents) return;
  // The text of a debug event may hold what a caller said: only that there was one is passed on.
  const sample =
    body.type === "metrics"
      ? { name: body.name, value: body.value, turn, node }
      : { name: "debug_event", value: 1, turn, node };
  const ruled = ruledEdge(run, cx.s.topology.out[node]?.[port]);
  if (ruled !== -1) return offerSample(cx, run, ruled, { ...sample, seq: event.seq });
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
  if (cx.s.config.graph.admission !== undefined && !admitsEnqueue(cx, run, e, event)) return;
  const result = edgeOffer(edge, definition.buffer, event, cx.nowNs);
  if (target.kind === "output") noteOutput(cx, run, event, result);
  if (edge.extras !== undefined) offered(cx, run, e, edge, edge.extras, target, event, result);
  else if (result === "queued") schedule(cx, run, e, target, event);
  else if (result === "waiting") block(cx, run, e, edge);
  if (run.turn !== 0 && cx.s.config.graph.budgets !== undefined) {
    const turn = findTurn(cx.s, run.turn);
    if (turn !== undefined) budgetOffered(cx, turn, e, event.body, result === "queued");
  }
  // What `sample` leaves out is told with the next that is kept: one notice for each run of them.
  if (edge.noticeFrom !== 0 && result !== "sampled") flushNotice(cx, run, e, edge);
}

/** After an offer to an edge that has more than bounds. */
function offered(
  cx: StepContext,
  run: GraphRun,
  e: number,
  edge: EdgeState,
  x: EdgeExtras,
  target: NodeRun,
  event: KernelEvent,
  result: OfferResult,
): void {
  const definition = cx.s.config.graph.edges[e];
  if (definition === undefined) return;
  grantCredits(cx, run, edge, x, definition);
  // A final that took the place of a partial does not wait for that one's time.
  const hurried = result === "merged" && !isPartial(event);
  if (result === "queued" || hurried) schedulePaced(cx, run, e, edge, x, target, event);
  else if (result === "waiting") block(cx, run, e, edge);
  if (edge.noticeFrom !== 0 && result !== "sampled") flushNotice(cx, run, e, edge);
  settle(cx, run, e, edge, x, definition);
}

/** Whatever the queue holds goes before a final or an end mark, so that neither waits for the time of a partial. */
function schedulePaced(
  cx: StepContext,
  run: GraphRun,
  e: number,
  edge: EdgeState,
  x: EdgeExtras,
  target: NodeRun,
  event: KernelEvent,
): void {
  const definition = cx.s.config.graph.edges[e];
  const paced = definition?.buffer.coalesceMs !== undefined;
  if (definition === undefined || !paced) return schedule(cx, run, e, target, event);
  if (target.kind === "output" || target.command !== 0) return;
  const due = cadenceDueNs(cx, x, definition, event);
  if (due !== 0) {
    x.dueNs = due;
    lanePush(cx.s.lanes, LANE_DATA, { due, seq: event.seq, turn: run.turn, edge: e });
    return armEdge(cx, run, e, edge, definition);
  }
  ringForEach(edge.queue, ({ seq }) => {
    lanePush(cx.s.lanes, LANE_DATA, { due: 0, seq, turn: run.turn, edge: e });
  });
}

/** One timer an edge: for what waits too long, and for the partial whose time has not come. */
function armEdge(cx: StepContext, run: GraphRun, e: number, edge: EdgeState, definition: EdgeDefinition): void {
  const blockNs = edgeBlockDeadlineNs(edge, definition.buffer);
  const dueNs = edge.extras?.dueNs ?? 0;
  const atNs = blockNs === 0 || (dueNs !== 0 && dueNs < blockNs) ? dueNs : blockNs;
  if (atNs !== 0) setTimer(cx, `edge:${run.turn}:${e}`, atNs as MonoNs);
}

/** Pressure, and losses in a sync domain; what they free is let in. */
function settle(
  cx: StepContext,
  run: GraphRun,
  e: number,
  edge: EdgeState,
  x: EdgeExtras,
  definition: EdgeDefinition,
): void {
  if (x.sync !== null && x.sync.lost.length > 0) {
    for (const at of settleLosses(cx, run, e, x.sync, definition)) {
      const other = run.edges[at];
      if (other === null || other === undefined) continue;
      flushNotice(cx, run, at, other);
      if (other.waiting.size > 0) admitWaiting(cx, run, at, other);
    }
  }
  const eased = checkPressure(cx, run, e, edge, x, definition);
  if (eased || edge.waiting.size > 0) admitWaiting(cx, run, e, edge);
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

/**
 * A commit is due when the end of the stream reaches the output, whatever is still to be played (`kernel.md` §2); behind
 * blocked audio it has not reached it, since that may still be shed and is then none of the turn's Data.
 */
function noteOutput(cx: StepContext, run: GraphRun, event: KernelEvent, result: OfferResult): void {
  if (run.turn === 0) return;
  const turn = findTurn(cx.s, run.turn);
  if (turn === undefined) return;
  const atOffer = !isOn(cx.s.config.behaviours, COMMITS_AT_ADMISSION);
  if (event.body.type === "audio" && atOffer) turn.lastDataSequence += 1;
  if (event.body.type === "end" && turn.generating && (atOffer || result !== "waiting")) {
    // Else it is counted at the commit, from what was sent and what is queued.
    if (atOffer) turn.lastDataSequence += 1;
    turn.generating = false;
    cause(cx, "generation_complete", run.turn, "");
  }
}

function block(cx: StepContext, run: GraphRun, e: number, edge: EdgeState): void {
  const definition = cx.s.config.graph.edges[e];
  if (definition === undefined) return;
  armEdge(cx, run, e, edge, definition);
  if (edge.xoff) return;
  edge.xoff = true;
  if (!usesSignals(definition)) return;
  signal(cx, "flow_xoff", "flow_control", run.turn, "edge_full", { edge: definition.id, lane: LANE_NAMES[1] }, false);
}

/** Audio of a reply that never reaches the transport: its words do not count as heard (`kernel.md` §6). */
export function noteUnheard(turn: TurnState | undefined, segment: number, durationUs: number): void {
  const play = turn?.segments[segment];
  if (play !== undefined) play.shedUs += durationUs;
}

/** Of a merge: the group, the event that stands for it, and the first of those it stands for. */
function lineageOf({ extras }: EdgeState): Record<string, string | number> {
  const lineage = extras?.lineage;
  if (extras === undefined || lineage === null || lineage === undefined) return NO_LINEAGE;
  extras.lineage = null;
  const { group, into, from, count } = lineage;
  return { mergeGroup: group, mergedInto: into, mergedFrom: from.join(","), mergedCount: count };
}

const NO_LINEAGE = Object.freeze({});

/** A replay can tell a declared drop from a loss: every drop leaves its sequence range. */
export function flushNotice(cx: StepContext, run: GraphRun, e: number, edge: EdgeState): void {
  const definition = cx.s.config.graph.edges[e];
  if (edge.noticeFrom === 0 || definition === undefined) return;
  const fields = {
    edge: definition.id,
    lane: LANE_NAMES[1],
    fromSequence: edge.noticeFrom,
    toSequence: edge.noticeTo,
    ...lineageOf(edge),
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
  if (edge.extras !== undefined) return takeNoted(cx, run, e, edge, edge.extras, definition);
  const event = edgeTake(edge);
  if (event !== undefined && cx.s.config.graph.budgets !== undefined) meterTaken(cx, run, e, edge);
  if (event !== undefined && edge.waiting.size > 0) admitWaiting(cx, run, e, edge);
  return event;
}

function meterTaken(cx: StepContext, run: GraphRun, e: number, edge: EdgeState): void {
  const turn = run.turn === 0 ? undefined : findTurn(cx.s, run.turn);
  if (turn !== undefined) budgetTaken(cx, turn, e, edge.queue.size);
}

/** From an edge that has more than bounds. What is late by its bound is shed first. */
function takeNoted(
  cx: StepContext,
  run: GraphRun,
  e: number,
  edge: EdgeState,
  x: EdgeExtras,
  definition: EdgeDefinition,
): KernelEvent | undefined {
  shedLate(cx, run, e);
  const sinceNs = x.sinceNs === null ? undefined : ringPeek(x.sinceNs);
  const event = edgeTake(edge);
  if (event !== undefined) noteDelivery(cx, run, x, definition, event, sinceNs);
  if (event !== undefined && cx.s.config.graph.budgets !== undefined) meterTaken(cx, run, e, edge);
  if (grantCredits(cx, run, edge, x, definition) && edge.waiting.size > 0) admitWaiting(cx, run, e, edge);
  const mark = event === undefined || x.sync === null ? 0 : bornBy(x.sync, event);
  settle(cx, run, e, edge, x, definition);
  return event === undefined || mark === 0 ? event : { ...event, discontinuity: mark };
}

/** Before anyone looks at the oldest event of an edge: what has been on it for too long goes (F-143). */
export function shedLate(cx: StepContext, run: GraphRun, e: number): void {
  const edge = run.edges[e];
  const definition = cx.s.config.graph.edges[e];
  if (edge === null || edge === undefined || definition === undefined) return;
  if (edgeShedLate(edge, definition.buffer, cx.nowNs) > 0) flushNotice(cx, run, e, edge);
}

export function admitWaiting(cx: StepContext, run: GraphRun, e: number, edge: EdgeState): void {
  const definition = cx.s.config.graph.edges[e];
  const target = run.nodes[cx.s.topology.edgeTo[e] as number];
  if (definition === undefined || target === null || target === undefined) return;
  const moved = edgeAdmitWaiting(edge, definition.buffer);
  for (let i = edge.queue.size - moved; i < edge.queue.size; i++) {
    const event = ringAt(edge.queue, i);
    if (event === undefined) continue;
    schedule(cx, run, e, target, event);
    if (target.kind === "output" && event.body.type === "end") noteOutput(cx, run, event, "queued");
  }
  if (edge.waiting.size > 0 || !edge.xoff || edgeIsHeld(edge, definition.buffer)) return;
  edge.xoff = false;
  if ((edge.extras?.dueNs ?? 0) === 0) clearTimer(cx, `edge:${run.turn}:${e}`);
  if (!usesSignals(definition)) return;
  // What was recorded before there were credits, or before the commit waited, is told as it was.
  if (isSilent(cx, run) || (definition.buffer.flow !== undefined && hasEnded(cx, run))) return;
  signal(cx, "flow_xon", "flow_control", run.turn, "", { edge: definition.id, lane: LANE_NAMES[1] }, false);
}

/** The block deadline of an edge: what waited too long is shed, what waits on is looked at again (`kernel.md` §5). A partial whose time has come is ready by itself. */
export function onEdgeTimer(cx: StepContext, turn: number, e: number): void {
  const run = runOf(cx.s, turn);
  const edge = run?.edges[e];
  const definition = cx.s.config.graph.edges[e];
  if (run === undefined || edge === null || edge === undefined || definition === undefined) return;
  edgeShedExpired(edge, definition.buffer, cx.nowNs);
  flushNotice(cx, run, e, edge);
  if (edge.extras !== undefined && edge.extras.dueNs <= cx.nowNs) edge.extras.dueNs = 0;
  admitWaiting(cx, run, e, edge);
  if (edge.extras !== undefined) settle(cx, run, e, edge, edge.extras, definition);
  armEdge(cx, run, e, edge, definition);
}
