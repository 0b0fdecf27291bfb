/**
 * A modelled playout device. It plays one sample per sample period of its own clock and is computed from time when it is
 * looked at, so that it needs no tick: whoever owns it sets one timer, at `nextReportNs`. What it holds unplayed must be
 * flushed at a cut (kernel.md §6), and is reported in media time, the partly played frame included.
 */
import type { MonoNs } from "@rspp/base/brand";
import { PLAYOUT_QUEUE_FRAMES_MAX, PLAYOUT_QUEUE_MS_MAX } from "./limits.ts";
import { nextProgressUs, type Output } from "./outputs.ts";
import { type SampleClock, samplesToUs, usToSamples } from "./sample-clock.ts";

export interface PlayoutFrame {
  output: Output;
  /** Media time of the first sample within the turn's output, microseconds. */
  offsetUs: number;
  /** Mono; owned by the device from here on. */
  samples: Int16Array;
  end: boolean;
}

/** Samples that went to the speaker without a break, part of one frame. */
export interface PlayedChunk {
  turn: number;
  generation: number;
  /** Device sample at which it began. */
  startSample: number;
  /** Media time of the first of them within the turn's output, microseconds. */
  fromUs: number;
  /** Media time after the last of them. */
  toUs: number;
  samples: Int16Array;
}

export interface PlayoutReport {
  state: "started" | "progress" | "completed";
  output: Output;
  playedUs: number;
}

/** Every frame taken is played, flushed or still queued; a frame cut in the middle counts as played, and as cut. */
export interface PlayoutCounts {
  framesTaken: number;
  framesPlayed: number;
  framesFlushed: number;
  framesCut: number;
  framesQueued: number;
  samplesTaken: number;
  samplesPlayed: number;
  samplesFlushed: number;
  samplesQueued: number;
  /** How often the device ran dry inside a turn, and for how many samples in all. */
  underruns: number;
  underrunSamples: number;
  holds: number;
}

export interface PlayoutOptions {
  clock: SampleClock;
  /** Audio gathered before a turn begins to play, milliseconds; an end mark or so much audio starts it earlier. */
  bufferMs: number;
  onPlayed(chunk: PlayedChunk): void;
  onReport(report: PlayoutReport): void;
}

