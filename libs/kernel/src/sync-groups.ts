/**
 * Streams that belong together (F-146; F5): what a loss on one edge of a sync domain does to the rest. `atomic_drop`: every
 * other member of the group goes, too, on this edge or on all of the domain, those still to come included.
 * `drop_with_discontinuity`: the rest goes on. Either way a `discontinuity` is told, and the next event that each edge
 * delivers bears it, so that its consumer starts anew.
 */
import { edgeDropGroup } from "./edge-buffer.ts";
import type { SyncState } from "./edge-extras.ts";
import type { EdgeDefinition } from "./graph.ts";
import type { GraphRun } from "./state.ts";
import { type StepContext, signal } from "./step-context.ts";

/** Deals with the losses that an offer or a take has left; answers the edges from which more was taken. */
export function settleLosses(
  cx: StepContext,
  run: GraphRun,
  e: number,
  sync: SyncState,
  definition: EdgeDefinition,
): number[] {
  const spec = definition.buffer.sync;
  if (spec === undefined || sync.lost.length === 0) return [];
  const edges = spec.scope === "edge_local" ? [e] : domainEdges(cx, run, spec.group);
  const lost = sync.lost.splice(0);
  let from = 0;
  for (const { id, seq } of lost) {
    if (spec.policy === "atomic_drop" && !dropGroup(run, edges, id)) continue;
    from = from === 0 ? seq : Math.min(from, seq);
  }
  // What the drops themselves lost is of the same groups.
  for (const at of edges) run.edges[at]?.extras?.sync?.lost.splice(0);
  if (from !== 0) mark(cx, run, e, edges, from, definition);
  return spec.policy === "atomic_drop" ? edges : [];
}

function domainEdges(cx: StepContext, run: GraphRun, group: string): number[] {
  return cx.s.config.graph.edges.flatMap((edge, at) =>
    edge.buffer.sync?.group === group && run.edges[at]?.extras?.sync ? [at] : [],
  );
}

/** False where the group had been dropped before. */
function dropGroup(run: GraphRun, edges: readonly number[], id: number): boolean {
  let news = false;
  for (const at of edges) {
    const edge = run.edges[at];
    const sync = edge?.extras?.sync;
    if (edge === null || edge === undefined || sync === null || sync === undefined) continue;
    if (sync.dropped.items.includes(id)) continue;
    edgeDropGroup(edge, id);
    news = true;
  }
  return news;
}

/** One discontinuity per gap: while each of the edges still has one to deliver, more of it is no news. */
function mark(
  cx: StepContext,
  run: GraphRun,
  e: number,
  edges: readonly number[],
  seq: number,
  definition: EdgeDefinition,
): void {
  let news = false;
  for (const at of edges) {
    const sync = run.edges[at]?.extras?.sync;
    if (sync === null || sync === undefined || sync.mark !== 0) continue;
    sync.mark = seq;
    news = true;
  }
  const spec = definition.buffer.sync;
  if (!news || spec === undefined) return;
  const edge = cx.s.config.graph.edges[e]?.id ?? "";
  const fields = { syncDomain: spec.group, discontinuityId: seq, edge };
  signal(cx, "discontinuity", "sync", run.turn, spec.policy, fields, false);
}
