/** The caller's lanes into the runtime: numbered, deduplicated over resends, control in its two classes (kernel.md §6). */
import type { Clock } from "@rspp/ports/clock";
import type { TransportIngress } from "@rspp/ports/transport";
import type { CallerAudio } from "./audio-in.ts";
import { AudioPace } from "./audio-pace.ts";
import { RUNTIME_FORMAT } from "./formats.ts";
import { limits } from "./limits.ts";
import { fieldProblem, type Problem } from "./problem.ts";

const FRAME_US = limits.FRAME_MS * 1_000;
const LEAK = 1.02;
/** How far a stated length may be from that of the samples, microseconds. */
const TOLERANCE_US = 1_000;

export interface CallerCounts {
  /** Frames given to the runtime. */
  frames: number;
  /** Audio frames of the caller's end that came again, never came, could not be decoded, or came too far ahead. */
  duplicates: number;
  missed: number;
  damaged: number;
  ahead: number;
  signals: number;
  /** Packets decoded and the time it took, nanoseconds (F-090). */
  transcoded: number;
  transcodeNs: number;
}

export interface CallerLineOptions {
  clock: Pick<Clock, "nowNs" | "timerAt">;
  audio: CallerAudio;
  epoch(): number;
  deliver(message: TransportIngress): void;
}

export class CallerLine {
  readonly counts: CallerCounts = {
    frames: 0,
    duplicates: 0,
    missed: 0,
    damaged: 0,
    ahead: 0,
    signals: 0,
    transcoded: 0,
    transcodeNs: 0,
  };
  readonly #options: CallerLineOptions;
  readonly #pace: AudioPace;
  #sequence = 0;
  #mediaUs = 0;
  #controls = 0;
  /** How far audio is ahead of real time, microseconds; below zero where it is behind, as after a cut. */
  #aheadUs = 0;
  #aheadAtNs = -1;
  /** Highest sequence that was taken; what is sent again below it is known. */
  #audioSeen = 0;

  constructor(options: CallerLineOptions) {
    this.#options = options;
    this.#pace = new AudioPace(options.clock);
  }

  /** Another adapter had the session: the last packet that the caller's end sent to it, and what the runtime has of that. */
  goOnAfter(audioSeen: number, runtime: { readonly audioThrough: number; readonly controlThrough: number }): void {
    this.#audioSeen = audioSeen;
    this.#sequence = runtime.audioThrough;
    this.#controls = runtime.controlThrough;
  }

  audioSeen(): number {
    return this.#audioSeen;
  }

  /**
   * A packet of the caller's end. `sequence` rises from 1, a hole being audio that was lost; `durationUs` 0 where it is not
   * stated. The bytes are looked at before this returns. What is wrong (fields of `audio`), or null.
   */
  audio(sequence: number, data: Uint8Array, durationUs: number): Problem | null {
    if (sequence <= this.#audioSeen) {
      this.counts.duplicates += 1;
      return null;
    }
    const problem = this.#audioProblem(data.byteLength, durationUs);
    if (problem !== null) return problem;
    this.#stepOver(sequence, durationUs);
    this.#audioSeen = sequence;
    const startNs = this.#options.clock.nowNs();
    if (this.#ahead(durationUs || FRAME_US, startNs)) {
      this.counts.ahead += 1;
      return {
        reason: "rate_limited",
        remedy: `Send audio as it is spoken: at most ${limits.INPUT_AHEAD_MS} ms ahead of real time.`,
        metadata: { field: "audio.sequence", sequence: String(sequence) },
      };
    }
    const frames = this.#options.audio.push(data);
    this.counts.transcoded += 1;
    this.counts.transcodeNs += this.#options.clock.nowNs() - startNs;
    if (frames !== null) this.#frames(frames);
    else this.counts.damaged += 1;
    return null;
  }

  /** The tail inside filter and last frame goes to the runtime, padded: what follows belongs after it. */
  finishFrame(): void {
    this.#frames(this.#options.audio.flush());
  }

