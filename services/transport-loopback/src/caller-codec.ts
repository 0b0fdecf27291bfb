/**
 * The codec between the caller's device and the adapter (F-023, F-090): the caller encodes, the adapter transcodes to the
 * runtime's pcm_s16le, 16 kHz, mono, so that whatever comes after states one true format.
 */
import { FrameSplitter } from "@rspp/audio/frames";
import { decodeAlaw, decodeMulaw, encodeAlaw, encodeMulaw } from "@rspp/audio/g711";
import { createOpusDecoder, createOpusEncoder } from "@rspp/audio/opus";
import { s16ToBytes } from "@rspp/audio/pcm";
import { createResampler } from "@rspp/audio/resample";
import type { AudioFormat } from "@rspp/ports/provider";
import { CALLER_RATE_HZ } from "./limits.ts";

export const RUNTIME_FORMAT: AudioFormat = { codec: "pcm_s16le", rateHz: CALLER_RATE_HZ, channels: 1 };

export interface CallerCodec {
  /** What travels between caller and adapter. */
  readonly format: AudioFormat;
  /** The caller's side: 20 ms at 16 kHz to one packet. */
  encode(samples: Int16Array): Uint8Array;
  /** The adapter's side: one packet to whole frames of RUNTIME_FORMAT, 640 bytes each; none yet where a filter fills. */
  decode(packet: Uint8Array): Uint8Array[];
  close(): void;
}

const nothing = () => {};

/** No codec: the caller sends the runtime's own format. */
export function plainCallerCodec(): CallerCodec {
  return {
    format: RUNTIME_FORMAT,
    encode: (samples) => s16ToBytes(samples).slice(),
    decode: (packet) => [packet],
    close: nothing,
  };
}

/** A codec of its own per session: all but pcm_s16le hold state. G.711 travels at 8 kHz, Opus at 16 kHz. */
export async function createCallerCodec(codec: AudioFormat["codec"]): Promise<CallerCodec> {
  switch (codec) {
    case "pcm_s16le":
      return plainCallerCodec();
    case "opus":
      return opusCallerCodec();
    case "mulaw":
      return g711CallerCodec("mulaw", encodeMulaw, decodeMulaw);
    case "alaw":
      return g711CallerCodec("alaw", encodeAlaw, decodeAlaw);
  }
}

function opusCallerCodec(): CallerCodec {
  const settings = { rateHz: CALLER_RATE_HZ, channels: 1 } as const;
  const encoder = createOpusEncoder(settings);
  const decoder = createOpusDecoder(settings);
  const splitter = new FrameSplitter();
  return {
    format: { codec: "opus", ...settings },
    encode: (samples) => encoder.encode(samples),
    decode: (packet) => splitter.push(decoder.decode(packet)),
    close: nothing,
  };
}

async function g711CallerCodec(
  codec: "mulaw" | "alaw",
  encode: (samples: Int16Array) => Uint8Array,
  decode: (bytes: Uint8Array) => Int16Array,
): Promise<CallerCodec> {
  const rateHz = 8_000;
  const down = await createResampler({ inRateHz: CALLER_RATE_HZ, outRateHz: rateHz });
  const up = await createResampler({ inRateHz: rateHz, outRateHz: CALLER_RATE_HZ });
  const splitter = new FrameSplitter();
  return {
    format: { codec, rateHz, channels: 1 },
    encode: (samples) => encode(down.process(samples)),
    decode: (packet) => splitter.push(up.process(decode(packet))),
    close() {
      down.close();
      up.close();
    },
  };
}
