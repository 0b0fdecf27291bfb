import type { SignalEvent } from "@rspp/kernel/effect";
import type { TurnView } from "./kernel-port.ts";
import type { MetricName, Metrics } from "./metrics.ts";

interface TurnAnchors {
  turn: number;
  lastVoicedNs: number;
  openEmittedNs: number;
  firstOutputSeen: boolean;
  playbackSeen: boolean;
}

const turnsMax = 16;

export interface AnchorListener {
  /** Each latency as it is known; `node` only where it is one node's. */
  latency(name: MetricName, ns: number, turn: number, node: string): void;
  /** A canonical anchor of a turn that the shell stamps. */
  anchor(name: "turn_open_emitted" | "first_datalane_output_emitted", atNs: number, turn: number): void;
}

/** The canonical anchors of one session, taken where bytes come in and go out (`kernel.md` §10). */
export class Anchors {
  private readonly metrics: Metrics;
  private readonly listener: AnchorListener;
  private readonly turns: TurnAnchors[] = [];
  private readonly cancels = new Map<number, { node: string; turn: number; atNs: number }>();
  private lastVoicedNs = 0;
  private proposedNs = 0;
  private voicedAtProposal = 0;

  constructor(metrics: Metrics, listener: AnchorListener) {
    this.metrics = metrics;
    this.listener = listener;
  }

  /** @param stampNs stamp of the frame in which speech was found. */
  voiced(stampNs: number): void {
    if (stampNs > this.lastVoicedNs) this.lastVoicedNs = stampNs;
  }

  /** Call when the signal has been handed out. Its stamp is that of the input behind it. */
  signal(event: SignalEvent, nowNs: number): void {
    if (event.signal === "turn_open_proposed") {
      this.proposedNs = event.monoNs;
      this.voicedAtProposal = event.fields.origin === "endpoint" ? this.lastVoicedNs : 0;
    } else if (event.signal === "turn_open") this.opened(event.turn, nowNs);
    else if (event.signal === "playback_started") this.playbackStarted(event.turn, event.monoNs);
  }

  /**
   * The kernel has taken the first acknowledgement of a cancelled turn's fence: right epoch, right generation.
   * @param ns from the stamp of the input that cancelled it to that of the acknowledgement.
   */
  cancelFence(turn: number, ns: number): void {
    this.latency("cancel_fence_ms", ns, turn);
  }

  preempted(turn: number, ns: number): void {
    this.latency("control_preempt_delay_ms", ns, turn);
  }

  media(turn: number, nowNs: number): void {
    const anchors = this.find(turn);
    if (anchors === undefined || anchors.firstOutputSeen) return;
    anchors.firstOutputSeen = true;
    this.listener.anchor("first_datalane_output_emitted", nowNs, turn);
    this.latency("first_output_ms", nowNs - anchors.openEmittedNs, turn);
  }

  private playbackStarted(turn: number, stampNs: number): void {
    const anchors = this.find(turn);
    if (anchors === undefined || anchors.playbackSeen) return;
    anchors.playbackSeen = true;
    if (anchors.lastVoicedNs > 0) this.latency("voice_to_voice_ms", stampNs - anchors.lastVoicedNs, turn);
  }

  providerCancel(invocation: number, node: string, turn: number, nowNs: number): void {
    if (!this.cancels.has(invocation)) this.cancels.set(invocation, { node, turn, atNs: nowNs });
  }

  providerOutcome(invocation: number, stampNs: number): void {
    const cancel = this.cancels.get(invocation);
    if (cancel === undefined) return;
    this.cancels.delete(invocation);
    this.metrics.recordNode("node_cancel_ms", cancel.node, stampNs - cancel.atNs);
    this.listener.latency("node_cancel_ms", stampNs - cancel.atNs, cancel.turn, cancel.node);
  }

  /** Nothing will be heard of it. */
  providerForgotten(invocation: number): void {
    this.cancels.delete(invocation);
  }

  planBuilt(turn: number, ns: number): void {
    this.latency("resolved_turn_plan_build_ms", ns, turn);
  }

  private opened(turn: number, nowNs: number): void {
    const anchors: TurnAnchors = {
      turn,
      lastVoicedNs: this.voicedAtProposal,
      openEmittedNs: nowNs,
      firstOutputSeen: false,
      playbackSeen: false,
    };
    this.turns.push(anchors);
    this.listener.anchor("turn_open_emitted", nowNs, turn);
    if (this.turns.length > turnsMax) this.turns.shift();
    if (this.proposedNs > 0) this.latency("turn_open_ms", nowNs - this.proposedNs, turn);
    this.voicedAtProposal = 0;
  }

  private latency(name: MetricName, ns: number, turn: number): void {
    this.metrics.record(name, ns);
    this.listener.latency(name, ns, turn, "");
  }

  private find(turn: number): TurnAnchors | undefined {
    for (const anchors of this.turns) if (anchors.turn === turn) return anchors;
    return undefined;
  }
}

/** Name of the marker that holds a turn's canonical anchors in the timeline (`kernel.md` §10): evidence for the gates. */
export const ANCHORS_MARKER = "turn_anchors";

/**
 * The canonical anchors of a turn as its record holds them: nanoseconds of this process's monotonic clock, as texts; one
 * that was not reached is absent. What is handed out bears the shell's stamp alone, never that of a step.
 */
export function anchorFields(view: TurnView, told: ReadonlyMap<string, number>): Record<string, string> {
  const { anchors, number } = view;
  const all: readonly (readonly [string, number])[] = [
    ["utterance_first_frame", anchors.firstVoicedNs],
    ["audio_input_ingress", anchors.lastVoicedNs],
    ["turn_open_proposed_ingress_accepted", anchors.proposedNs],
    ["turn_open_emitted", told.get("turn_open_emitted") ?? 0],
    ["first_datalane_output_emitted", told.get("first_datalane_output_emitted") ?? 0],
    ["cancel_accepted", anchors.cancelAcceptedNs],
    ["cancel_fence_applied", anchors.cancelAppliedNs],
    ["assistant_audio_playback_started", anchors.playbackStartedNs],
  ];
  const reached = all.filter(([, atNs]) => atNs > 0).map(([name, atNs]) => [name, String(Math.round(atNs))]);
  return { turn: String(number), ...Object.fromEntries(reached) };
}
