/**
 * What the control plane's policy came to for this session (F-056, F-058): made by the shell from snapshots in memory, given
 * with the `snapshot` input, hence journaled; a replay never asks again. A turn keeps that of its opening.
 */

import type { ProviderCandidate } from "./graph.ts";
import type { TurnRateState } from "./turn-rate.ts";

/** What one turn may use; absent: no bound. */
export interface PolicyCaps {
  tokens?: number;
  audioMs?: number;
  ttsCharacters?: number;
  costMicros?: number;
  onExceeded: "truncate" | "refuse";
}

/** What a turn has used of its caps, of invocations that have ended. */
export interface CapUse {
  tokens: number;
  audioMs: number;
  ttsCharacters: number;
}

/** Of a turn under a policy; absent otherwise. */
export interface PolicyTurn {
  policy?: PolicyResolution;
  capUse?: CapUse;
}

/** Of an invocation whose candidates a policy has chosen; absent otherwise. */
export interface PolicyInvocation {
  candidates?: readonly ProviderCandidate[];
}

export interface PolicySession {
  /** In force for the next turn, and for what runs outside turns. */
  policy?: PolicyResolution;
  turnRate?: TurnRateState;
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
