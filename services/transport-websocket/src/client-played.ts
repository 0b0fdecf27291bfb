/** What the client says it played, to the agent's line: reports of turns, and answers to flushes by their sequence (F-039). */
import { DeliveryState } from "@rspp/gen/rspp/replay/v1/evidence_pb";
import type { ClientPlayed } from "@rspp/gen/rspp/transport/v1/websocket_pb";
import type { AgentLine, Flush } from "@rspp/transport/agent-line";
import type { PlayedState } from "@rspp/transport/deliveries";
import { limits } from "@rspp/transport/limits";
import type { Problem } from "@rspp/transport/problem";
import { fieldRefusal, type Refusal, refusalOf } from "./refusal.ts";

const states: ReadonlyMap<DeliveryState, PlayedState> = new Map([
  [DeliveryState.ACCEPTED, "accepted"],
  [DeliveryState.PLAYING, "playing"],
  [DeliveryState.COMPLETED, "completed"],
  [DeliveryState.CANCELLED, "cancelled"],
  [DeliveryState.LOST, "lost"],
]);

export class ClientReports {
  readonly #agent: AgentLine;
  /** Flushes that were written, by the sequence of their frame; settled ones go with time. */
  readonly #flushes = new Map<number, Flush>();

  constructor(agent: AgentLine) {
    this.#agent = agent;
  }

  /** The flush has left as the frame of that sequence. */
  flushWritten(sequence: number, flush: Flush): void {
    this.#flushes.set(sequence, flush);
    const [oldest] = this.#flushes.keys();
    if (this.#flushes.size > limits.FLUSHES_MAX && oldest !== undefined) this.#flushes.delete(oldest);
  }

  /** The field that is wrong with it, or null. */
  played(message: ClientPlayed): Refusal | null {
    const state = states.get(message.state);
    if (state === undefined) return fieldRefusal("played.state", "enum", "says nothing", "use PLAYING or COMPLETED");
    const playedUs = Number(message.playedUs);
    if (message.flushSequence > 0n) return this.#answer(message, playedUs);
    const { turnNumber: turn, fenceGeneration: generation } = message;
    return named(this.#agent.played({ turn, generation, state, playedUs }));
  }

  #answer(message: ClientPlayed, playedUs: number): Refusal | null {
    const sequence = Number(message.flushSequence);
    const flush = this.#flushes.get(sequence);
    if (flush === undefined) return null;
    this.#flushes.delete(sequence);
    return named(this.#agent.flushed(flush, playedUs, message.flushedFrames));
  }
}

/** The fields as the client's frame has them. */
function named(problem: Problem | null): Refusal | null {
  if (problem === null) return null;
  const violations = (problem.violations ?? []).map((v) => ({ ...v, field: `played.${v.field}` }));
  return refusalOf({ ...problem, violations });
}
