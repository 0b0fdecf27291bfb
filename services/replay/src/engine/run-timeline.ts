/**
 * What one run of a session came to, as plain data: outputs, timings, provider choices, order and authority (F-077). Two of
 * them can be compared whatever they were made of: a live session's records, a replay, a file. Null stands for what is not
 * known at that recording level; what one side does not know is never a difference.
 */

/** How a run came about: `live` as its records tell, the others by replay (F-151). */
export type RunMode = "live" | "recorded" | "resimulate";

export const RUN_TIMELINE_SCHEMA = "rspp/run-timeline/v1";

export interface RunText {
  /** Null where the recording keeps no payloads. */
  text: string | null;
  /** -1 unknown. */
  chars: number;
}

/** One attempt of a provider, or one call of a tool. */
export interface RunCall {
  node: string;
  modality: string;
  provider: string;
  attempt: number;
  /** Empty for none. */
  tool: string;
  /** Normalised; empty while open. */
  outcome: string;
  openedNs: number;
  firstNs: number | null;
  endedNs: number | null;
}

export interface RunTurn {
  turn: number;
  origin: string;
  planHash: string;
  openNs: number | null;
  closeNs: number | null;
  /** `commit`, `abort`; empty while open. */
  terminal: string;
  reason: string;
  /** Authority epochs at open and at terminal; -1 unknown. */
  epochs: [number, number];
  /** `completed`, `cancelled`, `lost`; empty while unsettled. */
  delivery: string;
  /** Microseconds of media; -1 unknown. */
  playedUs: number;
  heardChars: number;
  /** What the caller said, what the agent said. */
  user: RunText;
  output: RunText;
  /** Media that left through the fence, microseconds; -1 unknown. */
  audioUs: number;
  /** First media out, playback begun, last voiced frame of the caller, proposal, cancel accepted and applied. */
  anchors: Record<RunAnchor, number | null>;
  calls: RunCall[];
}

export type RunAnchor = "lastVoiced" | "proposed" | "firstOutput" | "playback" | "cancelAccepted" | "cancelApplied";

/** One entry of the order of a run: control events, and what left on the data lane in units worth naming. */
export interface RunEvent {
  atNs: number;
  lane: "control" | "data";
  /** Signal name, `text_out`, `dead_letter` or `refusal`. */
  kind: string;
  turn: number;
  node: string;
  reason: string;
}

export interface RunTimeline {
  schema: typeof RUN_TIMELINE_SCHEMA;
  mode: RunMode;
  tenantId: string;
  sessionId: string;
  /** `name@version#fingerprint`. */
  pipeline: string;
  /** `records`: signals and evidence alone, which tell no texts and no data lane. */
  basis: "journal" | "records";
  level: "L0" | "L1" | "L2";
  /** Payloads were redacted before they were appended. */
  redacted: boolean;
  /** Hash of the session's own plan; empty unknown. */
  sessionPlanHash: string;
  startNs: number;
  endNs: number;
  ended: boolean;
  turns: RunTurn[];
  events: RunEvent[];
  /** Events past the bound, counted and not kept. */
  eventsDropped: number;
}

export const RUN_EVENTS_MAX = 50_000;

export function turnCreate(turn: number): RunTurn {
  return {
    turn,
    origin: "",
    planHash: "",
    openNs: null,
    closeNs: null,
    terminal: "",
    reason: "",
    epochs: [-1, -1],
    delivery: "",
    playedUs: -1,
    heardChars: -1,
    user: { text: null, chars: -1 },
    output: { text: null, chars: -1 },
    audioUs: -1,
    anchors: {
      lastVoiced: null,
      proposed: null,
      firstOutput: null,
      playback: null,
      cancelAccepted: null,
      cancelApplied: null,
    },
    calls: [],
  };
}

/** Latencies of a turn by the names of the runtime's metrics, milliseconds; one that cannot be told is absent. */
export function latenciesOf(turn: RunTurn): Record<string, number> {
  const { lastVoiced, proposed, firstOutput, playback, cancelAccepted, cancelApplied } = turn.anchors;
  const pairs: [string, number | null, number | null][] = [
    ["turn_open_ms", proposed, turn.openNs],
    ["first_output_ms", turn.openNs, firstOutput],
    ["voice_to_voice_ms", lastVoiced, playback],
    ["cancel_fence_ms", cancelAccepted, cancelApplied],
  ];
  const found: Record<string, number> = {};
  for (const [name, from, to] of pairs) if (from !== null && to !== null) found[name] = Math.max(0, (to - from) / 1e6);
  return found;
}
