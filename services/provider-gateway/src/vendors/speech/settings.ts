/** Settings that every vendor's voice understands alike, so that voice, language and rate survive a switch of provider. */
import type { AudioFormat } from "@rspp/ports/provider";
import { speechLimits } from "./limits.ts";

export const outputFormats = ["pcm_8000", "pcm_16000", "pcm_24000", "mulaw_8000"] as const;

/** What a vendor gives and what is asked of it: raw samples, one channel. */
export interface SpeechFormat extends AudioFormat {
  readonly codec: "pcm_s16le" | "mulaw";
  readonly rateHz: 8_000 | 16_000 | 24_000;
  readonly channels: 1;
}

export const speechSpecs = {
  /** Language tag, e.g. `de-DE`; empty: the voice's own. */
  language: { type: "string", default: "" },
  /** Speaking rate; 1 is the voice's own. Where a vendor takes less, its nearest. */
  rate: { type: "number", default: 1, min: 0.5, max: 2 },
  /** `word=phonetic letters`, in IPA; left out where the vendor takes none. */
  pronunciations: { type: "strings", default: [] },
  output_format: { type: "string", default: "pcm_16000", oneOf: outputFormats },
  /** False: a clause's audio goes on when it is whole. */
  streaming: { type: "boolean", default: true },
  /** From the request, or the connection's beginning, to the vendor's first sign. In real time, as `stall_ms` is. */
  connect_timeout_ms: { type: "number", default: speechLimits.CONNECT_MS, min: 1, max: 60_000 },
  /** The longest time without a chunk while one is due; outcome `timeout`, detail `stalled`. */
  stall_ms: { type: "number", default: speechLimits.STALL_MS, min: 1, max: 60_000 },
} as const;

/** The format that setting `output_format` names. */
export function formatOf(name: string): SpeechFormat {
  const [codec = "", rate = ""] = name.split("_");
  const rateHz = rate === "8000" ? 8_000 : rate === "24000" ? 24_000 : 16_000;
  return { codec: codec === "mulaw" ? "mulaw" : "pcm_s16le", rateHz, channels: 1 };
}

/** Setting `pronunciations` by word in lower case. An entry without `=` is left out: the spec's compiler makes none such. */
export function pronunciationsOf(entries: readonly string[]): ReadonlyMap<string, string> {
  const map = new Map<string, string>();
  for (const entry of entries.slice(0, speechLimits.PRONUNCIATIONS_MAX)) {
    const at = entry.indexOf("=");
    if (at > 0 && at < entry.length - 1) map.set(entry.slice(0, at).toLowerCase(), entry.slice(at + 1));
  }
  return map;
}
