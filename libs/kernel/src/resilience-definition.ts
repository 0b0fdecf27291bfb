/** What a graph declares for failure and overload (`kernel.md` §9; F-048, F-132, F-135, F-137, F1). Plain data. */
import type { ErrorClass } from "./error-taxonomy.ts";
import type { Settings } from "./graph.ts";

/** Said to the caller when a turn has failed, by the class of its error; "" for silence. */
export type ErrorResponses = Readonly<Partial<Record<ErrorClass | "default", string>>>;

/** One step down: settings laid over those of nodes, on top of the steps before it. */
export interface Posture {
  id: string;
  /** By node id. Of the context only `history_parts`, of provider nodes whatever their providers take. */
  nodes: Readonly<Record<string, Settings>>;
}

export interface DegradeDefinition {
  /** In order; each is lighter than the one before. */
  postures: readonly Posture[];
  /** Without a new cause for this long, the next turn runs undegraded again, milliseconds. */
  calmMs: number;
  /** A reply whose voice has failed goes on as text. */
  textOnly: boolean;
}

export interface DeadLetterDefinition {
  /** Letters kept per session; what comes after them is counted. */
  max: number;
}

/** Bounds of one session at its scheduling points; what goes beyond them is shed, never an end mark. */
export interface AdmissionDefinition {
  /** Events queued over all edges of the session. */
  queuedMax?: number;
  /** Milliseconds an event of the caller's live audio may be old when it leaves its edge. */
  ageMaxMs?: number;
  /** Events a host or provider node is given in one step. */
  dispatchMax?: number;
}

export interface PostureState {
  /** Postures in force, from the first; 0 for none. */
  level: number;
  /** Instant of the last cause. */
  causedNs: number;
}

export interface DeadLetterState {
  kept: number;
  dropped: number;
}
