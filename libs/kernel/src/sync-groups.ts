/**
 * Streams that belong together (F-146; F5): what a loss on one edge of a sync domain does to the rest. `atomic_drop`: every
 * other member of the group goes, too, on this edge or on all of the domain, those still to come included.
 * `drop_with_discontinuity`: the rest goes on. Either way a `discontinuity` is told, and the first event behind the
 * gap bears it on each edge, so that its consumer starts anew.
 */
import { ringAt } from "@rspp/base/ring";
import { type EdgeState, edgeDropGroup } from "./edge-buffer.ts";
import type { SyncState } from "./edge-extras.ts";
import type { KernelEvent } from "./event.ts";
import type { EdgeDefinition, SyncSpec } from "./graph.ts";
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
  for (const { id, seq } of sync.lost.splice(0)) {
    if (spec.policy === "atomic_drop" && !dropGroup(run, edges, id)) continue;
    mark(cx, run, e, edges, seq, spec);
  }
  // What the drops themselves lost is of the same groups.
  for (const at of edges) run.edges[at]?.extras?.sync?.lost.splice(0);
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

/** One discontinuity per gap of the edge that lost: what belongs to the same gap is no news, there or elsewhere. */
function mark(cx: StepContext, run: GraphRun, e: number, edges: readonly number[], seq: number, spec: SyncSpec): void {
  if (!addMark(run, e, seq)) return;
  for (const at of edges) if (at !== e) addMark(run, at, seq);
  const edge = cx.s.config.graph.edges[e]?.id ?? "";
  const fields = { syncDomain: spec.group, discontinuityId: seq, edge };
  signal(cx, "discontinuity", "sync", run.turn, spec.policy, fields, false);
}

/** False where the event behind the loss has a discontinuity to bear already. */
function addMark(run: GraphRun, at: number, seq: number): boolean {
  const edge = run.edges[at];
  const sync = edge?.extras?.sync;
  if (edge === null || edge === undefined || sync === null || sync === undefined) return false;
  const bearer = firstFrom(edge, seq);
  if (sync.marks.some((known) => firstFrom(edge, known) === bearer)) return false;
  // Events that were to bear one may have gone since: what came to share its bearer counts once, so that this is bounded.
  if (sync.marks.length >= edge.queue.capacity) sync.marks = [...perBearer(edge, sync.marks)];
  sync.marks.push(seq);
  return true;
}

function perBearer(edge: EdgeState, marks: readonly number[]): Iterable<number> {
  const first = new Map<number, number>();
  for (const seq of marks) {
    const bearer = firstFrom(edge, seq);
    if (!first.has(bearer)) first.set(bearer, seq);
  }
  return first.values();
}

/** Sequence of the first event on the edge from `seq` on; infinite where it is still to come. */
function firstFrom({ queue, waiting }: EdgeState, seq: number): number {
  for (const ring of [queue, waiting])
    for (let i = 0; i < ring.size; i++) {
      const found = (ringAt(ring, i) as KernelEvent).seq;
      if (found >= seq) return found;
    }
  return Number.POSITIVE_INFINITY;
}

/** The discontinuity that an event bears as it leaves its edge: 0 where nothing was lost right before it. */
export function bornBy(sync: SyncState, event: KernelEvent): number {
  const [first] = sync.marks;
  if (first === undefined) return 0;
  const due = sync.marks.filter((seq) => seq <= event.seq);
  if (due.length === 0) return 0;
  sync.marks = sync.marks.filter((seq) => seq > event.seq);
  return Math.min(...due);
}
