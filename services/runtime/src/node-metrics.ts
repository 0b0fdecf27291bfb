/**
 * Nodes and edges of a session's graph, measured from outside: the kernel counts on its edges as it goes, and is looked at
 * where a step ends (`kernel.md` §10: stamped by the shell, never inside one step). Nothing here is asked per event.
 */
import { type GraphDefinition, NODE_KINDS, type NodeKindDefinition } from "@rspp/kernel/graph";
import type { GraphRun, NodeRun } from "@rspp/kernel/state";
import type { Histogram } from "@rspp/telemetry/histogram";
import type { Counter, Gauge } from "@rspp/telemetry/metric-registry";
import type { TurnView } from "./kernel-port.ts";
import type { Metrics } from "./metrics.ts";

interface NodeSeries {
  readonly id: string;
  readonly kind: string;
  readonly execution: NodeKindDefinition["execution"];
  /** Lives as long as the session; else one is made for each turn. */
  readonly ofSession: boolean;
  readonly into: readonly number[];
  readonly out: readonly number[];
  readonly firstOutput: Histogram;
  readonly run: Histogram;
}

interface EdgeSeries {
  readonly id: string;
  readonly depth: Gauge;
  readonly high: Gauge;
  readonly events: Counter;
  readonly dropped: Counter;
  readonly merged: Counter;
  readonly wait: Histogram;
}

export interface GraphSeries {
  readonly nodes: readonly NodeSeries[];
  readonly edges: readonly EdgeSeries[];
  readonly nodeNamed: ReadonlyMap<string, NodeSeries>;
  /** Edges on which something may wait when a step has done all it could: into outputs and into nodes that take time. */
  readonly queues: readonly number[];
  readonly every: readonly number[];
  /** Pure nodes of the session's own part that take events in. */
  readonly lasting: readonly number[];
}

/** The series of each graph, looked up once for all its sessions. */
export class GraphMetrics {
  readonly metrics: Metrics;
  private readonly known = new WeakMap<GraphDefinition, GraphSeries>();

  constructor(metrics: Metrics) {
    this.metrics = metrics;
  }

  series(graph: GraphDefinition): GraphSeries {
    const known = this.known.get(graph);
    if (known !== undefined) return known;
    const { of } = this.metrics;
    const edgesOf = (end: "from" | "to", id: string) =>
      graph.edges.flatMap((edge, e) => (edge[end].node === id ? [e] : []));
    const nodes = graph.nodes.map(({ id, kind, scope }) => ({
      id,
      kind,
      execution: NODE_KINDS[kind].execution,
      ofSession: scope === "session",
      into: edgesOf("to", id),
      out: edgesOf("from", id),
      firstOutput: of.nodeFirstOutput.with(id, kind),
      run: of.nodeRun.with(id, kind),
    }));
    const edges = graph.edges.map(({ id }) => ({
      id,
      depth: of.edgeDepth.with(id),
      high: of.edgeHigh.with(id),
      events: of.edgeEvents.with(id),
      dropped: of.edgeDropped.with(id),
      merged: of.edgeMerged.with(id),
      wait: of.edgeWait.with(id),
    }));
    const queues = nodes.flatMap(({ kind, execution, into }) =>
      kind === "output" || execution === "host" ? into : [],
    );
    const lasting = nodes.flatMap(({ execution, ofSession, into }, i) =>
      ofSession && execution === "pure" && into.length > 0 ? [i] : [],
    );
    const made = {
      nodes,
      edges,
      nodeNamed: new Map(nodes.map((node) => [node.id, node])),
      queues,
      every: edges.map((_, e) => e),
      lasting,
    };
    this.known.set(graph, made);
    return made;
  }
}

const TIMED_RISES = 16;

/** What of an edge's counts has been told already. */
interface Told {
  accepted: number;
  dropped: number;
  merged: number;
}

/** One run of a graph under way: the session's own, or a turn's. */
class WatchedRun {
  readonly run: GraphRun;
  readonly turn: TurnView | null;
  readonly firstInNs: number[];
  readonly firstOutNs: number[];
  readonly endNs: number[];
  /** Nodes not yet done. */
  left = 0;
  private readonly told: Told[];
  private readonly pending: boolean[];

  constructor(run: GraphRun, turn: TurnView | null) {
    this.run = run;
    this.turn = turn;
    this.firstInNs = run.nodes.map(() => 0);
    this.firstOutNs = run.nodes.map(() => 0);
    this.endNs = run.nodes.map(() => 0);
    this.told = run.edges.map(() => ({ accepted: 0, dropped: 0, merged: 0 }));
    this.pending = run.nodes.map((node) => turn !== null && node !== null);
    this.left = this.pending.filter(Boolean).length;
  }

