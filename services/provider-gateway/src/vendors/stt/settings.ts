import type { SettingSpec } from "../../settings.ts";

const number = (fallback: number, min: number, max: number) =>
  ({ type: "number", default: fallback, min, max }) as const satisfies SettingSpec;

/** Settings of every recogniser of a vendor; each adds its own. Names a vendor has no use for are left alone. */
export const recogniserSpecs = {
  /** True: audio goes while it comes, partials come back. False: one request with all of it, one answer. */
  streaming: { type: "boolean", default: true },
  /** BCP 47 tag. */
  language: { type: "string", default: "en-US" },
  /** Words and names that are likely to be said. */
  key_terms: { type: "strings", default: [] },
  /** Revisions before the final, where the vendor gives them. */
  partials: { type: "boolean", default: true },
  /** Silence after which the vendor tells that the caller has finished; 0: as the vendor has it. */
  endpointing_ms: number(0, 0, 10_000),
  /** From opening to a connection that takes audio. */
  connect_timeout_ms: number(5_000, 1, 60_000),
  /** Without a word of the vendor while its answer is due; the gateway's own watch over chunks has the same default. */
  stall_ms: number(4_000, 1, 120_000),
} as const;

/** Key terms of one request; vendors refuse more. Longer terms and further ones are left out. */
export const keyTermsMax = 100;
const keyTermCharsMax = 50;

export function fittingTerms(terms: readonly string[], max: number = keyTermsMax): string[] {
  const trimmed = terms.map((term) => term.trim()).filter((term) => term !== "" && term.length <= keyTermCharsMax);
  return [...new Set(trimmed)].slice(0, max);
}

/** `en` of `en-US`. */
export function primaryLanguage(tag: string): string {
  return (tag.split(/[-_]/)[0] ?? "").toLowerCase();
}
