/**
 * Text nodes inside a turn (F-010): what feeds a filter, compliance, translator, merge or select node, and what ends it.
 * Each is a stage of a DAG of edges; bounds, flow control, cancel and fence are those of the edges and the turn.
 */
import { onComplianceEnd, onComplianceText } from "./compliance.ts";
import type { KernelEvent, TextBody } from "./event.ts";
import { onMergeEvent } from "./merge.ts";
import { onSelectEvent } from "./select.ts";
import type { GraphRun, NodeRun } from "./state.ts";
import type { StepContext } from "./step-context.ts";
import { onFilterText } from "./text-filter.ts";
import { emitText } from "./text-out.ts";
import { onTranslatorEnd, onTranslatorText } from "./translator.ts";

/** Nodes with many inputs are given each event with the edge it came on, end marks too. */
export function isJunction(node: NodeRun): boolean {
  return node.kind === "merge" || node.kind === "select";
}

export function onJunction(
  cx: StepContext,
  run: GraphRun,
  index: number,
  node: NodeRun,
  event: KernelEvent,
  edge: number,
): void {
  if (node.ended) return;
  if (node.kind === "merge") onMergeEvent(cx, run, index, node, event, edge);
  else onSelectEvent(cx, run, index, node, event, edge);
}

export function onText(
  cx: StepContext,
  run: GraphRun,
  index: number,
  node: NodeRun,
  event: KernelEvent,
  body: TextBody,
): void {
  if (node.ended) return;
  if (node.kind === "filter") onFilterText(cx, run, index, node, event, body);
  else if (node.kind === "compliance") onComplianceText(cx, run, index, node, event, body);
  else if (node.kind === "translator") onTranslatorText(cx, run, index, node, event, body);
}

export function onTextEnd(cx: StepContext, run: GraphRun, index: number, node: NodeRun, event: KernelEvent): void {
  if (node.ended) return;
  if (node.kind === "translator") return onTranslatorEnd(cx, run, index, node, event);
  if (node.kind === "compliance") onComplianceEnd(cx, run, index, node, event);
  node.ended = true;
  emitText(cx, run, index, { type: "end" }, event);
}