  /** After a step that was polled at `pollNs`, and whose effects have left. */
  look(series: GraphSeries, pollNs: number, nowNs: () => number, onDone: (node: NodeSeries, i: number) => void): void {
    for (let i = 0; i < this.pending.length; i++) {
      if (!this.pending[i]) continue;
      const node = series.nodes[i] as NodeSeries;
      if (this.firstInNs[i] === 0) {
        if (!this.touched(node.into) && node.into.length > 0) continue;
        this.firstInNs[i] = pollNs;
      }
      const out = this.firstOutNs[i] === 0 && this.emitted(node);
      const done = this.isDone(this.run.nodes[i] as NodeRun, node);
      // Most steps bring neither, and look at no clock.
      if (!out && !done) continue;
      const doneNs = nowNs();
      if (out) {
        this.firstOutNs[i] = doneNs;
        node.firstOutput.record(doneNs - (this.firstInNs[i] as number));
      }
      if (!done) continue;
      this.pending[i] = false;
      this.left -= 1;
      this.endNs[i] = doneNs;
      node.run.record(doneNs - (this.firstInNs[i] as number));
      onDone(node, i);
    }
  }

  /** Adds what the edges have counted since the last time. */
  tell(series: GraphSeries): void {
    for (let e = 0; e < this.run.edges.length; e++) {
      const edge = this.run.edges[e];
      if (edge === null || edge === undefined) continue;
      const told = this.told[e] as Told;
      const to = series.edges[e] as EdgeSeries;
      to.depth.value += edge.queue.size + edge.waiting.size;
      // An evicted event was shed to make room: the same loss as one that was never let in.
      const dropped = edge.dropped + edge.evicted;
      to.events.value += edge.accepted - told.accepted;
      to.dropped.value += dropped - told.dropped;
      to.merged.value += edge.merged - told.merged;
      told.accepted = edge.accepted;
      told.dropped = dropped;
      told.merged = edge.merged;
    }
  }

  private touched(edges: readonly number[]): boolean {
    for (const e of edges) {
      const edge = this.run.edges[e];
      if (edge !== null && edge !== undefined && edge.accepted + edge.waiting.size + edge.dropped > 0) return true;
    }
    return false;
  }

  /** An output's first output is the first frame that leaves for the transport. */
  private emitted(node: NodeSeries): boolean {
    return node.kind === "output" ? (this.turn?.anchors.firstOutputNs ?? 0) > 0 : this.touched(node.out);
  }

  private isDone(node: NodeRun, { execution }: NodeSeries): boolean {
    if (node.kind === "output") return this.turn?.output.endSent ?? false;
    return node.ended || (execution === "pure" && node.endsAwaited <= 0);
  }
}

export interface NodeSpan {
  readonly node: string;
  readonly kind: string;
  readonly startNs: number;
  /** 0 where nothing came out. */
  readonly firstOutNs: number;
  /** 0 where it had not ended. */
  readonly endNs: number;
}

/** In-band metrics (F-026): value in the unit of the name; node or edge where one is meant, else "". */
export type TellMetric = (name: string, value: number, turn: number, node: string, edge: string) => void;

/** Graph of one session under way. */
export class SessionGraph {
  private readonly series: GraphSeries;
  private readonly session: WatchedRun;
  private readonly turns: WatchedRun[] = [];
  private readonly tellMetric: TellMetric;
  /** Of each pure node of the session: events taken in, and for how many steps that had risen. */
  private readonly taken: number[];
  private readonly rises: number[];
  private readonly high: number[];

  constructor(series: GraphSeries, run: GraphRun, tell: TellMetric) {
    this.series = series;
    this.session = new WatchedRun(run, null);
    this.tellMetric = tell;
    this.high = series.edges.map(() => 0);
    this.taken = series.nodes.map(() => 0);
    this.rises = series.nodes.map(() => 0);
  }

  opened(turn: TurnView): void {
    this.turns.push(new WatchedRun(turn.run, turn));
  }

  /** After each step. */
  stepped(pollNs: number, nowNs: () => number): void {
    this.worked(pollNs, nowNs);
    for (const watched of this.turns) {
      if (watched.left === 0) continue;
      watched.look(this.series, pollNs, nowNs, (node, i) => this.nodeDone(watched, node, i));
    }
  }

  /** @param all the step has left work behind, so that events may wait on any edge. */
  depths(all: boolean): void {
    const { queues, every } = this.series;
    const edges = all ? every : queues;
    this.deepest(this.session.run, edges);
    for (const { run } of this.turns) this.deepest(run, edges);
  }

  /** After a step that is timed: how long what waits has waited. */
  sample(nowNs: number): void {
    this.ages(this.session.run, nowNs);
    for (const { run } of this.turns) this.ages(run, nowNs);
  }

