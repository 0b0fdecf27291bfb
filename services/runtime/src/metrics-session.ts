/**
 * What one session is seen by: anchors, nodes and edges, spans, in-band metrics (F-026, F-068 to F-070). The session's host
 * tells it what happens; it decides nothing and nothing waits for it.
 */
import { NS_PER_MS } from "@rspp/base/brand";
import type { Effect, SignalEvent } from "@rspp/kernel/effect";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { RATE_LIMITED } from "@rspp/kernel/turn-rate";
import type { Clock } from "@rspp/ports/clock";
import type { NodeTelemetry } from "@rspp/ports/node-host";
import type { SpanSource } from "@rspp/telemetry/spans";
import { ANCHORS_MARKER, Anchors, anchorFields } from "./anchors.ts";
import type { KernelPort, TurnView } from "./kernel-port.ts";
import { limits } from "./limits.ts";
import type { Logger } from "./logger.ts";
import type { Metrics } from "./metrics.ts";
import { providerTimeNs } from "./metrics-overlap.ts";
import { type GraphMetrics, SessionGraph } from "./node-metrics.ts";
import type { Observers } from "./observers.ts";
import type { Overhead, StepPart } from "./overhead.ts";
import { type InvocationNote, SessionTrace } from "./session-trace.ts";
import { safeReason } from "./session-trace-reasons.ts";
import type { Spool, StreamId } from "./spool/spool.ts";

export interface MeasuresPorts {
  readonly clock: Clock;
  readonly kernel: KernelPort;
  readonly metrics: Metrics;
  readonly graphs: GraphMetrics;
  readonly overhead: Overhead;
  /** Null: no spans are made. */
  readonly spans: SpanSource | null;
  readonly logger: Logger;
  readonly observers: Observers;
  /** `traceparent` of who opened the session. */
  readonly traceparent: string | null;
  /** Takes the anchors of each turn that nothing more comes of. */
  readonly spool: Pick<Spool, "marker">;
}

interface OpenTurn {
  readonly view: TurnView;
  /** Anchors that the shell stamps. */
  readonly anchors: Map<string, number>;
  readonly invocations: InvocationNote[];
}

/** In-band metrics of edges and depths go out so often, while there is something going on. */
const IN_BAND_EVERY_NS = 250 * NS_PER_MS;
const INVOCATIONS_NOTED_MAX = 64;

export class SessionMeasures {
  readonly anchors: Anchors;
  private readonly ports: MeasuresPorts;
  private readonly trace: SessionTrace | null;
  private readonly graph: SessionGraph | null;
  private readonly state: unknown;
  private readonly turns = new Map<number, OpenTurn>();
  private readonly blockedSinceNs = new Map<string, number>();
  private readonly nowNs = (): number => this.ports.clock.nowNs();
  private readonly tenantId: string;
  private readonly stream: StreamId;
  private sampled = false;
  private toldNs = 0;

  constructor(config: SessionConfig, state: unknown, ports: MeasuresPorts) {
    const { sessionId, graph, authority } = config;
    this.ports = ports;
    this.state = state;
    this.tenantId = config.tenantId;
    this.stream = { tenantId: config.tenantId, sessionId, epoch: authority.epoch };
    const { clock, kernel, graphs, spans } = ports;
    const now = { monoNs: clock.nowNs(), wallMs: clock.wallMs() };
    const ids = { sessionId, pipeline: graph.pipelineVersion, epoch: authority.epoch };
    this.trace = spans === null ? null : new SessionTrace(spans, ids, now, ports.traceparent);
    const run = kernel.look?.run(state) ?? null;
    this.graph = run === null ? null : new SessionGraph(graphs.series(graph), run, this.tell.bind(this));
    this.anchors = new Anchors(ports.metrics, {
      latency: (name, ns, turn, node) => this.tell(name, ns / NS_PER_MS, turn, node, ""),
      anchor: (name, atNs, turn) => void this.turns.get(turn)?.anchors.set(name, atNs),
    });
  }

  /** Before the kernel's step. */
  begin(): void {
    this.sampled = this.ports.overhead.begin();
  }

  ended(part: StepPart): void {
    if (this.sampled) this.ports.overhead.ended(part);
  }

  /** After the effects of a step that was polled at `pollNs`. @param more it has left work behind. */
  stepped(pollNs: number, more: boolean): void {
    const { graph, sampled } = this;
    if (graph === null) return;
    graph.depths(more);
    graph.stepped(pollNs, this.nowNs);
    const asked = this.ports.observers.wants("metrics");
    if (!sampled && !asked) return;
    const nowNs = this.nowNs();
    if (sampled) graph.sample(nowNs);
    if (!asked || nowNs - this.toldNs < IN_BAND_EVERY_NS) return;
    this.toldNs = nowNs;
    graph.tell();
  }

