/** A session as people read it: turns with their spans, latencies and reasons. All instants are nanoseconds of the session's
 * monotonic clock; 0 is no special value. */

/** What the times are made of: the journal re-executed (L1, L2), or evidence and signals alone (L0). */
export type WaterfallBasis = "journal" | "evidence";

/** `hidden`: the recording level keeps no text. `unknown`: it would, but the record is missing. */
export type TextState = "told" | "hidden" | "none" | "unknown";

export interface Said {
  readonly state: TextState;
  /** Empty unless told. */
  readonly text: string;
  /** Characters, where known at any level; -1 unknown. */
  readonly chars: number;
}

export interface ControlMark {
  readonly atNs: number;
  readonly signal: string;
  readonly emitter: string;
  readonly reason: string;
  /** 0 outside of turns. */
  readonly turn: number;
  readonly node: string;
  /** E.g. `origin=endpoint scope=turn`. */
  readonly detail: string;
}

export interface Span {
  /** `turn`: open to close. `utterance`: the caller's speech. `invocation`: one attempt of a provider. `output`: media handed
   * out. `playback`: at the adapter. */
  readonly kind: "turn" | "utterance" | "invocation" | "output" | "playback";
  /** E.g. `stt local/pocketsphinx`. */
  readonly name: string;
  /** Empty for none. */
  readonly node: string;
  readonly lane: "control" | "data";
  readonly startNs: number;
  /** Null while it is open, or when its end was not recorded. */
  readonly endNs: number | null;
  /** First result within it, e.g. a provider's first chunk; null where not known. */
  readonly firstNs: number | null;
  /** Normalised outcome of an invocation; else empty. */
  readonly outcome: string;
  readonly attempt: number;
}

/** Canonical anchors of `kernel.md` §10; null where not reached or not recorded at this level. */
export interface TurnAnchors {
  readonly utterance_first_frame: number | null;
  readonly audio_input_ingress: number | null;
  readonly turn_open_proposed_ingress_accepted: number | null;
  readonly turn_open_emitted: number | null;
  readonly first_datalane_output_emitted: number | null;
  readonly cancel_accepted: number | null;
  readonly cancel_fence_applied: number | null;
  readonly assistant_audio_playback_started: number | null;
}

/** By the names of the runtime's metrics; a latency that cannot be told is absent. Milliseconds. */
export interface TurnLatencies {
  /** Proposal to turn_open. */
  readonly turn_open_ms?: number;
  /** turn_open to the first media handed out. */
  readonly first_output_ms?: number;
  /** Last voiced frame to playback at the adapter. */
  readonly voice_to_voice_ms?: number;
  /** Cancel accepted to its fence acknowledged by the adapter. */
  readonly cancel_fence_ms?: number;
}

export interface WaterfallTurn {
  readonly turn: number;
  /** As in the records, `t-1`. */
  readonly turnId: string;
  /** `endpoint`, `api`, `timer`, `operator`; empty when not recorded. */
  readonly origin: string;
  readonly startNs: number;
  readonly endNs: number | null;
  /** `commit`, `abort`; empty while it is open. */
  readonly terminal: string;
  /** Of an abort. */
  readonly reason: string;
  /** `completed`, `cancelled`, `lost`; empty while unsettled. */
  readonly delivery: string;
  /** Media of the reply that was played, milliseconds; -1 unknown. */
  readonly playedMs: number;
  readonly planHash: string;
  readonly evidenceHash: string;
  /** Sealed evidence with nothing missing is there. */
  readonly evidenceComplete: boolean;
  readonly anchors: TurnAnchors;
  readonly latencies: TurnLatencies;
  /** By start. */
  readonly spans: readonly Span[];
  readonly signals: readonly ControlMark[];
  /** The caller's words that the turn answers. */
  readonly user: Said;
  /** Clauses given to the voice. */
  readonly said: Said;
  /** How much of it was heard. */
  readonly heard: Said;
  /** `word_timings`, `proportional`, `none`; empty unknown. */
  readonly heardBy: string;
  /** Why it opened, what ran, what cut it, what was heard: sentences in order. */
  readonly explanation: readonly string[];
}

export interface Waterfall {
  readonly tenantId: string;
  readonly sessionId: string;
  /** `name@version`; empty when no header was among the records. */
  readonly pipeline: string;
  /** Highest level among the records: `L0`, `L1`, `L2`. */
  readonly level: string;
  readonly epochs: readonly number[];
  readonly basis: WaterfallBasis;
  /** Milliseconds since the Unix epoch, of the first record. */
  readonly startedWallMs: number;
  /** First instant among the records: draw from here. */
  readonly originNs: number;
  readonly endNs: number;
  readonly turns: readonly WaterfallTurn[];
  /** Signals outside of turns. */
  readonly signals: readonly ControlMark[];
  /** The session's end was recorded. */
  readonly ended: boolean;
  /** Losses, refusals, level changes and what could not be told, one sentence each. */
  readonly notes: readonly string[];
}
