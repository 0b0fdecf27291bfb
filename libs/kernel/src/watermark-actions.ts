/**
 * What a watermark crossing does beyond its own edge (F-144): the session or turn is degraded, or the fallback of the node
 * that cannot keep up takes over. The plan froze which; a turn does it once (`kernel.md` §3). Settled after dispatch, so that
 * no node is exchanged while it is being given something.
 */
import { noteDegraded } from "./degraded.ts";
import { isSilent } from "./edge-pressure.ts";
import type { EdgeDefinition } from "./graph.ts";
import { cancelInvocation } from "./invocations.ts";
import { runOf } from "./state.ts";
import { type StepContext, signal, status } from "./step-context.ts";

export const WATERMARK_DEGRADE = "watermark_degrade";
export const WATERMARK_FALLBACK = "watermark_fallback";

/** Edges that crossed a mark in this step, in the order in which they did. */
export function settlePressure(cx: StepContext): void {
  for (const { turn, edge, high } of cx.pressured?.splice(0) ?? []) {
    const definition = cx.s.config.graph.edges[edge];
    const action = definition?.buffer.watermark?.action;
    const run = runOf(cx.s, turn);
    // The turn may have got its terminal in this very step.
    if (definition === undefined || run === undefined || isSilent(cx, run)) continue;
    if (action === "degrade" && high) degrade(cx, turn, definition);
    else if (action === "degrade") ease(cx, turn, definition);
    else if (action === "fallback" && high) fallBack(cx, turn, edge);
  }
}

/** The part of a session that an edge's pressure degrades. */
const partOf = (edge: EdgeDefinition): string => `edge:${edge.id}`;

function degrade(cx: StepContext, turn: number, edge: EdgeDefinition): void {
  if (turn === 0) noteDegraded(cx, partOf(edge), WATERMARK_DEGRADE);
  signal(cx, "degrade", "edge", turn, WATERMARK_DEGRADE, { edge: edge.id, node: edge.to.node }, false);
}

/** Only a session recovers; a turn's degradation stands to its end. */
function ease(cx: StepContext, turn: number, edge: EdgeDefinition): void {
  const s = cx.s;
  const at = turn === 0 ? s.degradedBy.indexOf(partOf(edge)) : -1;
  if (at === -1) return;
  s.degradedBy.splice(at, 1);
  s.degraded = s.degradedBy.length > 0;
  signal(cx, "recovered", "edge", 0, "watermark_low", { edge: edge.id, node: edge.to.node }, false);
  status(cx, "recovered");
}

/** The node's own invocation is cut off once another node has what it was given. */
function fallBack(cx: StepContext, turn: number, edge: number): void {
  const index = cx.s.topology.edgeTo[edge] ?? -1;
  const node = runOf(cx.s, turn)?.nodes[index];
  if (node === null || node === undefined) return;
  const inv = cx.s.invocations[node.invocation] ?? null;
  if (!cx.failover(cx, turn, index, inv, WATERMARK_FALLBACK) || inv === null) return;
  cancelInvocation(cx, inv, WATERMARK_FALLBACK);
}