  planBuilt(effects: readonly Effect[], pollNs: number): void {
    for (const effect of effects) {
      if (effect.type !== "record" || effect.record.kind !== "plan") continue;
      this.anchors.planBuilt(effect.record.turn, this.ports.clock.nowNs() - pollNs);
    }
  }

  /** Of an event for who watches the session (F-026). */
  tell(name: string, value: number, turn: number, node: string, edge: string): void {
    const { observers, clock } = this.ports;
    if (observers.wants("metrics"))
      observers.emit({ kind: "metrics", atNs: clock.nowNs(), name, value, turn, node, edge });
  }

  phase(phase: string, reason: string): void {
    this.trace?.phase(phase, reason, this.ports.clock.nowNs());
  }

  /** A control signal has been handed out. */
  signal(event: SignalEvent, nowNs: number): void {
    const { of } = this.ports.metrics;
    const text = (field: string): string => String(event.fields[field] ?? "");
    if (event.signal === "turn_open") this.turnOpened(event.turn, text("origin"));
    this.anchors.signal(event, nowNs);
    this.trace?.signal(event, nowNs);
    switch (event.signal) {
      case "commit":
      case "abort":
        return of.turnsClosed.with(event.signal, event.signal === "commit" ? "" : safeReason(event.reason)).add();
      case "defer":
      case "reject":
      case "stale_epoch_reject":
        if (event.reason === RATE_LIMITED) this.limited("reject");
        return of.turnsRefused.with(event.signal).add();
      case "barge_in":
        return of.bargeIns.with().add();
      case "node_error":
        return of.nodeErrors.with(text("node")).add();
      case "budget_exhausted":
        return of.budgetsExhausted.with(text("budgetScope") || event.reason, text("action")).add();
      case "fallback":
        return of.fallbacks.with(text("node"), safeReason(event.reason)).add();
      case "degrade":
        if (event.reason === RATE_LIMITED) this.limited("degrade");
        return of.degraded.with(event.signal).add();
      case "degraded":
      case "recovered":
        return of.degraded.with(event.signal).add();
      case "shed":
        return of.shed.with(text("scope")).add(Number(event.fields.count ?? 1));
      case "flow_xoff":
        this.blockedSinceNs.set(`${event.turn} ${text("edge")}`, nowNs);
        return;
      case "flow_xon":
        return this.unblocked(`${event.turn} ${text("edge")}`, text("edge"), nowNs);
    }
  }

  /** A turn past the tenant's rate (F-050). */
  limited(action: "reject" | "throttle" | "degrade"): void {
    this.ports.metrics.of.turnsLimited.with(this.tenantId, action).add();
  }

  /** @returns the `traceparent` that the provider is called with; null where nobody follows. */
  invocationOpened(note: InvocationNote): string | null {
    const notes = this.turns.get(note.turn)?.invocations;
    if (notes !== undefined && notes.length < INVOCATIONS_NOTED_MAX) notes.push(note);
    return this.trace?.invocationOpened(note) ?? null;
  }

  firstOutput(note: InvocationNote): void {
    note.firstNs = this.ports.clock.nowNs();
    const ns = note.firstNs - note.openedNs;
    this.ports.metrics.of.providerFirstOutput.with(note.provider, note.modality).record(ns);
    this.tell("provider_first_output_ms", ns / NS_PER_MS, note.turn, note.node, "");
  }

  /** Exactly once for each that was opened. */
  invocationEnded(note: InvocationNote, outcome: string): void {
    const { of } = this.ports.metrics;
    note.endNs = this.ports.clock.nowNs();
    note.outcome = outcome;
    const { provider, modality, node, turn, attempt, openedNs, firstNs, endNs } = note;
    of.providerOutcomes.with(provider, modality, outcome).add();
    if (attempt > 1) of.providerRetries.with(provider, modality).add();
    of.providerRun.with(provider, modality).record(endNs - openedNs);
    this.graph?.invoked(node, firstNs === 0 ? 0 : firstNs - openedNs, endNs - openedNs);
    this.tell("provider_run_ms", (endNs - openedNs) / NS_PER_MS, turn, node, "");
    const ids = { turn, node_id: node, invocation_id: note.invocationId };
    const run_ms = Math.round((endNs - openedNs) / NS_PER_MS);
    this.ports.logger.debug({ ...ids, provider, modality, outcome, run_ms }, "invocation ended");
    this.trace?.invocationEnded(note);
    if (modality === "stt" && outcome === "cancelled") this.trace?.utteranceDiscarded(note.invocationId, endNs);
  }

