/**
 * Local admission (`kernel.md` §5, §14 F1): at three scheduling points a session that has too much to do sheds live events
 * of the caller, newest at the enqueue, stale at the dequeue, beyond its share at the dispatch. What a turn has produced is
 * never shed here, nor an end mark. Told once per step, point and edge, with count and sequence range, so that a replay
 * tells a declared loss from another.
 */
import { NS_PER_MS } from "@rspp/base/brand";
import type { KernelEvent } from "./event.ts";
import { LANE_NAMES } from "./event.ts";
import type { GraphRun } from "./state.ts";
import { type StepContext, signal } from "./step-context.ts";

export type SchedulingPoint = "edge_enqueue" | "edge_dequeue" | "node_dispatch";

/** What was shed at one point of one edge in this step. */
export interface Shed {
  point: SchedulingPoint;
  edge: number;
  count: number;
  from: number;
  to: number;
}

const REASONS = { edge_enqueue: "queue_full", edge_dequeue: "queue_time", node_dispatch: "capacity" } as const;

/** Live data of the caller: session scope, and no end of anything. */
function sheddable(run: GraphRun, event: KernelEvent): boolean {
  const { body } = event;
  if (run.turn !== 0) return false;
  return body.type === "audio" || body.type === "activity" || (body.type === "text" && !body.final);
}

export function admitsEnqueue(cx: StepContext, run: GraphRun, e: number, event: KernelEvent): boolean {
  const max = cx.s.config.graph.admission?.queuedMax;
  if (max === undefined || !sheddable(run, event) || queued(cx) < max) return true;
  return shed(cx, "edge_enqueue", e, event);
}

function queued(cx: StepContext): number {
  let items = 0;
  for (const run of [cx.s.run, ...cx.s.turns.map((turn) => turn.run)])
    for (const edge of run.edges) items += edge?.queue.size ?? 0;
  return items;
}

export function admitsDequeue(cx: StepContext, run: GraphRun, e: number, event: KernelEvent): boolean {
  const maxMs = cx.s.config.graph.admission?.ageMaxMs;
  if (maxMs === undefined || !sheddable(run, event) || cx.nowNs - event.monoNs <= maxMs * NS_PER_MS) return true;
  return shed(cx, "edge_dequeue", e, event);
}

/** `given`: events that nodes of the session were given in this step. */
export function admitsDispatch(cx: StepContext, run: GraphRun, e: number, event: KernelEvent): boolean {
  const max = cx.s.config.graph.admission?.dispatchMax;
  if (max === undefined || !sheddable(run, event)) return true;
  cx.dispatched.count += 1;
  if (cx.dispatched.count <= max) return true;
  return shed(cx, "node_dispatch", e, event);
}

function shed(cx: StepContext, point: SchedulingPoint, edge: number, event: KernelEvent): false {
  const known = cx.sheds.find((one) => one.point === point && one.edge === edge);
  if (known === undefined) cx.sheds.push({ point, edge, count: 1, from: event.seq, to: event.seq });
  else {
    known.count += 1;
    known.to = Math.max(known.to, event.seq);
  }
  return false;
}

/** At the end of the step. */
export function tellSheds(cx: StepContext): void {
  for (const { point, edge, count, from, to } of cx.sheds) {
    signal(
      cx,
      "shed",
      "local_admission",
      0,
      REASONS[point],
      {
        scope: point,
        edge: cx.s.config.graph.edges[edge]?.id ?? "",
        lane: LANE_NAMES[1],
        count,
        fromSequence: from,
        toSequence: to,
      },
      false,
    );
  }
  cx.sheds.length = 0;
}