  hostAnswered(node: string, ns: number): void {
    this.series.nodeNamed.get(node)?.firstOutput.record(ns);
  }

  /** Of a provider node of the session, e.g. a recogniser: its runs are its invocations. @param firstNs 0 for none. */
  invoked(node: string, firstNs: number, runNs: number): void {
    const series = this.series.nodeNamed.get(node);
    if (series?.ofSession !== true) return;
    if (firstNs > 0) series.firstOutput.record(firstNs);
    series.run.record(runNs);
  }

  /** The turn is over: what its edges counted last, and what its nodes did. */
  closed(turn: number): NodeSpan[] {
    const at = this.turns.findIndex((watched) => watched.turn?.number === turn);
    const watched = this.turns[at];
    if (watched === undefined) return [];
    this.turns.splice(at, 1);
    watched.tell(this.series);
    // What was still queued is discarded with the turn, not waiting any more.
    for (const [e, edge] of watched.run.edges.entries())
      if (edge !== null) (this.series.edges[e] as EdgeSeries).depth.value -= edge.queue.size + edge.waiting.size;
    return watched.firstInNs.flatMap((startNs, i) => {
      const { id, kind } = this.series.nodes[i] as NodeSeries;
      const spent = { firstOutNs: watched.firstOutNs[i] ?? 0, endNs: watched.endNs[i] ?? 0 };
      return startNs === 0 ? [] : [{ node: id, kind, startNs, ...spent }];
    });
  }

  /** Before a reading of the registry, whose depths were set to nothing. */
  collect(): void {
    this.session.tell(this.series);
    for (const turn of this.turns) turn.tell(this.series);
  }

  /** In-band: what waits, what was lost. */
  tell(): void {
    this.tellRun(this.session.run, 0);
    for (const { run } of this.turns) this.tellRun(run, run.turn);
  }

  close(): void {
    this.session.tell(this.series);
    for (const { turn } of [...this.turns]) this.closed(turn?.number ?? 0);
  }

  /**
   * Pure nodes of the session, which have no end: the first step in which one worked and every sixteenth after, whole: an upper
   * bound. Host and provider nodes answer in a later step, and are measured by their answers.
   */
  private worked(pollNs: number, nowNs: () => number): void {
    const { edges } = this.session.run;
    for (const i of this.series.lasting) {
      const node = this.series.nodes[i] as NodeSeries;
      let taken = 0;
      for (const e of node.into) taken += edges[e]?.delivered ?? 0;
      if (taken === this.taken[i]) continue;
      this.taken[i] = taken;
      const rises = (this.rises[i] as number) + 1;
      this.rises[i] = rises;
      if (rises % TIMED_RISES === 1) node.firstOutput.record(nowNs() - pollNs);
    }
  }

  private tellRun(run: GraphRun, turn: number): void {
    for (const [e, edge] of run.edges.entries()) {
      if (edge === null) continue;
      const { id } = this.series.edges[e] as EdgeSeries;
      this.tellMetric("edge_depth_items", edge.queue.size + edge.waiting.size, turn, "", id);
      this.tellMetric("edge_depth_high_items", this.high[e] ?? 0, turn, "", id);
      if (edge.dropped + edge.evicted > 0)
        this.tellMetric("edge_dropped_total", edge.dropped + edge.evicted, turn, "", id);
      if (edge.merged > 0) this.tellMetric("edge_merged_total", edge.merged, turn, "", id);
    }
  }

  private nodeDone(watched: WatchedRun, node: NodeSeries, i: number): void {
    const turn = watched.turn?.number ?? 0;
    const inNs = watched.firstInNs[i] as number;
    const outNs = watched.firstOutNs[i] as number;
    if (outNs > 0) this.tellMetric("node_first_output_ms", (outNs - inNs) / 1e6, turn, node.id, "");
    this.tellMetric("node_run_ms", ((watched.endNs[i] as number) - inNs) / 1e6, turn, node.id, "");
  }

  private deepest(run: GraphRun, edges: readonly number[]): void {
    for (const e of edges) {
      const edge = run.edges[e];
      if (edge === null || edge === undefined) continue;
      const depth = edge.queue.size + edge.waiting.size;
      if (depth <= (this.high[e] as number)) continue;
      this.high[e] = depth;
      const series = this.series.edges[e] as EdgeSeries;
      if (depth > series.high.value) series.high.value = depth;
    }
  }

  private ages(run: GraphRun, nowNs: number): void {
    for (let e = 0; e < run.edges.length; e++) {
      const queue = run.edges[e]?.queue;
      const oldest = queue === undefined || queue.size === 0 ? null : queue.items[queue.head];
      if (oldest !== null && oldest !== undefined)
        (this.series.edges[e] as EdgeSeries).wait.record(nowNs - oldest.monoNs);
    }
  }
}
