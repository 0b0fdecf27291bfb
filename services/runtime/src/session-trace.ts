/**
 * The trace of one session (F-070, F-013): a span for the session, under it one per turn, under that one per node and per
 * provider invocation. Spans are begun and ended where sessions, turns and invocations are; what happened within a turn is
 * told when it is over. No payload, and of reasons only the platform's own words (F-117).
 */
import type { SignalEvent } from "@rspp/kernel/effect";
import type { OpenSpan, SpanAttributes, SpanSource } from "@rspp/telemetry/spans";
import type { TurnView } from "./kernel-port.ts";
import type { NodeSpan } from "./node-metrics.ts";
import { safeReason } from "./session-trace-reasons.ts";

export interface TraceIds {
  readonly sessionId: string;
  /** `name@version`. */
  readonly pipeline: string;
  readonly epoch: number;
}

/** A provider's work as its span tells it. */
export interface InvocationNote {
  readonly number: number;
  readonly invocationId: string;
  readonly node: string;
  /** 0: for the caller's utterance, or in the hope of a turn. */
  turn: number;
  readonly modality: string;
  readonly provider: string;
  readonly attempt: number;
  /** Modality `tool`: its name. */
  readonly tool?: string;
  readonly openedNs: number;
  /** 0 until the first chunk. */
  firstNs: number;
  /** 0 while it runs. */
  endNs: number;
  /** "" while it runs. */
  outcome: string;
  span: OpenSpan | null;
}

interface TurnSpan {
  readonly span: OpenSpan;
  readonly startNs: number;
  endNs: number;
  /** 0 while it is an utterance of which no turn has come yet. */
  turn: number;
  /** Recognisers of the utterance, by the names its turn's evidence has for them. */
  readonly recognisers: Set<string>;
}

/** Utterances that may wait for their turn; older ones have become none. */
const UTTERANCES_MAX = 4;
const EVENTS_PER_TURN_MAX = 96;

/** Signals told as events of their turn or session, with these of their fields. */
const TOLD: Readonly<Record<string, readonly string[]>> = {
  barge_in: [],
  commit: [],
  abort: [],
  close: [],
  output_hold: [],
  output_resume: [],
  drop_notice: ["edge"],
  flow_xoff: ["edge"],
  flow_xon: ["edge"],
  watermark: ["edge", "action"],
  discontinuity: ["edge"],
  provider_error: ["provider"],
  provider_switch: ["provider"],
  budget_warning: ["node"],
  budget_exhausted: ["node"],
  node_error: ["node"],
  degraded: [],
  recovered: [],
  defer: [],
  reject: [],
  stale_epoch_reject: [],
  deauthorized_drain: [],
  lease_rotated: [],
  playback_completed: [],
  playback_cancelled: [],
  playback_lost: [],
};

export class SessionTrace {
  private readonly source: SpanSource;
  private readonly ids: SpanAttributes;
  private readonly session: OpenSpan;
  private readonly offsetMs: number;
  private readonly startNs: number;
  private readonly turns = new Map<number, TurnSpan>();
  private readonly utterances: TurnSpan[] = [];
  private readonly events = new Map<number, number>();

  /** @param now both clocks at this instant. @param parent `traceparent` of who opened the session. */
  constructor(source: SpanSource, ids: TraceIds, now: { monoNs: number; wallMs: number }, parent: string | null) {
    this.source = source;
    this.offsetMs = now.wallMs - now.monoNs / 1e6;
    this.startNs = now.monoNs;
    this.ids = { "rspp.session_id": ids.sessionId, "rspp.pipeline": ids.pipeline };
    this.session = source.start({
      name: "rspp.session",
      kind: "server",
      parent,
      atMs: this.ms(now.monoNs),
      attributes: { ...this.ids, "rspp.epoch": ids.epoch },
    });
  }

  get traceparent(): string {
    return this.session.traceparent;
  }

  traceparentOf(turn: number): string {
    return this.turns.get(turn)?.span.traceparent ?? this.traceparent;
  }

  phase(phase: string, reason: string, nowNs: number): void {
    this.session.event("session_phase", this.ms(nowNs), { phase, "rspp.reason": safeReason(reason) });
  }

