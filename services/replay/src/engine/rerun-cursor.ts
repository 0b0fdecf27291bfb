import { type Digest, digestCreate } from "@rspp/base/digest";
import type { Effect } from "@rspp/kernel/effect";
import type { InputBody } from "@rspp/kernel/input";
import type { SessionConfig } from "@rspp/kernel/session-config";
import type { TurnPlayout } from "./playout.ts";
import type { StepDivergence } from "./replay-run.ts";
import { type CollectorState, collectorCreate } from "./run-collector.ts";
import type { ReplaySource } from "./source.ts";

export const RERUN_CURSOR_SCHEMA = "rspp/replay-cursor/v1";

/** A call of this run, and how it stands to the recorded one of the same key. */
export interface CallLink {
  /** Invocation, command or instance of this run. */
  id: number;
  /** It began at the recorded step: what answers it is offered at the recorded positions. */
  aligned: boolean;
  /** Emissions offered so far. */
  given: number;
  over: boolean;
  opened: Effect;
  pushed: Effect[];
}

export interface Pending {
  atNs: number;
  /** Ties are broken by this. */
  order: number;
  /** Call that it answers; `play/TURN` for reports of the transport. */
  key: string;
  /** Position among the recorded emissions; -1 where nothing was recorded. */
  index: number;
  body: InputBody;
}

/** All of a rerun but the kernel's state and its texts: plain data (F-152). */
export interface RerunCursor {
  schema: typeof RERUN_CURSOR_SCHEMA;
  kind: "rerun";
  mode: "recorded" | "resimulate";
  /** Position of the next recorded batch. */
  at: number;
  nextIndex: number;
  nextSeq: number;
  nowNs: number;
  wallMs: number;
  runnable: boolean;
  /** Empty steps in a row; bounded. */
  idle: number;
  /** Something differs from the recorded run: what follows is placed by instants and keys, no longer by steps alone. */
  parted: boolean;
  digest: Digest;
  timers: Record<string, number>;
  pending: Pending[];
  nextOrder: number;
  counts: Record<string, number>;
  instances: Record<string, string>;
  links: Record<string, CallLink>;
  /** Key by invocation of this run. */
  invocations: Record<string, string>;
  turns: Record<string, TurnPlayout>;
  nextRef: number;
  divergences: StepDivergence[];
  served: number;
  recomputed: number;
  unrecorded: string[];
  unknownFacts: number;
  collector: CollectorState;
  over: boolean;
}

/** Refs of texts that no recording has: far above those that a session gives out. */
export const OWN_REFS_FROM = 2 ** 40;

export function rerunCursor(
  config: SessionConfig,
  mode: "recorded" | "resimulate",
  { redacted }: ReplaySource,
): RerunCursor {
  return {
    schema: RERUN_CURSOR_SCHEMA,
    kind: "rerun",
    mode,
    at: 0,
    nextIndex: 1,
    nextSeq: 1,
    nowNs: 0,
    wallMs: 0,
    runnable: false,
    idle: 0,
    parted: false,
    digest: digestCreate(),
    timers: {},
    pending: [],
    nextOrder: 1,
    counts: {},
    instances: {},
    links: {},
    invocations: {},
    turns: {},
    nextRef: OWN_REFS_FROM,
    divergences: [],
    served: 0,
    recomputed: 0,
    unrecorded: [],
    unknownFacts: 0,
    collector: collectorCreate(config, mode, { level: config.recording.ceiling, redacted }),
    over: false,
  };
}

export function readRerunCursor(text: string): { cursor: RerunCursor; state: string; texts: [number, string][] } {
  const found = JSON.parse(text) as { cursor?: RerunCursor; state: string; texts: [number, string][] };
  const { cursor } = found;
  if (cursor?.schema !== RERUN_CURSOR_SCHEMA || cursor.kind !== "rerun")
    throw new RangeError("this is no cursor of a rerun: give the text that `pause` returned");
  return { ...found, cursor };
}
