/** What the safety gates are counted from, and what they come to (`kernel.md` §10, §11; NF-024 to NF-029, NF-038). */

/** Canonical anchors that a turn's record may hold. */
export const ANCHORS = [
  "utterance_first_frame",
  "audio_input_ingress",
  "turn_open_proposed_ingress_accepted",
  "turn_open_emitted",
  "first_datalane_output_emitted",
  "cancel_accepted",
  "cancel_fence_applied",
  "assistant_audio_playback_started",
] as const;

export type AnchorName = (typeof ANCHORS)[number];

/** One accepted turn as its record tells of it. */
export interface GateTurn {
  readonly session: string;
  readonly turn: number;
  readonly epoch: number;
  /** Origin of its proposal: `endpoint`, `api`, `timer`, `operator`; empty where its turn_open is not recorded. */
  readonly origin: string;
  /** Nanoseconds on the monotonic clock of the one process that held it. */
  readonly anchors: Readonly<Partial<Record<AnchorName, number>>>;
  /** What is wrong with the record of its anchors itself, e.g. that there are two. */
  readonly anchorFaults: readonly string[];
  /** Output left for the caller, as delivery and terminal tell without any anchor. */
  readonly hasOutput: boolean;
  /** Some of it was played. */
  readonly wasPlayed: boolean;
  /** A cancel of it was accepted. */
  readonly wasCancelled: boolean;
  /** Why its evidence is not complete; empty for complete evidence. */
  readonly evidenceGaps: readonly string[];
  /** A record in the timeline says that its evidence is lost. */
  readonly declaredLost: boolean;
  /** Its terminal and close signals, in order: `commit`, `abort`, `close`. */
  readonly ending: readonly string[];
  /** Its runtime ended or died while it was open, and the record declares that. */
  readonly endingLost: boolean;
}

/** Turns of recorded sessions, and outputs accepted under an epoch that was no longer in force. */
export interface GateFacts {
  readonly turns: readonly GateTurn[];
  /** One sentence each. */
  readonly staleOutputs: readonly string[];
  /** Outputs that were looked at for it. */
  readonly outputs: number;
  /** Damage of the recordings: nothing may pass over it. */
  readonly damage: readonly string[];
}

export type SafetyGateName =
  | "turn_open"
  | "first_output"
  | "cancel_fence"
  | "stale_epoch"
  | "complete_evidence"
  | "one_terminal"
  | "end_to_end";

export interface Check {
  /** What is compared, e.g. `p95_ms`. */
  readonly name: string;
  readonly op: "<=" | ">=" | "=";
  readonly bar: number;
  /** Null where it could not be counted. */
  readonly found: number | null;
  readonly ok: boolean;
}

export interface SafetyResult {
  readonly gate: SafetyGateName;
  readonly feature: string;
  readonly verdict: "pass" | "fail";
  readonly checks: readonly Check[];
  /** Counts and percentiles beside those compared. */
  readonly figures: Readonly<Record<string, number>>;
  /** Why it fails, the first of each kind; empty for a pass. */
  readonly reasons: readonly string[];
}
