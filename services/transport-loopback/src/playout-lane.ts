/** The agent's lane at the adapter: checked, queued, played, fenced, reported (kernel.md §6, §7; F-033, F-039, F-175). */
import { bytesToS16 } from "@rspp/audio/pcm";
import type { MonoNs } from "@rspp/base/brand";
import { invariant } from "@rspp/base/invariant";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type { AudioFormat } from "@rspp/ports/provider";
import type { TransportEgress, TransportIngress } from "@rspp/ports/transport";
import { createOutputs, isSettled, type Output } from "./outputs.ts";
import { type PlayedChunk, Playout, type PlayoutCounts } from "./playout.ts";
import type { ReceiverGate, RefusalReason } from "./receiver-gate.ts";
import type { SampleClock } from "./sample-clock.ts";

type Media = Extract<TransportEgress, { kind: "media" }>;
type Fence = Extract<TransportEgress, { kind: "fence" }>;
type DeliveryState = Extract<TransportIngress, { kind: "delivery" }>["state"];

/** A fence as it acted here. */
export interface FenceApplied {
  atNs: MonoNs;
  turn: number;
  generation: number;
  all: boolean;
  reason: string;
  playedUs: number;
  flushed: number;
}

/** `framesReceived` = taken + refused, `framesTaken` = played + flushed + queued; the same for samples. */
export interface PlayoutLaneCounts extends PlayoutCounts {
  framesReceived: number;
  framesRefused: number;
  samplesReceived: number;
  samplesRefused: number;
  fences: number;
  /** Sequences that never came. */
  gaps: number;
}

export interface PlayoutLaneOptions {
  clock: Clock;
  device: SampleClock;
  gate: ReceiverGate;
  format: AudioFormat;
  bufferMs: number;
  deliver(message: TransportIngress): void;
  onPlayed(chunk: PlayedChunk): void;
}

export class PlayoutLane {
  readonly #clock: Clock;
  readonly #gate: ReceiverGate;
  readonly #format: AudioFormat;
  readonly #deliver: (message: TransportIngress) => void;
  readonly #playout: Playout;
  readonly #outputs = createOutputs();
  #timer: { atNs: MonoNs; handle: TimerHandle } | undefined;
  #framesReceived = 0;
  #framesRefused = 0;
  #samplesReceived = 0;
  #samplesRefused = 0;
  #fences = 0;
  #gaps = 0;

