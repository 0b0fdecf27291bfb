import { Decoder, Encoder } from "@evan/opus";
import { bytesToS16, s16ToBytes } from "./pcm.ts";

export type OpusRate = 8000 | 12000 | 16000 | 24000 | 48000;

export interface OpusSettings {
  rateHz: OpusRate;
  channels: 1 | 2;
  /** Bits per second; default 32000. */
  bitrateBps?: number;
}

export interface OpusEncoder {
  /** Encodes exactly 20 ms of interleaved samples. Throws RangeError on any other length. */
  encode(samples: Int16Array): Uint8Array;
}

export interface OpusDecoder {
  /** Decodes one packet. Throws OpusError when the packet is damaged. */
  decode(packet: Uint8Array): Int16Array;
}

export class OpusError extends Error {
  override readonly name = "OpusError";
}

export function createOpusEncoder(settings: OpusSettings): OpusEncoder {
  const encoder = new Encoder({ channels: settings.channels, sample_rate: settings.rateHz, application: "voip" });
  encoder.bitrate = settings.bitrateBps ?? 32_000;
  const length = (settings.rateHz / 50) * settings.channels;
  return {
    encode(samples) {
      if (samples.length !== length) {
        throw new RangeError(`an Opus frame holds 20 ms: expected ${length} samples, found ${samples.length}`);
      }
      // The package may hand out a view of its own memory: copied, since frames are kept.
      return encoder.encode(s16ToBytes(samples)).slice();
    },
  };
}

export function createOpusDecoder(settings: OpusSettings): OpusDecoder {
  const decoder = new Decoder({ channels: settings.channels, sample_rate: settings.rateHz });
  return {
    decode(packet) {
      if (packet.length === 0) throw new OpusError("the Opus packet is empty");
      try {
        return bytesToS16(decoder.decode(packet).slice());
      } catch (cause) {
        throw new OpusError("the Opus packet is damaged; drop it and go on with the next", { cause });
      }
    },
  };
}
