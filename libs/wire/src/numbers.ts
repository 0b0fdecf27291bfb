/** 64-bit integers of the contracts <-> safe integers, and media time. */
import { create } from "@bufbuild/protobuf";
import { type MediaTime, MediaTimeSchema } from "@rspp/gen/rspp/event/v1/media_time_pb";
import type { WireMediaTime } from "./wire-event.ts";

const largest = BigInt(Number.MAX_SAFE_INTEGER);

/** The number, or null when it cannot be held exactly. */
export function safeNumber(value: bigint): number | null {
  return value <= largest && value >= -largest ? Number(value) : null;
}

/** Whether a number fits a uint64 field exactly. */
export function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

/** Whether a number fits a uint32 field. */
export function isUint32(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff;
}

export function mediaTimeToWire(time: WireMediaTime): MediaTime {
  return time.kind === "samples"
    ? create(MediaTimeSchema, {
        position: { case: "sampleIndex", value: BigInt(time.index) },
        sampleRateHz: time.rateHz,
      })
    : create(MediaTimeSchema, { position: { case: "ptsUs", value: BigInt(time.us) } });
}

/** Null for a position that is absent, past exact arithmetic, or samples without a rate. */
export function mediaTimeFromWire(time: MediaTime): WireMediaTime | null {
  if (time.position.case === undefined) return null;
  const value = safeNumber(time.position.value);
  if (value === null) return null;
  if (time.position.case === "ptsUs") return time.sampleRateHz === 0 ? { kind: "pts", us: value } : null;
  return time.sampleRateHz === 0 ? null : { kind: "samples", index: value, rateHz: time.sampleRateHz };
}