  /** A control signal was handed out. */
  signal(event: SignalEvent, nowNs: number): void {
    const fields = TOLD[event.signal];
    if (fields === undefined) return;
    const told = this.events.get(event.turn) ?? 0;
    if (told >= EVENTS_PER_TURN_MAX) return;
    this.events.set(event.turn, told + 1);
    const target = this.turns.get(event.turn)?.span ?? this.session;
    const attributes: Record<string, string> = {};
    for (const field of fields) attributes[`rspp.${field}`] = String(event.fields[field] ?? "");
    if (event.reason !== "") attributes["rspp.reason"] = safeReason(event.reason);
    target.event(event.signal, this.ms(nowNs), attributes);
  }

  /** A turn was opened: the span of its utterance becomes its own. */
  turnOpened(turn: TurnView): void {
    const names = new Set(turn.invocations.map((invocation) => invocation.name));
    const at = this.utterances.findIndex(({ recognisers }) => [...recognisers].some((name) => names.has(name)));
    const found = at === -1 ? undefined : this.utterances.splice(at, 1)[0];
    const made = found ?? this.begin(Math.max(this.startNs, Math.min(turn.anchors.proposedNs, turn.anchors.openNs)));
    made.turn = turn.number;
    made.span.rename("rspp.turn");
    made.span.set({ "rspp.turn": turn.number, "rspp.turn_id": turn.id, "rspp.origin": turn.origin });
    this.turns.set(turn.number, made);
  }

  /** @returns the `traceparent` that the call to the provider carries. */
  invocationOpened(note: InvocationNote): string {
    const parent = this.parentOf(note);
    note.span = this.source.start({
      name: `rspp.invocation ${note.modality}`,
      kind: "client",
      parent: parent.span.traceparent,
      atMs: this.ms(Math.max(note.openedNs, parent.startNs)),
      attributes: {
        ...this.ids,
        ...(note.turn === 0 ? {} : { "rspp.turn": note.turn }),
        "rspp.node_id": note.node,
        "rspp.invocation_id": note.invocationId,
        "rspp.provider": note.provider,
        "rspp.modality": note.modality,
        ...(note.tool === undefined ? {} : { "rspp.tool": note.tool }),
        "rspp.attempt": note.attempt,
      },
    });
    return note.span.traceparent;
  }

  /** With its outcome; `detail` is the platform's or the gateway's own word. */
  invocationEnded(note: InvocationNote): void {
    const { span, outcome, endNs, firstNs } = note;
    if (span === null) return;
    note.span = null;
    if (firstNs > 0) span.event("first_output", this.ms(firstNs));
    span.set({ "rspp.outcome": outcome });
    span.end(this.ms(endNs), outcome === "success" || outcome === "cancelled" ? undefined : outcome);
    for (const open of [...this.turns.values(), ...this.utterances])
      if ((note.turn !== 0 && open.turn === note.turn) || open.recognisers.has(note.invocationId))
        open.endNs = Math.max(open.endNs, endNs);
  }

  /** An utterance that was no speech, or of which no turn came. */
  utteranceDiscarded(invocationId: string, nowNs: number): void {
    const at = this.utterances.findIndex(({ recognisers }) => recognisers.has(invocationId));
    const [found] = at === -1 ? [] : this.utterances.splice(at, 1);
    if (found !== undefined) this.endUtterance(found, nowNs);
  }

