/**
 * A caller's microphone: 20 ms frames from start to stop, silence between utterances, in the clock's time. It never stops
 * between, because endpointing lives on the silence after the last word.
 */
import type { MonoNs } from "@rspp/base/brand";
import { invariant } from "@rspp/base/invariant";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import { CALLER_RATE_HZ, FRAME_MS, MICROPHONE_CATCH_UP_MS, SPEECH_PENDING_MS_MAX } from "./limits.ts";
import { type SampleClock, samplesToUs } from "./sample-clock.ts";

export const CALLER_FRAME_SAMPLES = (CALLER_RATE_HZ * FRAME_MS) / 1000;

export interface SpeakOptions {
  /** When the first sample is spoken; now by default, and never before the previous speech has ended. */
  atNs?: MonoNs;
  /** Called once the frame that holds the last sample has been sent. */
  onSpoken?: () => void;
}

/** Where on the clock and on the caller's media axis the samples lie. */
export interface Spoken {
  startNs: MonoNs;
  endNs: MonoNs;
  fromUs: number;
  toUs: number;
}

export interface CallerFrame {
  /** Frames since the start, from 0; its media time is index × 20 ms. */
  index: number;
  samples: Int16Array;
  /** Whether anything but silence was put in. */
  voiced: boolean;
}

export interface MicrophoneOptions {
  clock: Clock;
  /** 16 kHz; its origin is the start of the first frame. */
  device: SampleClock;
  onFrame(frame: CallerFrame): void;
}

interface Speech {
  start: number;
  samples: Int16Array;
  onSpoken: (() => void) | undefined;
}

export class Microphone {
  readonly #clock: Clock;
  readonly #device: SampleClock;
  readonly #onFrame: (frame: CallerFrame) => void;
  readonly #pending: Speech[] = [];
  #timer: TimerHandle | undefined;
  #next = 0;
  #skipped = 0;
  #muted = false;
  #running = false;

  constructor(options: MicrophoneOptions) {
    invariant(options.device.rateHz === CALLER_RATE_HZ, "a caller's microphone runs at 16 kHz", options.device.rateHz);
    this.#clock = options.clock;
    this.#device = options.device;
    this.#onFrame = options.onFrame;
  }

  start(): void {
    this.#running = true;
    this.#arm();
  }

  /** No frame follows; what was not yet spoken is forgotten. */
  stop(): void {
    this.#running = false;
    this.#timer?.clear();
    this.#pending.length = 0;
  }

  mute(muted: boolean): void {
    this.#muted = muted;
  }

  /** Throws RangeError when more than SPEECH_PENDING_MS_MAX would wait. `samples` is 16 kHz mono and is not changed. */
  speak(samples: Int16Array, options: SpeakOptions = {}): Spoken {
    const waiting = this.#pending.reduce((sum, s) => sum + s.samples.length, 0);
    if (((waiting + samples.length) * 1000) / CALLER_RATE_HZ > SPEECH_PENDING_MS_MAX) {
      throw new RangeError(`more than ${SPEECH_PENDING_MS_MAX} ms of speech would wait; speak in smaller parts`);
    }
    const last = this.#pending.at(-1);
    const soonest = Math.max(
      this.#sampleAtOrAfter(this.#clock.nowNs()),
      this.#sampleAtOrAfter(options.atNs ?? this.#clock.nowNs()),
      this.#next * CALLER_FRAME_SAMPLES,
    );
    const start = last === undefined ? soonest : Math.max(soonest, last.start + last.samples.length);
    const end = start + samples.length;
    this.#pending.push({ start, samples, onSpoken: options.onSpoken });
    return {
      startNs: this.#device.instantOf(start),
      endNs: this.#device.instantOf(end),
      fromUs: samplesToUs(start, CALLER_RATE_HZ),
      toUs: samplesToUs(end, CALLER_RATE_HZ),
    };
  }

  /** Frames that have begun: a positioned message now comes after all of them, the one in the making included. */
  begun(): number {
    return Math.max(this.#next, Math.ceil(this.#device.samplesAt(this.#clock.nowNs()) / CALLER_FRAME_SAMPLES));
  }

  /** Frames made so far, and frames never made because the process stood still too long. */
  counts(): { frames: number; skipped: number } {
    return { frames: this.#next - this.#skipped, skipped: this.#skipped };
  }

  #sampleAtOrAfter(atNs: MonoNs): number {
    const passed = this.#device.samplesAt(atNs);
    return this.#device.instantOf(passed) < atNs ? passed + 1 : passed;
  }

  #arm(): void {
    if (!this.#running) return;
    const due = this.#device.instantOf((this.#next + 1) * CALLER_FRAME_SAMPLES);
    this.#timer = this.#clock.timerAt(due, () => this.#tick());
  }

  #tick(): void {
    const due = Math.floor(this.#device.samplesAt(this.#clock.nowNs()) / CALLER_FRAME_SAMPLES);
    const late = due - this.#next - MICROPHONE_CATCH_UP_MS / FRAME_MS;
    if (late > 0) {
      this.#next += late;
      this.#skipped += late;
    }
    while (this.#running && this.#next < due) this.#make();
    this.#arm();
  }

  #make(): void {
    const index = this.#next++;
    const from = index * CALLER_FRAME_SAMPLES;
    const to = from + CALLER_FRAME_SAMPLES;
    const samples = new Int16Array(CALLER_FRAME_SAMPLES);
    let voiced = false;
    for (const speech of this.#pending) {
      if (speech.start >= to) break;
      if (this.#muted) continue;
      const begin = Math.max(from, speech.start);
      const end = Math.min(to, speech.start + speech.samples.length);
      if (end <= begin) continue;
      samples.set(speech.samples.subarray(begin - speech.start, end - speech.start), begin - from);
      voiced = true;
    }
    this.#onFrame({ index, samples, voiced });
    for (let first = this.#pending[0]; first !== undefined; first = this.#pending[0]) {
      if (first.start + first.samples.length > to) break;
      this.#pending.shift();
      first.onSpoken?.();
    }
  }
}
