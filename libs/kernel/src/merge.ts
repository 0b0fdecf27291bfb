/**
 * Merge (F-005): many texts as one stream under a named, versioned rule. Which of two events comes first depends on stamps,
 * input priority and sequence alone, all of them journaled: the same journal gives the same order.
 *
 * `arrival/v1`: as they arrive. Of what is there at the same time the earlier stamp goes first, then the input that stands
 * first in `priority`, then the lower sequence. Nothing waits.
 *
 * `timestamp/v1`: by stamp across the inputs. An event waits until every other input has shown a later stamp or has ended,
 * `wait_ms` at most; what comes after a later one has left is let through at once and counted as late.
 */
import type { MonoNs } from "@rspp/base/brand";
import { NS_PER_MS } from "@rspp/base/brand";
import { ringPeek } from "@rspp/base/ring";
import type { KernelEvent } from "./event.ts";
import { MERGE_HELD_MAX } from "./limits.ts";
import { type GraphRun, type NodeRun, numberSetting, runOf } from "./state.ts";
import { clearTimer, type StepContext, setTimer } from "./step-context.ts";
import { listSetting } from "./text-filter.ts";
import type { MergeRun } from "./text-node-state.ts";
import { emitText, literalText, textRun } from "./text-out.ts";

export const MERGE_RULES = ["arrival/v1", "timestamp/v1"] as const;
const WAIT_MS = 200;

type Held = MergeRun["held"][number];

const inputs = (cx: StepContext, index: number): readonly number[] => cx.s.topology.into[index] ?? [];

/** Place of an input in `priority`, by the node it comes from; what is not named follows in the order of the edges. */
function priorityOf(cx: StepContext, index: number, edge: number): number {
  const order = listSetting(cx.s.config.graph.nodes[index]?.settings ?? {}, "priority");
  const from = cx.s.config.graph.edges[edge]?.from.node ?? "";
  const named = order.indexOf(from);
  return named === -1 ? order.length + inputs(cx, index).indexOf(edge) : named;
}

function byTime(cx: StepContext, index: number): boolean {
  return cx.s.config.graph.nodes[index]?.settings.rule === "timestamp/v1";
}

function before(a: Pick<Held, "event" | "priority">, b: Pick<Held, "event" | "priority">): boolean {
  if (a.event.monoNs !== b.event.monoNs) return a.event.monoNs < b.event.monoNs;
  return a.priority === b.priority ? a.event.seq < b.event.seq : a.priority < b.priority;
}

/** The edge that a merge takes from when one of its inputs is ready. */
export function mergeEdge(cx: StepContext, run: GraphRun, index: number, ready: number): number {
  let best: { edge: number; event: KernelEvent; priority: number } | null = null;
  for (const edge of inputs(cx, index)) {
    const state = run.edges[edge];
    const event = state === null || state === undefined ? undefined : ringPeek(state.queue);
    if (event === undefined) continue;
    const found = { edge, event, priority: priorityOf(cx, index, edge) };
    if (best === null || before(found, best)) best = found;
  }
  return best?.edge ?? ready;
}

function mergeRun(cx: StepContext, index: number, node: NodeRun): MergeRun {
  const run = textRun(node);
  const edges = inputs(cx, index);
  run.merge ??= {
    held: [],
    seenNs: edges.map(() => -1),
    ended: edges.map(() => false),
    lastNs: -1,
    lastEdge: -1,
    gap: null,
    late: 0,
  };
  return run.merge;
}

export function onMergeEvent(
  cx: StepContext,
  run: GraphRun,
  index: number,
  node: NodeRun,
  event: KernelEvent,
  edge: number,
): void {
  const state = mergeRun(cx, index, node);
  const at = inputs(cx, index).indexOf(edge);
  const timed = byTime(cx, index);
  if (event.body.type === "end") state.ended[at] = true;
  else if (event.body.type === "text") {
    state.seenNs[at] = Math.max(state.seenNs[at] ?? -1, event.monoNs);
    const waitMs = numberSetting(cx.s.config.graph.nodes[index]?.settings ?? {}, "wait_ms", WAIT_MS);
    const untilNs = timed ? cx.nowNs + waitMs * NS_PER_MS : 0;
    hold(state, { event, edge, priority: priorityOf(cx, index, edge), untilNs });
  }
  letGo(cx, run, index, state);
  if (!state.ended.every((ended) => ended)) return;
  node.ended = true;
  clearTimer(cx, timerOf(run, index));
  emitText(cx, run, index, { type: "end" }, event);
}

const timerOf = (run: GraphRun, index: number): string => `merge:${run.turn}:${index}`;

function hold(state: MergeRun, item: Held): void {
  let at = state.held.length;
  while (at > 0 && before(item, state.held[at - 1] as Held)) at -= 1;
  state.held.splice(at, 0, item);
}

/** Everything that need not wait any more leaves, in order. */
function letGo(cx: StepContext, run: GraphRun, index: number, state: MergeRun): void {
  for (let first = state.held[0]; first !== undefined; first = state.held[0]) {
    const late = first.event.monoNs < state.lastNs;
    const full = state.held.length > MERGE_HELD_MAX;
    const due = state.held.some((item) => item.untilNs <= cx.nowNs);
    if (!late && !full && !due && !othersPast(cx, index, state, first)) break;
    state.held.shift();
    if (late) countLate(cx, run, index, state);
    pass(cx, run, index, state, first);
  }
  const dueNs = Math.min(...state.held.map((item) => item.untilNs));
  if (state.held.length === 0) clearTimer(cx, timerOf(run, index));
  else setTimer(cx, timerOf(run, index), dueNs as MonoNs);
}

function othersPast(cx: StepContext, index: number, state: MergeRun, item: Held): boolean {
  return inputs(cx, index).every(
    (edge, at) => edge === item.edge || state.ended[at] === true || (state.seenNs[at] ?? -1) > item.event.monoNs,
  );
}

function countLate(cx: StepContext, run: GraphRun, index: number, state: MergeRun): void {
  state.late += 1;
  const node = cx.s.config.graph.nodes[index]?.id ?? "";
  cx.effects.push({ type: "telemetry", name: "merge_late", value: 1, turn: run.turn, node });
}

/** Text of another input is parted from what came before it. */
function pass(cx: StepContext, run: GraphRun, index: number, state: MergeRun, { event, edge }: Held): void {
  const { body } = event;
  if (body.type !== "text") return;
  const apart = state.lastEdge !== -1 && state.lastEdge !== edge;
  if (apart) state.gap ??= literalText(cx, run.turn, " ");
  const spans = apart && state.gap !== null ? [state.gap, ...body.spans] : body.spans;
  state.lastNs = Math.max(state.lastNs, event.monoNs);
  state.lastEdge = edge;
  emitText(cx, run, index, apart ? { ...body, spans, chars: body.chars + 1 } : body, event);
}

/** The wait of the oldest is over. */
export function onMergeTimer(cx: StepContext, turn: number, index: number): void {
  const run = runOf(cx.s, turn);
  const node = run?.nodes[index];
  const state = node?.text?.merge;
  if (run === undefined || node === null || node === undefined || node.ended || state === undefined) return;
  letGo(cx, run, index, state);
}
