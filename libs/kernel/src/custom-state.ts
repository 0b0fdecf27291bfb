/** What a session holds of its custom nodes (F-011): plain data, absent where the graph has none. */
import type { WordMark } from "./event.ts";

/**
 * opening: `init` and `start` run · ready · cancelling: what is in flight was cancelled and is awaited for the cancel grace ·
 * stopping: its stop hook runs.
 */
export type CustomPhase = "opening" | "ready" | "cancelling" | "stopping";

export interface CustomInstance {
  id: number;
  /** Node index. */
  node: number;
  /** 0 for session scope. */
  turn: number;
  phase: CustomPhase;
  /** Commands in flight, oldest first. */
  inFlight: number[];
  /** Whether the timer of its events runs. */
  watched: boolean;
  /** Emissions that fitted none of its ports. */
  refused: number;
  /** Events shed for want of room in flight. */
  shed: number;
  readyNs: number;
}

export interface CustomCommand {
  instance: number;
  node: number;
  turn: number;
  /** Stamp of the event, and the poll at which it was given out. */
  ingressNs: number;
  askedNs: number;
  /** Index of the next emission. */
  next: number;
  /** asked · warned · exhausted: told, cancelled and awaited for the grace · cancelled. */
  stage: "asked" | "warned" | "exhausted" | "cancelled";
  end: boolean;
  /** When it was first told to end, from which its grace counts; absent before. */
  toldNs?: number;
  /** Of turn audio, or of a clause a node is to speak: what its emissions are part of. */
  clause?: CustomClause;
}

export interface CustomClause {
  segment: number;
  chars: number;
  /** Text given to a node that speaks; else audio of a clause that passes through. */
  spoken: boolean;
  durationUs: number;
  segmentEnd: boolean;
  words: readonly WordMark[] | null;
  /** Audio emitted for it so far. */
  emitted: number;
}

export interface CustomState {
  next: number;
  instances: Record<string, CustomInstance>;
  commands: Record<string, CustomCommand>;
  /** By node index: restarts of a session-scoped node since it last held. */
  restarts: Record<string, number>;
}

export function customsCreate(): CustomState {
  return { next: 1, instances: {}, commands: {}, restarts: {} };
}
