/** What budgets, failure and soft cancels add to the state: each part only of graphs and sessions that use it. */
import type { CircuitState } from "./breaker.ts";
import type { TurnBudgets } from "./budget-state.ts";
import type { KernelEvent } from "./event.ts";
import type { StandIn } from "./fallback-state.ts";
import type { DeadLetterState, PostureState } from "./resilience-definition.ts";
import type { SoftCancel } from "./soft-cancel.ts";

export interface ErrorAnswer {
  /** The failed turn this is the answer to (F-135). */
  errorOf?: { turn: number; class: string };
}

export interface ResilienceTurn extends ErrorAnswer {
  budgets?: TurnBudgets;
  /** Degrade postures in force, from the first. */
  posture?: number;
  /** Clause from which on the reply is given as text alone. */
  textFrom?: number;
  /** A cancel that waits for the end of the clause being spoken. */
  soft?: SoftCancel;
}

export interface Unanswered {
  command: number;
  /** It came by. */
  edge: number;
  event: KernelEvent;
}

export interface ResilienceNode {
  /** Which node stands in for this one, or for which this one does. */
  standIn?: StandIn;
  /** Of a custom node with another of its kind as fallback: what it was given and has not answered. */
  unanswered?: Unanswered[];
  /** Of that other, once it took over: what it is to be given before anything else. */
  owed?: Unanswered[];
  /** A voice that has failed: its words go on as text (F-137). */
  textOnly?: true;
}

export interface ResilienceSession {
  posture?: PostureState;
  deadLetters?: DeadLetterState;
  /** By provider. */
  circuits?: Record<string, CircuitState>;
}