  constructor(options: PlayoutLaneOptions) {
    this.#clock = options.clock;
    this.#gate = options.gate;
    this.#format = options.format;
    this.#deliver = options.deliver;
    this.#playout = new Playout({
      clock: options.device,
      bufferMs: options.bufferMs,
      onPlayed: options.onPlayed,
      onReport: (report) => this.#delivery(report.output, report.state),
    });
  }

  /** Plays and reports what is due, then waits for the next report. */
  advance(): void {
    this.#playout.advance(this.#clock.nowNs());
    this.#arm();
  }

  /** The reason it was refused (and counted), or undefined. `admission` is a reason known to the caller. */
  media(message: Media, admission: RefusalReason | undefined): RefusalReason | undefined {
    const nowNs = this.#clock.nowNs();
    this.#playout.advance(nowNs);
    const samples = message.bytes.byteLength >> 1;
    this.#framesReceived += 1;
    this.#samplesReceived += samples;
    const known = this.#outputs.find(message.turn, message.generation);
    const reason = admission ?? this.#reasonAgainst(message, known);
    const fits = this.#playout.fits(samples);
    // An end mark is never lost, else the turn would never settle; its audio is.
    const markAlone = reason === undefined && !fits && message.end && this.#playout.fits(0);
    const refused = reason ?? (fits ? undefined : "overflow");
    if (refused !== undefined) this.#samplesRefused += samples;
    if (refused === undefined || markAlone) this.#take(message, known, markAlone, nowNs);
    else this.#framesRefused += 1;
    this.#arm();
    return refused;
  }

  /** Acts at once: refuses from now on, flushes, acknowledges with what was really played, settles what it cut. */
  fence(message: Fence): FenceApplied {
    const nowNs = this.#clock.nowNs();
    const { turn, generation, all, reason } = message;
    this.#playout.advance(nowNs);
    this.#gate.raiseFence(turn, generation, all);
    this.#fences += 1;
    const flushed = this.#playout.flush((t, g) => this.#gate.fenced(t, g));
    const held = this.#playout.held();
    if (held !== undefined && (held === 0 || held === turn || (all && held < turn))) this.#playout.resume();
    const ofTurn = this.#outputs.ofTurn(turn).filter((o) => o.generation < generation);
    const playedUs = ofTurn.reduce((most, o) => Math.max(most, o.playedUs), 0);
    this.#deliver({ kind: "fence_ack", epoch: this.#gate.floor(), turn, generation, playedUs, flushed });
    // A cut may come before the first frame: that turn's delivery settles all the same, once.
    const unseen = generation > 0 && ofTurn.length === 0 ? this.#outputs.open(turn, generation - 1) : undefined;
    for (const output of this.#outputs.unsettled()) {
      if (output === unseen || this.#gate.fenced(output.turn, output.generation)) this.#settle(output, "cancelled");
    }
    this.#arm();
    return { atNs: nowNs, turn, generation, all, reason, playedUs, flushed };
  }

  /** Output of `turn` and of earlier turns waits; 0 holds everything. */
  hold(turn: number): void {
    this.#playout.advance(this.#clock.nowNs());
    this.#playout.hold(turn);
    this.#arm();
  }

  resume(): void {
    this.#playout.advance(this.#clock.nowNs());
    this.#playout.resume();
    this.#arm();
  }

  /** While the listener is away nothing plays. */
  pause(paused: boolean): void {
    this.#playout.advance(this.#clock.nowNs());
    this.#playout.pause(paused);
    this.#arm();
  }

  /** The listener is gone: what is queued is thrown away and every open delivery is lost. */
  lose(): void {
    this.#playout.advance(this.#clock.nowNs());
    this.#playout.flush(() => true);
    this.#playout.resume();
    for (const output of this.#outputs.unsettled()) this.#settle(output, "lost");
    this.#arm();
  }

  empty(): boolean {
    return this.#playout.empty();
  }

  outputs(): readonly Readonly<Output>[] {
    return this.#outputs.all();
  }

  counts(): PlayoutLaneCounts {
    return {
      ...this.#playout.counts(),
      framesReceived: this.#framesReceived,
      framesRefused: this.#framesRefused,
      samplesReceived: this.#samplesReceived,
      samplesRefused: this.#samplesRefused,
      fences: this.#fences,
      gaps: this.#gaps,
    };
  }

  #reasonAgainst(message: Media, known: Output | undefined): RefusalReason | undefined {
    if (this.#gate.fenced(message.turn, message.generation)) return "fenced";
    const { codec, rateHz, channels } = message.format;
    const same = codec === this.#format.codec && rateHz === this.#format.rateHz && channels === this.#format.channels;
    if (message.bytes.byteLength > 0 && !same) return "format";
    if (known === undefined) return this.#outputs.room() ? undefined : "overflow";
    if (known.phase === "lost") return "closed";
    return known.ended || isSettled(known) || message.sequence <= known.lastSequence ? "order" : undefined;
  }

  #take(message: Media, known: Output | undefined, markAlone: boolean, nowNs: MonoNs): void {
    const output = known ?? this.#outputs.open(message.turn, message.generation);
    invariant(output !== undefined, "a delivery is opened only where there is room");
    if (known === undefined) this.#delivery(output, "accepted");
    this.#gaps += Math.max(0, message.sequence - output.lastSequence - 1);
    output.lastSequence = message.sequence;
    output.ended = message.end;
    // Copied: the runtime frees or reuses its bytes as soon as `send` has returned.
    const samples = markAlone ? new Int16Array(0) : bytesToS16(message.bytes).slice();
    this.#playout.enqueue({ output, offsetUs: message.offsetUs, samples, end: message.end }, nowNs);
  }

  #settle(output: Output, phase: "cancelled" | "lost"): void {
    output.phase = phase;
    this.#delivery(output, phase);
  }

  #delivery(output: Output, state: DeliveryState): void {
    const { turn, generation } = output;
    const playedUs = state === "started" || state === "accepted" ? 0 : output.playedUs;
    this.#deliver({ kind: "delivery", epoch: this.#gate.floor(), turn, generation, state, playedUs });
  }

  #arm(): void {
    const next = this.#playout.nextReportNs();
    if (next === this.#timer?.atNs) return;
    this.#timer?.handle.clear();
    this.#timer = undefined;
    if (next === undefined) return;
    const handle = this.#clock.timerAt(next, () => {
      this.#timer = undefined;
      this.advance();
    });
    this.#timer = { atNs: next, handle };
  }
}
