/**
 * Host nodes under their soft budget (`kernel.md` §9, §14 F2): one that does not answer must not make the session deaf in
 * silence. There is one timer per node, set when it is first asked and looked at when it fires, so that a node that
 * answers in time costs nothing per frame.
 */
import { type MonoNs, NS_PER_MS } from "@rspp/base/brand";
import { degradeNode, recoverNode } from "./degraded.ts";
import type { AudioBody, KernelEvent } from "./event.ts";
import { lanePush } from "./lanes.ts";
import { type GraphRun, type HostCommand, type NodeRun, runOf } from "./state.ts";
import { cause, type StepContext, setTimer, signal } from "./step-context.ts";

/** A command is given up after as many soft budgets; the warning comes at the first. */
const SOFT_BUDGETS = 2;

/** Asks a host node about one frame. */
export function command(
  cx: StepContext,
  run: GraphRun,
  index: number,
  node: NodeRun,
  event: KernelEvent,
  body: AudioBody,
): void {
  const id = cx.s.nextCommand;
  cx.s.nextCommand += 1;
  node.command = id;
  cx.s.commands[id] = {
    node: index,
    turn: run.turn,
    mediaUs: body.mediaUs,
    durationUs: body.durationUs,
    ingressNs: event.monoNs,
    askedNs: cx.nowNs,
    warned: false,
    next: 0,
  };
  if (!node.watched) watch(cx, run.turn, index, node, cx.nowNs + softNs(cx));
  cx.effects.push({
    type: "node_event",
    command: id,
    node: cx.s.config.graph.nodes[index]?.id ?? "",
    payload: body.payload,
    format: body.format,
    mediaUs: body.mediaUs,
    durationUs: body.durationUs,
  });
}

/** A host node is free again: its next event, the lowest sequence over its edges, becomes ready. */
export function hostReady(cx: StepContext, run: GraphRun, index: number): void {
  let first: { edge: number; event: KernelEvent } | null = null;
  for (const e of cx.s.topology.into[index] ?? []) {
    const edge = run.edges[e];
    const event = edge === null || edge === undefined ? null : edge.queue.items[edge.queue.head];
    if (edge === null || edge === undefined || edge.queue.size === 0 || event === null || event === undefined) continue;
    if (first === null || event.seq < first.event.seq) first = { edge: e, event };
  }
  if (first !== null)
    lanePush(cx.s.lanes, first.event.lane, { due: 0, seq: first.event.seq, turn: run.turn, edge: first.edge });
}

function softNs(cx: StepContext): number {
  return cx.s.config.budgets.nodeSoftMs * NS_PER_MS;
}

function watch(cx: StepContext, turn: number, index: number, node: NodeRun, atNs: number): void {
  node.watched = true;
  setTimer(cx, `node:${turn}:${index}`, atNs as MonoNs);
}

/** The node's timer: what has been in flight too long is warned of, then given up. */
export function onNodeTimer(cx: StepContext, turn: number, index: number): void {
  const node = runOf(cx.s, turn)?.nodes[index];
  if (node === null || node === undefined) return;
  node.watched = false;
  const known = cx.s.commands[node.command];
  if (known === undefined) return;
  const soft = softNs(cx);
  const warnNs = known.askedNs + soft;
  const endNs = known.askedNs + SOFT_BUDGETS * soft;
  if (cx.nowNs >= warnNs) warn(cx, known, Math.max(0, endNs - cx.nowNs));
  if (cx.nowNs >= endNs) giveUpCommand(cx, known, node);
  else watch(cx, turn, index, node, cx.nowNs >= warnNs ? endNs : warnNs);
}

function warn(cx: StepContext, known: HostCommand, leftNs: number): void {
  const id = cx.s.config.graph.nodes[known.node]?.id ?? "";
  // A node known to hang is not warned of at every command.
  if (known.warned || cx.s.degradedBy.includes(id)) return;
  known.warned = true;
  const fields = { node: id, budgetLeft: Math.round(leftNs / NS_PER_MS) };
  signal(cx, "budget_warning", "budget", known.turn, "node_soft", fields, false);
}

/** F2: the command is forgotten, the node reset and asked the next; its late answer means nothing any more. */
function giveUpCommand(cx: StepContext, known: HostCommand, node: NodeRun): void {
  const id = cx.s.config.graph.nodes[known.node]?.id ?? "";
  cx.s.counters.nodeErrors += 1;
  if (!cx.s.degradedBy.includes(id)) {
    signal(cx, "budget_exhausted", "budget", known.turn, "node_soft", { node: id, budgetLeft: 0 }, false);
    signal(cx, "node_error", "node_host", known.turn, "node_timeout", { node: id }, false);
  }
  cx.effects.push({ type: "node_reset", node: id, reason: "node_timeout" });
  delete cx.s.commands[node.command];
  node.command = 0;
  if (known.turn !== 0) return turnNodeFailed(cx, known, "node_timeout");
  degradeNode(cx, id, "node_timeout");
  hostReady(cx, cx.s.run, known.node);
}

/** A node of a turn is of no use any more: its fallback takes over, or the turn ends (F2, T10). */
export function turnNodeFailed(cx: StepContext, known: HostCommand, error: string): void {
  if (!cx.failover(cx, known.turn, known.node, null, error))
    cause(cx, "failure", known.turn, "node_timeout_or_failure");
}

/** The node has answered a command in time. */
export function nodeAnswered(cx: StepContext, known: HostCommand): void {
  if (cx.s.degradedBy.length > 0) recoverNode(cx, cx.s.config.graph.nodes[known.node]?.id ?? "");
}