  /** The turn is over and delivered: its anchors as events, its nodes as spans. `told`: anchors that the shell stamped. */
  turnClosed(turn: TurnView, nodes: readonly NodeSpan[], told: ReadonlyMap<string, number>, nowNs: number): void {
    const open = this.turns.get(turn.number);
    if (open === undefined) return;
    this.turns.delete(turn.number);
    this.events.delete(turn.number);
    const { span, startNs } = open;
    const endNs = Math.max(nowNs, open.endNs);
    for (const [name, atNs] of anchorsOf(turn, told))
      if (atNs > 0) span.event(name, this.ms(Math.min(endNs, Math.max(startNs, atNs))));
    const ids = { ...this.ids, "rspp.turn": turn.number, "rspp.turn_id": turn.id };
    for (const node of nodes) {
      const atNs = Math.max(startNs, node.startNs);
      const made = this.source.start({
        name: `rspp.node ${node.kind}`,
        parent: span.traceparent,
        atMs: this.ms(atNs),
        attributes: { ...ids, "rspp.node_id": node.node, "rspp.node_kind": node.kind },
      });
      if (node.firstOutNs > 0) made.event("first_output", this.ms(node.firstOutNs));
      if (node.endNs === 0) made.set({ "rspp.cut_off": true });
      made.end(this.ms(Math.max(atNs, node.endNs === 0 ? endNs : node.endNs)));
    }
    span.set({ "rspp.outcome": turn.terminal === "" ? "unfinished" : turn.terminal });
    if (turn.terminal === "abort") span.set({ "rspp.reason": safeReason(turn.terminalReason) });
    const failed = turn.terminal === "abort" && turn.terminalReason !== "cancelled";
    span.end(this.ms(endNs), failed ? safeReason(turn.terminalReason) : undefined);
  }

  /** Whatever is still open ends here. */
  close(reason: string, nowNs: number): void {
    for (const utterance of this.utterances.splice(0)) this.endUtterance(utterance, nowNs);
    let lastNs = nowNs;
    for (const { span, endNs } of this.turns.values()) {
      lastNs = Math.max(lastNs, endNs);
      span.set({ "rspp.outcome": "unfinished" });
      span.end(this.ms(Math.max(nowNs, endNs)));
    }
    this.turns.clear();
    this.session.set({ "rspp.reason": safeReason(reason) });
    this.session.end(this.ms(lastNs));
  }

  private parentOf(note: InvocationNote): { span: OpenSpan; startNs: number } {
    const turn = this.turns.get(note.turn);
    if (turn !== undefined) return turn;
    if (note.turn !== 0) return { span: this.session, startNs: this.startNs };
    const newest = this.utterances.at(-1);
    if (note.modality !== "stt") return newest ?? { span: this.session, startNs: this.startNs };
    // Another candidate for the same utterance: the one before has failed.
    if (newest !== undefined && note.attempt > 1) {
      newest.recognisers.add(note.invocationId);
      return newest;
    }
    const made = this.begin(note.openedNs);
    made.recognisers.add(note.invocationId);
    this.utterances.push(made);
    if (this.utterances.length > UTTERANCES_MAX) {
      const oldest = this.utterances.shift();
      if (oldest !== undefined) this.endUtterance(oldest, oldest.endNs);
    }
    return made;
  }

  private begin(atNs: number): TurnSpan {
    const start = {
      name: "rspp.utterance",
      parent: this.session.traceparent,
      atMs: this.ms(atNs),
      attributes: this.ids,
    };
    return { span: this.source.start(start), startNs: atNs, endNs: atNs, turn: 0, recognisers: new Set() };
  }

  private endUtterance({ span, endNs }: TurnSpan, nowNs: number): void {
    span.set({ "rspp.outcome": "no_turn" });
    span.end(this.ms(Math.max(endNs, nowNs)));
  }

  /** Milliseconds since 1970 UTC of a monotonic instant, by the offset at the session's start: an order is never turned. */
  private ms(monoNs: number): number {
    return this.offsetMs + monoNs / 1e6;
  }
}

/** Canonical anchors (`kernel.md` §10); the shell's own stamps go before the kernel's. */
function anchorsOf({ anchors }: TurnView, told: ReadonlyMap<string, number>): [string, number][] {
  return [
    ["audio_input_ingress", anchors.lastVoicedNs],
    ["turn_open_proposed_ingress_accepted", anchors.proposedNs],
    ["turn_open_emitted", told.get("turn_open_emitted") ?? anchors.openNs],
    ["first_datalane_output_emitted", told.get("first_datalane_output_emitted") ?? anchors.firstOutputNs],
    ["assistant_audio_playback_started", anchors.playbackStartedNs],
    ["cancel_accepted", anchors.cancelAcceptedNs],
    ["cancel_fence_applied", anchors.cancelAppliedNs],
  ];
}