  /** A signal of this adapter, or of the caller's end through it; positioned ones come after all audio taken so far. */
  control(
    signal: string,
    controlClass: "overtaking" | "positioned",
    reason: string,
    fields: Readonly<Record<string, string | number>> = {},
  ): void {
    this.counts.signals += 1;
    const lastMediaSequence = this.#sequence;
    const say = (): void => {
      // Numbered as it goes: what overtakes goes ahead of what waits.
      this.#controls += 1;
      this.#options.deliver({
        kind: "control",
        epoch: this.#options.epoch(),
        sequence: this.#controls,
        signal,
        controlClass,
        ...(controlClass === "positioned" ? { lastMediaSequence } : {}),
        ...(reason === "" ? {} : { reason }),
        ...(Object.keys(fields).length === 0 ? {} : { fields }),
      });
    };
    if (controlClass === "overtaking") return say();
    this.#pace.push(0, say);
    // Who has hung up waits for nothing.
    if (signal === "ended") this.#pace.flush();
  }

  /** The call is over: what waits goes nowhere. */
  close(): void {
    this.#pace.close();
    this.#options.audio.close();
  }

  #audioProblem(bytes: number, durationUs: number): Problem | null {
    const { codec, rateHz, channels } = this.#options.audio.format;
    if (bytes === 0)
      return fieldProblem("audio.data", "bytes.min_len", "is empty", "send no frame where there is none");
    if (codec === "opus") return null;
    const sampleBytes = (codec === "pcm_s16le" ? 2 : 1) * channels;
    if (bytes % sampleBytes !== 0) {
      return fieldProblem("audio.data", "audio.whole", "ends inside a sample", "send whole samples of all channels");
    }
    const realUs = (bytes / sampleBytes / rateHz) * 1e6;
    if (durationUs === 0 || Math.abs(realUs - durationUs) <= TOLERANCE_US) return null;
    const said = `says ${durationUs}, the samples last ${Math.round(realUs)}`;
    return fieldProblem("audio.duration_us", "audio.duration", said, "give their length, 0, or the right input_format");
  }

  /** A hole keeps its place in media time, and in the numbers, so that the runtime declares it. */
  #stepOver(sequence: number, durationUs: number): void {
    const missed = sequence - this.#audioSeen - 1;
    if (missed <= 0) return;
    this.counts.missed += missed;
    const holeUs = Math.min(missed * (durationUs || FRAME_US), limits.INPUT_HOLE_MS_MAX * 1_000);
    const frames = Math.max(1, Math.round(holeUs / FRAME_US));
    this.#sequence += frames;
    this.#mediaUs += frames * FRAME_US;
  }

  /** A bucket that leaks a little faster than real time: no sound card keeps our clock, and calls last for hours. */
  #ahead(durationUs: number, nowNs: number): boolean {
    const elapsedUs = this.#aheadAtNs < 0 ? 0 : (nowNs - this.#aheadAtNs) / 1_000;
    this.#aheadAtNs = nowNs;
    const leaked = Math.max(-limits.RESUME_WITHIN_MS * 1_000, this.#aheadUs - elapsedUs * LEAK);
    if (leaked + durationUs > limits.INPUT_AHEAD_MS * 1_000) {
      this.#aheadUs = leaked;
      return true;
    }
    this.#aheadUs = leaked + durationUs;
    return false;
  }

  #frames(frames: readonly Uint8Array[]): void {
    for (const bytes of frames) {
      this.#sequence += 1;
      const [sequence, mediaUs] = [this.#sequence, this.#mediaUs];
      this.#mediaUs += FRAME_US;
      // In time, as nearly all of it: no closure is made.
      if (this.#pace.passes(FRAME_US)) this.#hand(sequence, mediaUs, bytes);
      else this.#wait(sequence, mediaUs, new Uint8Array(bytes));
    }
  }

  #wait(sequence: number, mediaUs: number, bytes: Uint8Array): void {
    this.#pace.push(FRAME_US, () => this.#hand(sequence, mediaUs, bytes));
  }

  #hand(sequence: number, mediaUs: number, bytes: Uint8Array): void {
    this.counts.frames += 1;
    const epoch = this.#options.epoch();
    const durationUs = FRAME_US;
    const format = RUNTIME_FORMAT;
    this.#options.deliver({ kind: "audio", epoch, sequence, mediaUs, durationUs, format, bytes });
  }
}
