/**
 * The agent's audio in the form the caller's end wants (F-090). What already has that form passes as it is; the rest is
 * decoded, resampled and cut into 20 ms packets, whose media time is counted in samples from the turn's first.
 */
import { encodeAlaw, encodeMulaw } from "@rspp/audio/g711";
import { createOpusEncoder, type OpusRate } from "@rspp/audio/opus";
import { bytesToS16, downmix, s16ToBytes } from "@rspp/audio/pcm";
import { createResampler, type Resampler } from "@rspp/audio/resample";
import type { AudioFormat } from "@rspp/ports/provider";
import type { TransportEgress } from "@rspp/ports/transport";
import { sameFormat } from "./formats.ts";
import { limits } from "./limits.ts";

export type Media = Extract<TransportEgress, { kind: "media" }>;

export interface AgentAudio {
  /** Emits now, or once the resampler of a new source format is loaded; order is kept. False when the wait is full. */
  push(media: Media): boolean;
  /** Whether a source of this format can be converted. */
  takes(format: AudioFormat): boolean;
  /** Calls back once nothing waits for a resampler: now, as a rule. */
  whenIdle(then: () => void): void;
  close(): void;
}

/** Where a turn's output stands. */
interface Line {
  turn: number;
  generation: number;
  sequence: number;
  /** Media time of the first sample, and samples emitted since. */
  originUs: number;
  samples: number;
  held: Int16Array;
}

const silence = new Uint8Array(0);
const nothing = new Int16Array(0);

/** @param emit is given bytes that the next packet may overwrite: who keeps them copies them. */
export function createAgentAudio(target: AudioFormat, emit: (media: Media) => void): AgentAudio {
  return new Converter(target, emit);
}

class Converter implements AgentAudio {
  readonly #target: AudioFormat;
  readonly #emit: (media: Media) => void;
  readonly #encode: (samples: Int16Array) => Uint8Array;
  readonly #packet: number;
  readonly #pending: Media[] = [];
  /** By source: its rate, and whether it is of a turn, which ends, or of the session, which does not. */
  readonly #resamplers = new Map<number, Resampler>();
  #idle: (() => void)[] = [];
  #loading = false;
  #closed = false;
  #line: Line | null = null;

  constructor(target: AudioFormat, emit: (media: Media) => void) {
    this.#target = target;
    this.#emit = emit;
    this.#packet = (target.rateHz * limits.FRAME_MS) / 1_000;
    this.#encode = encoderOf(target);
  }