export class Playout {
  readonly #clock: SampleClock;
  readonly #bufferSamples: number;
  readonly #queueSamplesMax: number;
  readonly #onPlayed: (chunk: PlayedChunk) => void;
  readonly #onReport: (report: PlayoutReport) => void;
  readonly #queue: PlayoutFrame[] = [];
  /** Device sample up to which everything is decided. */
  #cursor = 0;
  /** Samples of the head frame already played. */
  #headPos = 0;
  /** Nothing begins before this device sample: the start buffer. */
  #startAt = 0;
  /** The output whose audio ran out before its end mark, and since when. */
  #dry: { output: Output; since: number; counted: boolean } | undefined;
  /** Output of this turn and earlier ones waits; 0 holds everything. */
  #holdTurn: number | undefined;
  #paused = false;
  readonly #counts: Omit<PlayoutCounts, "framesQueued" | "samplesQueued"> = {
    framesTaken: 0,
    framesPlayed: 0,
    framesFlushed: 0,
    framesCut: 0,
    samplesTaken: 0,
    samplesPlayed: 0,
    samplesFlushed: 0,
    underruns: 0,
    underrunSamples: 0,
    holds: 0,
  };

  constructor(options: PlayoutOptions) {
    this.#clock = options.clock;
    this.#bufferSamples = Math.round((options.bufferMs * options.clock.rateHz) / 1000);
    this.#queueSamplesMax = (PLAYOUT_QUEUE_MS_MAX * options.clock.rateHz) / 1000;
    this.#onPlayed = options.onPlayed;
    this.#onReport = options.onReport;
  }

  /** Plays everything due by `nowNs` and reports it. */
  advance(nowNs: MonoNs): void {
    const target = this.#clock.samplesAt(nowNs);
    for (let head = this.#queue[0]; head !== undefined; head = this.#queue[0]) {
      if (this.#waits(head.output)) break;
      if (this.#cursor < this.#startAt) this.#cursor = Math.min(this.#startAt, Math.max(target, this.#cursor));
      if (this.#cursor < this.#startAt) return;
      const left = head.samples.length - this.#headPos;
      const count = Math.min(left, target - this.#cursor);
      if (count > 0) this.#play(head, count);
      if (count < left) return;
      this.#finish(head);
    }
    this.#idleUntil(target);
  }

  /** Whether a frame of so many samples may be queued now. After `advance`. */
  fits(samples: number): boolean {
    if (this.#queue.length >= PLAYOUT_QUEUE_FRAMES_MAX) return false;
    return samples === 0 || this.#samplesQueued() + samples <= this.#queueSamplesMax;
  }

  /** Queues a frame that `fits`, at `nowNs`. After `advance(nowNs)`. */
  enqueue(frame: PlayoutFrame, nowNs: MonoNs): void {
    const soonest = this.#soonest(nowNs);
    if (this.#queue.length === 0) this.#begin(frame, soonest);
    this.#queue.push(frame);
    this.#counts.framesTaken += 1;
    this.#counts.samplesTaken += frame.samples.length;
    if (frame.end || this.#samplesQueued() >= this.#bufferSamples) this.#startAt = Math.min(this.#startAt, soonest);
  }

  /** Throws away what is queued of the outputs that `cut` names; returns the whole frames among it. After `advance`. */
  flush(cut: (turn: number, generation: number) => boolean): number {
    let whole = 0;
    let keep = 0;
    for (const [index, frame] of this.#queue.entries()) {
      const { turn, generation } = frame.output;
      if (!cut(turn, generation)) {
        this.#queue[keep++] = frame;
        continue;
      }
      const played = index === 0 ? this.#headPos : 0;
      if (index === 0) this.#headPos = 0;
      this.#counts.samplesFlushed += frame.samples.length - played;
      if (played > 0) {
        this.#counts.framesPlayed += 1;
        this.#counts.framesCut += 1;
      } else whole += 1;
    }
    this.#queue.length = keep;
    this.#counts.framesFlushed += whole;
    if (this.#dry !== undefined && cut(this.#dry.output.turn, this.#dry.output.generation)) this.#endDry(this.#cursor);
    return whole;
  }

  /** Output of `turn` and of earlier turns waits from now on; 0 holds everything. After `advance`. */
  hold(turn: number): void {
    if (this.#holdTurn === undefined) this.#counts.holds += 1;
    this.#holdTurn = this.#holdTurn === 0 || turn === 0 ? 0 : Math.max(turn, this.#holdTurn ?? 0);
  }

  /** After `advance`. */
  resume(): void {
    this.#holdTurn = undefined;
  }

  held(): number | undefined {
    return this.#holdTurn;
  }

  /** The listener is away: nothing plays. After `advance`. */
  pause(paused: boolean): void {
    this.#paused = paused;
  }

  /** The instant of the next report as things stand; undefined when nothing is due. After `advance`. */
  nextReportNs(): MonoNs | undefined {
    let at = Math.max(this.#cursor, this.#startAt);
    let pos = this.#headPos;
    for (const frame of this.#queue) {
      if (this.#waits(frame.output)) return undefined;
      const { output, offsetUs, samples } = frame;
      const left = samples.length - pos;
      if (output.phase === "accepted") return this.#clock.instantOf(left > 0 ? at + 1 : at);
      if (left > 0 && offsetUs + samplesToUs(samples.length, this.#clock.rateHz) >= output.nextProgressUs) {
        const mark = usToSamples(output.nextProgressUs - offsetUs, this.#clock.rateHz);
        return this.#clock.instantOf(at + Math.max(1, mark - pos));
      }
      at += left;
      pos = 0;
      if (frame.end) return this.#clock.instantOf(at);
    }
    return undefined;
  }

  empty(): boolean {
    return this.#queue.length === 0;
  }

  counts(): PlayoutCounts {
    return { ...this.#counts, framesQueued: this.#queue.length, samplesQueued: this.#samplesQueued() };
  }

  #waits(output: Output): boolean {
    if (this.#paused) return true;
    return this.#holdTurn !== undefined && (this.#holdTurn === 0 || output.turn <= this.#holdTurn);
  }

  /** The first device sample that has not begun at `nowNs`. */
  #soonest(nowNs: MonoNs): number {
    const passed = this.#clock.samplesAt(nowNs);
    return Math.max(this.#cursor, this.#clock.instantOf(passed) < nowNs ? passed + 1 : passed);
  }

  #samplesQueued(): number {
    const { samplesTaken, samplesPlayed, samplesFlushed } = this.#counts;
    return samplesTaken - samplesPlayed - samplesFlushed;
  }

  /** The queue was empty: after an underrun audio goes on at once, else the start buffer fills first. */
  #begin(frame: PlayoutFrame, soonest: number): void {
    const goesOn = this.#dry?.output === frame.output;
    this.#endDry(soonest);
    this.#startAt = goesOn ? soonest : soonest + this.#bufferSamples;
  }

  #endDry(at: number): void {
    const dry = this.#dry;
    if (dry === undefined) return;
    this.#dry = undefined;
    if (at <= dry.since) return;
    if (!dry.counted) this.#countDry(dry);
    this.#counts.underrunSamples += at - dry.since;
  }

  #idleUntil(target: number): void {
    if (target <= this.#cursor) return;
    this.#cursor = target;
    const dry = this.#dry;
    if (dry === undefined || dry.counted) return;
    // A held device does not thirst.
    if (this.#waits(dry.output)) dry.since = target;
    else this.#countDry(dry);
  }

  #countDry(dry: { counted: boolean }): void {
    dry.counted = true;
    this.#counts.underruns += 1;
  }

  #play(frame: PlayoutFrame, count: number): void {
    const { output, offsetUs, samples } = frame;
    const { rateHz } = this.#clock;
    if (output.phase === "accepted") {
      output.phase = "playing";
      this.#onReport({ state: "started", output, playedUs: 0 });
    }
    const to = this.#headPos + count;
    this.#onPlayed({
      turn: output.turn,
      generation: output.generation,
      startSample: this.#cursor,
      fromUs: offsetUs + samplesToUs(this.#headPos, rateHz),
      toUs: offsetUs + samplesToUs(to, rateHz),
      samples: samples.subarray(this.#headPos, to),
    });
    this.#headPos = to;
    this.#cursor += count;
    this.#counts.samplesPlayed += count;
    output.playedUs = Math.max(output.playedUs, offsetUs + samplesToUs(to, rateHz));
    if (output.playedUs < output.nextProgressUs) return;
    output.nextProgressUs = nextProgressUs(output.playedUs);
    this.#onReport({ state: "progress", output, playedUs: output.playedUs });
  }

  #finish(frame: PlayoutFrame): void {
    const { output } = frame;
    this.#queue.shift();
    this.#headPos = 0;
    this.#counts.framesPlayed += 1;
    this.#dry = undefined;
    if (!frame.end) {
      if (this.#queue.length === 0) this.#dry = { output, since: this.#cursor, counted: false };
      return;
    }
    // A turn of an end mark alone starts too: the delivery machine knows no way from accepted to completed.
    if (output.phase === "accepted") this.#onReport({ state: "started", output, playedUs: 0 });
    output.phase = "completed";
    this.#onReport({ state: "completed", output, playedUs: output.playedUs });
  }
}
