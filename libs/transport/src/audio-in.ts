/** The caller's audio, whatever the caller's end speaks, as 20 ms frames of pcm_s16le, 16 kHz, mono (F-090). */
import { FrameSplitter } from "@rspp/audio/frames";
import { decodeAlaw, decodeMulaw } from "@rspp/audio/g711";
import { createOpusDecoder, type OpusRate } from "@rspp/audio/opus";
import { bytesToS16, downmix } from "@rspp/audio/pcm";
import { createResampler, type Resampler } from "@rspp/audio/resample";
import type { AudioFormat } from "@rspp/ports/provider";
import { RUNTIME_FORMAT } from "./formats.ts";

export interface CallerAudio {
  readonly format: AudioFormat;
  /**
   * Whole frames of 640 bytes, which the next packet overwrites, list and all: who keeps them copies them. Null where the
   * packet cannot be decoded.
   */
  push(packet: Uint8Array): readonly Uint8Array[] | null;
  /** What the filter and the last frame still hold, padded with silence: nothing is clipped at an end of utterance. */
  flush(): Uint8Array[];
  close(): void;
}

/** The samples are the decoder's own: the next packet overwrites them. */
type Decode = (packet: Uint8Array) => Int16Array;

export async function createCallerAudio(format: AudioFormat): Promise<CallerAudio> {
  const decode = decoderOf(format);
  const same = format.rateHz === RUNTIME_FORMAT.rateHz;
  const rates = { inRateHz: format.rateHz, outRateHz: RUNTIME_FORMAT.rateHz };
  // A frame that came in goes on at once: cutting it where the filter is exact would make it wait for the next one.
  const resampler = same ? null : await createResampler({ ...rates, realTime: true });
  const splitter = new FrameSplitter();
  return {
    format,
    push(packet) {
      const samples = decode(packet);
      if (samples.length === 0 && packet.byteLength > 0) return null;
      return splitter.peek(resampler === null ? samples : resampler.peek(samples));
    },
    flush: () => flushed(splitter, resampler),
    close: () => resampler?.close(),
  };
}

function flushed(splitter: FrameSplitter, resampler: Resampler | null): Uint8Array[] {
  const frames = resampler === null ? [] : splitter.push(resampler.flush());
  const rest = splitter.flush();
  return rest === undefined ? frames : [...frames, rest];
}

function decoderOf({ codec, rateHz, channels }: AudioFormat): Decode {
  switch (codec) {
    case "pcm_s16le":
      return (packet) => downmix(bytesToS16(packet), channels);
    case "mulaw":
    case "alaw": {
      const decode = codec === "mulaw" ? decodeMulaw : decodeAlaw;
      // Packets are of one length as a rule: all are decoded into the same memory.
      let samples = new Int16Array(0);
      return (packet) => {
        if (samples.length !== packet.length) samples = new Int16Array(packet.length);
        return downmix(decode(packet, samples), channels);
      };
    }
    case "opus": {
      const decoder = createOpusDecoder({ rateHz: rateHz as OpusRate, channels: channels === 2 ? 2 : 1 });
      const nothing = new Int16Array(0);
      return (packet) => {
        try {
          return downmix(decoder.decode(packet), channels);
        } catch {
          // A damaged packet is dropped and the next one taken, as a telephone does.
          return nothing;
        }
      };
    }
  }
}
