import type { AudioFormat } from "@rspp/ports/provider";
import type { Media } from "../audio-out.ts";

/** `count` frames of 20 ms of a turn, the last one with the end mark where `end`. */
export function mediaOf(
  turn: number,
  count: number,
  { end = true, generation = 0, from = 1, format = pcm16 }: MediaOptions = {},
): Media[] {
  const size = (format.rateHz / 50) * (format.codec === "pcm_s16le" ? 2 : 1);
  return Array.from({ length: count }, (_, i) => ({
    kind: "media",
    epoch: 1,
    turn,
    generation,
    sequence: from + i,
    offsetUs: (from + i - 1) * 20_000,
    durationUs: 20_000,
    format,
    bytes: new Uint8Array(size).fill(1),
    end: end && i === count - 1,
  }));
}

export interface MediaOptions {
  end?: boolean;
  generation?: number;
  /** Sequence of the first frame. */
  from?: number;
  format?: AudioFormat;
}

const pcm16: AudioFormat = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 };