  /** NF-017: what a turn has cost, in millionths of the account's currency. */
  spent(micros: number, turn: number): void {
    this.ports.metrics.of.spent.with().add(micros);
    this.tell("turn_cost_micros", micros, turn, "", "");
  }

  hostAnswered(node: string, ns: number): void {
    this.graph?.hostAnswered(node, ns);
  }

  /** `traceparent` of a turn, or of the session where it has none of its own. */
  traceparent(turn: number): string | null {
    return this.trace?.traceparentOf(turn) ?? null;
  }

  /** F-013: metrics, logs and limits of a custom node, with the ids of the turn it worked for. */
  nodeTold(node: string, turn: number, told: NodeTelemetry): void {
    const { logger, observers, clock, metrics } = this.ports;
    const ids = { turn, node_id: node };
    if (told.kind === "metric") return this.tell(told.name, told.value, turn, node, "");
    if (told.kind === "limit") {
      metrics.of.nodeLimited.with(node, told.limit).add();
      logger.warn({ ...ids, limit: told.limit, value: told.value }, "node held to its limit");
      return this.tell(`node_limited_${told.limit}`, told.value, turn, node, "");
    }
    // What an author logs may hold what a caller said: its text is for who watches the session alone.
    logger.info({ ...ids, log_level: told.level }, "node log");
    if (!observers.wants("debug")) return;
    const most = limits.NODE_LOG_CHARS_MAX;
    const fields = Object.entries(told.fields).map(([key, value]) => [key.slice(0, 64), value.slice(0, most)]);
    const shown = { ...Object.fromEntries(fields), node, turn: String(turn), level: told.level };
    observers.emit({ kind: "debug", atNs: clock.nowNs(), text: told.text.slice(0, most), fields: shown });
  }

  /** Delivered and settled: nothing more comes of it. */
  turnReleased(turn: number): void {
    const known = this.turns.get(turn);
    if (known === undefined) return;
    this.turns.delete(turn);
    const nowNs = this.ports.clock.nowNs();
    const nodes = this.graph?.closed(turn) ?? [];
    const { view, anchors } = known;
    this.overheadOf(known);
    const { terminal, terminalReason, id, utterance } = view;
    const fields = { turn, turn_id: id, utterance, outcome: terminal, reason: safeReason(terminalReason) };
    this.ports.logger.info({ ...fields, invocations: known.invocations.length }, "turn closed");
    this.trace?.turnClosed(view, nodes, anchors, nowNs);
    this.ports.spool.marker(this.stream, ANCHORS_MARKER, anchorFields(view, anchors));
  }

  /** The session is over: of turns that were not delivered to their end, too, the anchors are told. */
  releaseTurns(): void {
    for (const turn of [...this.turns.keys()]) this.turnReleased(turn);
  }

  /** Before a reading of the registry. */
  collect(): void {
    this.graph?.collect();
  }

  close(reason: string): void {
    this.releaseTurns();
    this.graph?.close();
    this.trace?.close(reason, this.ports.clock.nowNs());
  }

  private turnOpened(number: number, origin: string): void {
    this.ports.metrics.of.turnsOpened.with(origin).add();
    const view = this.graph === null ? null : (this.ports.kernel.look?.turn(this.state, number) ?? null);
    if (view === null) return;
    this.turns.set(number, { view, anchors: new Map(), invocations: [] });
    this.graph?.opened(view);
    this.trace?.turnOpened(view);
  }

  private unblocked(key: string, edge: string, nowNs: number): void {
    const since = this.blockedSinceNs.get(key);
    if (since === undefined) return;
    this.blockedSinceNs.delete(key);
    this.ports.metrics.of.edgeBlocked.with(edge).record(nowNs - since);
    this.tell("edge_blocked_ms", (nowNs - since) / NS_PER_MS, 0, "", edge);
  }

  /** F-052: of the wait for the first output, what was not spent in a provider. */
  private overheadOf({ view, anchors, invocations }: OpenTurn): void {
    const fromNs = anchors.get("turn_open_emitted") ?? 0;
    const toNs = anchors.get("first_datalane_output_emitted") ?? 0;
    if (fromNs === 0 || toNs <= fromNs || this.graph === null) return;
    const ns = toNs - fromNs - providerTimeNs(invocations, fromNs, toNs);
    this.ports.metrics.record("turn_overhead_ms", ns);
    this.tell("turn_overhead_ms", ns / NS_PER_MS, view.number, "", "");
  }
}
