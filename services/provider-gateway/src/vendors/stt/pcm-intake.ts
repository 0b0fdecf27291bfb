import { decodeAlaw, decodeMulaw } from "@rspp/audio/g711";
import { createOpusDecoder, type OpusRate } from "@rspp/audio/opus";
import { bytesToS16, downmix, s16ToBytes } from "@rspp/audio/pcm";
import { createResampler, type Resampler } from "@rspp/audio/resample";
import type { AudioFormat } from "@rspp/ports/provider";

/** What every recogniser of a vendor is given. */
export const intakeRateHz = 16_000;

const opusRates: readonly number[] = [8_000, 12_000, 16_000, 24_000, 48_000];

/**
 * Turns an utterance's audio of any format into 16 kHz mono s16le. The runtime's own format passes at once; another rate
 * waits for the resampler to load, in order. `give` gets bytes that are its own.
 */
export class PcmIntake {
  readonly #give: (pcm: Uint8Array) => void;
  #format: AudioFormat | undefined;
  #decode: ((bytes: Uint8Array) => Int16Array) | undefined;
  #resampler: Resampler | undefined;
  #loading: Promise<void> | undefined;
  #waiting: Int16Array[] = [];
  #closed = false;

  constructor(give: (pcm: Uint8Array) => void) {
    this.#give = give;
  }

  /** @returns what is wrong with the audio, if anything. */
  push(bytes: Uint8Array, format: AudioFormat): string | undefined {
    const known = this.#format;
    if (known === undefined) {
      const decode = decoderOf(format);
      if (typeof decode === "string") return decode;
      this.#format = { ...format };
      this.#decode = decode;
    } else if (known.codec !== format.codec || known.rateHz !== format.rateHz || known.channels !== format.channels) {
      return "the audio changed its format within the utterance";
    }
    let samples: Int16Array;
    try {
      samples = downmix(this.#decode?.(bytes) ?? bytesToS16(bytes), format.channels);
    } catch {
      return "the audio could not be decoded";
    }
    if (format.rateHz === intakeRateHz) this.#give(new Uint8Array(s16ToBytes(samples)));
    else this.#resample(samples.slice(), format.rateHz);
    return undefined;
  }

  /** Gives what is still held, then calls `done`; at once where nothing has to be waited for. */
  flush(done: () => void): void {
    if (this.#loading === undefined) return done();
    void this.#loading.then(() => {
      if (this.#closed) return;
      const tail = this.#resampler?.flush();
      if (tail !== undefined && tail.length > 0) this.#give(new Uint8Array(s16ToBytes(tail)));
      done();
    });
  }

  /** Nothing is given any more. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#waiting = [];
    this.#resampler?.close();
    this.#resampler = undefined;
  }

  #resample(samples: Int16Array, inRateHz: number): void {
    if (this.#resampler !== undefined) return this.#giveSamples(this.#resampler.process(samples));
    this.#waiting.push(samples);
    this.#loading ??= createResampler({ inRateHz, outRateHz: intakeRateHz }).then((resampler) => {
      if (this.#closed) return resampler.close();
      this.#resampler = resampler;
      for (const held of this.#waiting.splice(0)) this.#giveSamples(resampler.process(held));
    });
  }

  #giveSamples(samples: Int16Array): void {
    if (samples.length > 0) this.#give(new Uint8Array(s16ToBytes(samples)));
  }
}

function decoderOf({ codec, rateHz, channels }: AudioFormat): ((bytes: Uint8Array) => Int16Array) | string {
  if (!Number.isInteger(rateHz) || rateHz < 8_000 || rateHz > 48_000) return "audio of 8000 to 48000 Hz is taken";
  if (channels !== 1 && channels !== 2) return "audio of 1 or 2 channels is taken";
  switch (codec) {
    case "pcm_s16le":
      return bytesToS16;
    case "mulaw":
      return (bytes) => decodeMulaw(bytes);
    case "alaw":
      return (bytes) => decodeAlaw(bytes);
    case "opus": {
      if (!opusRates.includes(rateHz)) return "Opus is decoded at 8, 12, 16, 24 or 48 kHz";
      const decoder = createOpusDecoder({ rateHz: rateHz as OpusRate, channels });
      return (bytes) => decoder.decode(bytes);
    }
    default:
      return "audio of pcm_s16le, mulaw, alaw or opus is taken";
  }
}

/** Samples as one WAV-less block; `pieces` are whole samples. */
export function joinPcm(pieces: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}
