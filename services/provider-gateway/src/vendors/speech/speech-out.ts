/** What a vendor's voice gives becomes audio chunks: 20 ms each, in the format asked for, clause by clause. */
import { encodeMulaw } from "@rspp/audio/g711";
import { bytesToS16, s16ToBytes } from "@rspp/audio/pcm";
import { createResampler, type Resampler } from "@rspp/audio/resample";
import type { WordTiming } from "@rspp/ports/provider";
import type { Attempt } from "../../attempt.ts";
import { malformed } from "./failure.ts";
import { speechLimits } from "./limits.ts";
import type { SpeechFormat } from "./settings.ts";

export interface Clause {
  readonly text: string;
  readonly segment: number;
}

export interface SpeechOutOptions {
  readonly attempt: Attempt;
  /** Samples per second of what the vendor gives: 16-bit, one channel. */
  readonly sourceHz: number;
  readonly format: SpeechFormat;
  /** A clause goes on when it is whole (setting `streaming` false). */
  readonly whole: boolean;
}

const MULAW_SILENCE = 0xff;

/**
 * One clause at a time: `begin`, any number of `audio` and `words`, `end`. The last frame waits for what follows it, so that
 * it can say that it is the last; a rest shorter than a frame is filled up with silence.
 */
export class SpeechOut {
  readonly #attempt: Attempt;
  readonly #format: SpeechFormat;
  readonly #sourceHz: number;
  readonly #whole: boolean;
  readonly #resampler: Resampler;
  readonly #frameBytes: number;
  #clause: Clause = { text: "", segment: 0 };
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  /** First half of a sample that was cut in two on its way. */
  #odd: Uint8Array = new Uint8Array(0);
  #sourceBytes = 0;
  #words: readonly WordTiming[] | undefined;
  #audioUs = 0;

  /** The resampler is the output's: `close` frees it. */
  static async open(options: SpeechOutOptions): Promise<SpeechOut> {
    const { sourceHz, format } = options;
    return new SpeechOut(options, await createResampler({ inRateHz: sourceHz, outRateHz: format.rateHz }));
  }

  private constructor(options: SpeechOutOptions, resampler: Resampler) {
    this.#attempt = options.attempt;
    this.#format = options.format;
    this.#sourceHz = options.sourceHz;
    this.#whole = options.whole;
    this.#resampler = resampler;
    const samples = (options.format.rateHz * speechLimits.FRAME_MS) / 1_000;
    this.#frameBytes = options.format.codec === "mulaw" ? samples : samples * 2;
  }

  /** Of all clauses so far, microseconds. */
  get audioUs(): number {
    return this.#audioUs;
  }

  /** How much of the clause has come from the vendor, microseconds. */
  get clauseUs(): number {
    return Math.round(((this.#sourceBytes >> 1) * 1e6) / this.#sourceHz);
  }

  begin(clause: Clause): void {
    this.#clause = clause;
    this.#sourceBytes = 0;
    this.#odd = new Uint8Array(0);
    this.#words = undefined;
  }

  /** @throws SpeechFailure when a clause that must go on whole is longer than any clause is. */
  audio(bytes: Uint8Array): void {
    this.#sourceBytes += bytes.length;
    const all = this.#odd.length === 0 ? bytes : Buffer.concat([this.#odd, bytes]);
    this.#odd = all.length % 2 === 0 ? new Uint8Array(0) : all.slice(-1);
    this.#take(this.#resampler.process(bytesToS16(all)));
    if (!this.#whole) this.#emit(false);
    else if (this.#heldBytes > speechLimits.WHOLE_BYTES_MAX) throw malformed("answer: a clause without an end");
  }

  /** Times of the clause's words as far as known; a longer list replaces the one before. */
  words(words: readonly WordTiming[]): void {
    if (words.length > 0) this.#words = words.slice(0, speechLimits.WORDS_MAX);
  }

  /** @returns false when the vendor gave no audio of the clause; then nothing goes on. */
  end(): boolean {
    if (this.#sourceBytes < 2) return false;
    this.#take(this.#resampler.flush());
    this.#emit(true);
    return true;
  }

  /** Of a clause without a sound: its end, with one frame of silence. */
  silence(clause: Clause): void {
    this.begin(clause);
    this.#emit(true);
  }

  close(): void {
    this.#held = [];
    this.#resampler.close();
  }

  #take(samples: Int16Array): void {
    if (samples.length === 0) return;
    const bytes = this.#format.codec === "mulaw" ? encodeMulaw(samples) : s16ToBytes(samples);
    this.#held.push(bytes);
    this.#heldBytes += bytes.length;
  }

  #emit(end: boolean): void {
    const frame = this.#frameBytes;
    if (!end && this.#heldBytes <= frame) return;
    const all = this.#held.length === 1 ? (this.#held[0] as Uint8Array) : Buffer.concat(this.#held);
    this.#held = [];
    // All that is complete but the last, which may be the clause's last.
    const frames = Math.max(1, Math.ceil(all.length / frame)) - (end ? 0 : 1);
    for (let i = 0; i < frames; i++) this.#chunk(all, i * frame, end && i === frames - 1);
    const rest = end ? new Uint8Array(0) : all.slice(frames * frame);
    if (rest.length > 0) this.#held.push(rest);
    this.#heldBytes = rest.length;
  }

  #chunk(all: Uint8Array, at: number, segmentEnd: boolean): void {
    const silence = this.#format.codec === "mulaw" ? MULAW_SILENCE : 0;
    const bytes = new Uint8Array(this.#frameBytes);
    const part = all.subarray(at, at + this.#frameBytes);
    bytes.set(part);
    if (part.length < bytes.length) bytes.fill(silence, part.length);
    const words = this.#words === undefined ? {} : { words: this.#words };
    this.#words = undefined;
    const durationUs = speechLimits.FRAME_MS * 1_000;
    this.#audioUs += durationUs;
    const { segment, text } = this.#clause;
    const { codec, rateHz, channels } = this.#format;
    const format = { codec, rateHz, channels };
    this.#attempt.chunk({
      ...{ kind: "audio", bytes, format, durationUs, segment, segmentEnd, segmentChars: text.length },
      ...words,
    });
  }
}

/** Whether a voice has anything to say of it; vendors refuse text of mere punctuation, or answer with nothing. */
export function speakable(text: string): boolean {
  return /[\p{L}\p{N}]/u.test(text);
}