  takes(format: AudioFormat): boolean {
    return sameFormat(format, this.#target) || (format.codec === "pcm_s16le" && format.channels <= 2);
  }

  push(media: Media): boolean {
    if (this.#loading) return this.#wait(media);
    if (sameFormat(media.format, this.#target) || (media.bytes.byteLength === 0 && this.#line === null)) {
      this.#emit(media.format === this.#target ? media : { ...media, format: this.#target });
      return true;
    }
    const { rateHz } = media.format;
    if (rateHz !== this.#target.rateHz && !this.#resamplers.has(sourceOf(media))) {
      void this.#load(media);
      return this.#wait(media);
    }
    this.#convert(media);
    return true;
  }

  whenIdle(then: () => void): void {
    if (this.#loading) this.#idle.push(then);
    else then();
  }

  close(): void {
    this.#closed = true;
    this.#idle.length = 0;
    this.#pending.length = 0;
    for (const resampler of this.#resamplers.values()) resampler.close();
    this.#resamplers.clear();
  }

  #wait(media: Media): boolean {
    if (this.#pending.length >= limits.CONVERT_PENDING_MAX) return false;
    this.#pending.push({ ...media, bytes: new Uint8Array(media.bytes) });
    return true;
  }

  async #load(media: Media): Promise<void> {
    this.#loading = true;
    const source = sourceOf(media);
    const rates = { inRateHz: media.format.rateHz, outRateHz: this.#target.rateHz };
    const made = await createResampler({ ...rates, realTime: media.turn === 0 });
    this.#loading = false;
    if (this.#closed) return made.close();
    this.#resamplers.set(source, made);
    for (const media of this.#pending.splice(0)) this.push(media);
    if (!this.#loading) for (const then of this.#idle.splice(0)) then();
  }

  #convert(media: Media): void {
    const line = this.#lineOf(media);
    const resampler = media.format.rateHz === this.#target.rateHz ? undefined : this.#resamplers.get(sourceOf(media));
    const source = downmix(bytesToS16(media.bytes), media.format.channels);
    this.#put(line, media, resampler === undefined ? source : resampler.peek(source));
    if (media.end) this.#finish(line, media, resampler);
  }

  /** A new turn or generation begins with an empty filter; so does audio after a hole. */
  #lineOf(media: Media): Line {
    const known = this.#line;
    const { turn, generation, offsetUs } = media;
    if (known !== null && known.turn === turn && known.generation === generation) return known;
    for (const resampler of this.#resamplers.values()) resampler.flush();
    const made: Line = { turn, generation, sequence: 0, originUs: offsetUs, samples: 0, held: nothing };
    this.#line = made;
    return made;
  }

  #put(line: Line, media: Media, samples: Int16Array): void {
    const all = joined(line.held, samples);
    let at = 0;
    for (; at + this.#packet <= all.length; at += this.#packet) {
      const whole = at === 0 && all.length === this.#packet;
      this.#send(line, media, whole ? all : all.subarray(at, at + this.#packet), false);
    }
    line.held = at === all.length ? nothing : all.slice(at);
  }

  /** The tail goes with the end mark; Opus has whole packets only and is padded with silence. */
  #finish(line: Line, media: Media, resampler: Resampler | undefined): void {
    if (resampler !== undefined) this.#put(line, media, resampler.flush());
    const tail = line.held;
    line.held = nothing;
    if (tail.length > 0 && this.#target.codec === "opus") {
      const whole = new Int16Array(this.#packet);
      whole.set(tail);
      this.#send(line, media, whole, true);
    } else this.#send(line, media, tail, true);
    this.#line = null;
  }

  #send(line: Line, media: Media, samples: Int16Array, end: boolean): void {
    const { rateHz } = this.#target;
    line.sequence += 1;
    const offsetUs = line.originUs + Math.round((line.samples * 1e6) / rateHz);
    line.samples += samples.length;
    const durationUs = line.originUs + Math.round((line.samples * 1e6) / rateHz) - offsetUs;
    const bytes = samples.length === 0 ? silence : this.#encode(samples);
    const { kind, epoch, turn, generation } = media;
    const { sequence } = line;
    const format = this.#target;
    this.#emit({ kind, epoch, turn, generation, sequence, offsetUs, durationUs, format, bytes, end });
  }
}

function encoderOf({ codec, rateHz }: AudioFormat): (samples: Int16Array) => Uint8Array {
  switch (codec) {
    case "pcm_s16le":
      return s16ToBytes;
    case "mulaw": {
      let bytes = new Uint8Array(0);
      return (samples) => {
        if (bytes.length !== samples.length) bytes = new Uint8Array(samples.length);
        return encodeMulaw(samples, bytes);
      };
    }
    case "alaw":
      return encodeAlaw;
    case "opus": {
      const encoder = createOpusEncoder({ rateHz: rateHz as OpusRate, channels: 1 });
      return (samples) => encoder.encode(samples);
    }
  }
}

/** The audio of a turn is exact in its length; that of a session, e.g. an echo, never waits for its next block. */
function sourceOf({ turn, format }: Media): number {
  return turn === 0 ? -format.rateHz : format.rateHz;
}

function joined(a: Int16Array, b: Int16Array): Int16Array {
  if (a.length === 0) return b;
  const out = new Int16Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}
