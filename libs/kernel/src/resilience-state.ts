/** What budgets, failure and soft cancels add to the state: each part only of graphs and sessions that use it. */
import type { CircuitState } from "./breaker.ts";
import type { TurnBudgets } from "./budget-state.ts";
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

export interface ResilienceNode {
  /** Which node stands in for this one, or for which this one does. */
  standIn?: StandIn;
  /** A voice that has failed: its words go on as text (F-137). */
  textOnly?: true;
}

export interface ResilienceSession {
  posture?: PostureState;
  deadLetters?: DeadLetterState;
  /** By provider. */
  circuits?: Record<string, CircuitState>;
}
