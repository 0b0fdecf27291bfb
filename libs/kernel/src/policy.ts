/**
 * What the control plane's policy came to for this session (F-056, F-058): made by the shell from snapshots in memory, given
 * with the `snapshot` input, hence journaled; a replay never asks again. A turn keeps that of its opening.
 */
import type { ProviderCandidate } from "./graph.ts";

/** What one turn may use; absent: no bound. */
export interface PolicyCaps {
  tokens?: number;
  audioMs?: number;
  ttsCharacters?: number;
  costMicros?: number;
  onExceeded: "truncate" | "refuse";
}

export interface PolicyResolution {
  /** Which policy, e.g. `acme/default@3`. */
  policy: string;
  /** By node id: candidates in place of those of the pipeline, in order. Never empty. */
  bindings: Readonly<Record<string, readonly ProviderCandidate[]>>;
  caps?: PolicyCaps;
  /** Id of the posture that turns open with at least. */
  posture?: string;
  /** Why, in order of the rules. */
  reasons: readonly string[];
}
