/**
 * Telemetry by an edge's own rule (F-147): what a node puts on a port for metrics or debugging waits apart from the data of
 * that edge, in its own bounds, for the Telemetry lane. It never takes room of data, nor time (`kernel.md` §4).
 */
import { ringPush, ringShift } from "@rspp/base/ring";
import type { EdgeTelemetry } from "./edge-extras.ts";
import { LANE_NAMES, LANE_TELEMETRY } from "./event.ts";
import type { EdgeDefinition, TelemetryRule } from "./graph.ts";
import { lanePush } from "./lanes.ts";
import { type GraphRun, runOf } from "./state.ts";
import { type StepContext, signal } from "./step-context.ts";

/** Ready items of telemetry bear the edge as a number below -1, which stands for the session's own queue. */
const FIRST = -2;

type Sample = { name: string; value: number; node: number; seq: number };

/** The first edge of the port that has a rule; -1 for none. A sample is told once, however many branches there are. */
export function ruledEdge(run: GraphRun, edges: readonly number[] | undefined): number {
  for (const e of edges ?? []) if (run.edges[e]?.extras?.telemetry) return e;
  return -1;
}

export function offerSample(cx: StepContext, run: GraphRun, e: number, sample: Sample): void {
  const state = run.edges[e]?.extras?.telemetry;
  const rule = cx.s.config.graph.edges[e]?.buffer.lanes?.telemetry;
  if (state === null || state === undefined || rule === undefined) return;
  state.seen += 1;
  const sampled = rule.strategy === "sample" && (state.seen - 1) % (rule.sampleEvery ?? 1) !== 0;
  if (sampled || (full(state) && !makeRoom(cx, state, rule))) return drop(cx, state, sample.seq);
  if (rule.strategy === "latest_only" && state.queue.size > 0) makeRoom(cx, state, rule);
  ringPush(state.queue, sample);
  // One that made room has left its place in the lane to this one.
  lanePush(cx.s.lanes, LANE_TELEMETRY, { due: 0, seq: sample.seq, turn: run.turn, edge: FIRST - e });
}

function full({ queue }: EdgeTelemetry): boolean {
  return queue.size >= queue.capacity;
}

function makeRoom(cx: StepContext, state: EdgeTelemetry, { strategy }: TelemetryRule): boolean {
  if (strategy !== "drop_oldest" && strategy !== "latest_only") return false;
  const elder = ringShift(state.queue);
  if (elder !== undefined) drop(cx, state, elder.seq);
  return elder !== undefined;
}

function drop(cx: StepContext, state: EdgeTelemetry, seq: number): void {
  cx.s.counters.telemetryDropped += 1;
  state.dropped += 1;
  state.from = state.from === 0 ? seq : Math.min(state.from, seq);
  state.to = Math.max(state.to, seq);
}

/** Whether the ready item is one of an edge's telemetry; its sample goes out, and what was dropped before it is told. */
export function tellEdgeSample(cx: StepContext, turn: number, item: number): boolean {
  if (item > FIRST) return false;
  const e = FIRST - item;
  const definition: EdgeDefinition | undefined = cx.s.config.graph.edges[e];
  const state = runOf(cx.s, turn)?.edges[e]?.extras?.telemetry;
  if (state === null || state === undefined || definition === undefined) return true;
  const sample = ringShift(state.queue);
  if (state.from !== 0) {
    const range = { fromSequence: state.from, toSequence: state.to };
    const fields = { edge: definition.id, lane: LANE_NAMES[LANE_TELEMETRY], ...range };
    state.from = 0;
    state.to = 0;
    signal(cx, "drop_notice", "edge", turn, "lane_rule", fields, false);
  }
  if (sample === undefined) return true;
  const node = cx.s.config.graph.nodes[sample.node]?.id ?? "";
  cx.effects.push({ type: "telemetry", name: sample.name, value: sample.value, turn, node });
  return true;
}
