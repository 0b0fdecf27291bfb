/**
 * Select (F-006): the text of one input passes, chosen by the first condition that holds when the turn's first text comes
 * in; the choice stands for the turn. Where it differs from that of the turn before, an audit event says so.
 */
import { type Choice, parseChoice } from "./choice.ts";
import { askCondition } from "./conditions.ts";
import type { KernelEvent } from "./event.ts";
import { NODE_KINDS } from "./graph.ts";
import { boundCandidates, candidatesOf } from "./policy-binding.ts";
import { findTurn, type GraphRun, type NodeRun } from "./state.ts";
import { type StepContext, signal } from "./step-context.ts";
import { languageAmong, listSetting } from "./text-filter.ts";
import { countDropped, emitText, textRun } from "./text-out.ts";

export function onSelectEvent(
  cx: StepContext,
  run: GraphRun,
  index: number,
  node: NodeRun,
  event: KernelEvent,
  edge: number,
): void {
  const state = textRun(node);
  state.select ??= { chosen: choose(cx, run, index, event) };
  const chosen = edge === state.select.chosen;
  if (event.body.type === "text") {
    if (chosen) emitText(cx, run, index, event.body, event);
    else countDropped(cx, run, index, node, "select_dropped");
    return;
  }
  if (event.body.type !== "end" || !chosen) return;
  node.ended = true;
  emitText(cx, run, index, { type: "end" }, event);
}

/** The edge of the first condition that holds; the last one where none does, which the spec does not let happen. */
function choose(cx: StepContext, run: GraphRun, index: number, event: KernelEvent): number {
  const { config, topology } = cx.s;
  const node = config.graph.nodes[index];
  const edges = topology.into[index] ?? [];
  const choices = listSetting(node?.settings ?? {}, "choose").flatMap((line) => parseChoice(line) ?? []);
  const edgeOf = (input: string): number => edges.find((e) => config.graph.edges[e]?.from.node === input) ?? -1;
  const found = choices.find(
    (choice) => edgeOf(choice.input) !== -1 && holds(cx, run, choice, edgeOf(choice.input), event),
  );
  const edge = found === undefined ? (edges.at(-1) ?? -1) : edgeOf(found.input);
  tell(cx, run, node?.id ?? "", config.graph.edges[edge]?.from.node ?? "", found);
  return edge;
}

function holds(cx: StepContext, run: GraphRun, choice: Choice, edge: number, event: KernelEvent): boolean {
  const { attribute, values } = choice;
  if (attribute === "when") return askCondition(cx, values[0] ?? "", run.turn, event) === true;
  if (attribute === "") return true;
  if (attribute === "language") return languageAmong(languageOf(cx), values);
  const source = providerAbove(cx, edge);
  if (attribute === "provider") return values.includes(providerOf(cx, run, source));
  if (attribute === "health") return values.includes(isHealthy(cx, source) ? "healthy" : "degraded");
  const value = cx.s.config.variables[attribute.slice("variable.".length)];
  return value !== undefined && values.includes(String(value));
}

/** What the caller spoke last; before that the session's own `language`. */
function languageOf(cx: StepContext): string {
  return cx.s.language ?? String(cx.s.config.variables.language ?? "");
}

/** The nearest provider node that the text of this edge comes from; -1 for none. */
function providerAbove(cx: StepContext, edge: number): number {
  const { topology, config } = cx.s;
  for (let node = topology.edgeFrom[edge]; node !== undefined; ) {
    const kind = config.graph.nodes[node]?.kind;
    if (kind !== undefined && NODE_KINDS[kind].execution === "provider") return node;
    const above = topology.into[node]?.[0];
    node = above === undefined ? undefined : topology.edgeFrom[above];
  }
  return -1;
}

/** The candidate that serves the node in this turn; the first of the plan before it was asked. */
function providerOf(cx: StepContext, run: GraphRun, node: number): string {
  const definition = cx.s.config.graph.nodes[node];
  const open = cx.s.invocations[run.nodes[node]?.invocation ?? 0];
  if (open !== undefined) return candidatesOf(cx, open)[open.candidate]?.provider ?? "";
  const ended = findTurn(cx.s, run.turn)?.invocations.findLast((inv) => inv.node === definition?.id);
  const first = (boundCandidates(cx, node, run.turn) ?? definition?.candidates)?.[0];
  return ended?.provider ?? first?.provider ?? "";
}

function isHealthy(cx: StepContext, node: number): boolean {
  return !cx.s.degradedBy.includes(cx.s.config.graph.nodes[node]?.id ?? "");
}

function tell(cx: StepContext, run: GraphRun, id: string, input: string, found: Choice | undefined): void {
  const before = cx.s.selected?.[id];
  if (before === input) return;
  cx.s.selected = { ...cx.s.selected, [id]: input };
  const condition =
    found === undefined || found.attribute === "" ? "otherwise" : `${found.attribute}=${found.values.join(",")}`;
  const fields = { node: id, condition, input, ...(before === undefined ? {} : { inputBefore: before }) };
  signal(cx, "route_decision", "executor", run.turn, "condition", fields, false);
}
