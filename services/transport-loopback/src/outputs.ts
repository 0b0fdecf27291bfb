/** Delivery of every (turn, generation) this device has been given: none -> accepted -> playing -> settled (kernel.md §2). */
import { DELIVERIES_MAX, PROGRESS_MS } from "./limits.ts";

export type OutputPhase = "accepted" | "playing" | "completed" | "cancelled" | "lost";

export interface Output {
  readonly turn: number;
  readonly generation: number;
  phase: OutputPhase;
  /** Media time really played, microseconds; never falls. */
  playedUs: number;
  /** Last data-lane sequence taken. */
  lastSequence: number;
  /** The end mark was taken: nothing may follow. */
  ended: boolean;
  /** Sequences that never came. */
  gaps: number;
  nextProgressUs: number;
}

export interface Outputs {
  find(turn: number, generation: number): Output | undefined;
  /** Whether `open` would find room. */
  room(): boolean;
  /** A new one in phase `accepted`. Forgets the oldest settled one beyond DELIVERIES_MAX; undefined when all are open. */
  open(turn: number, generation: number): Output | undefined;
  /** Unsettled ones, oldest first. */
  unsettled(): Output[];
  ofTurn(turn: number): Output[];
  all(): Output[];
}

export function isSettled(output: Output): boolean {
  return output.phase !== "accepted" && output.phase !== "playing";
}

/** The first multiple of PROGRESS_MS above `playedUs`, microseconds. */
export function nextProgressUs(playedUs: number): number {
  const stepUs = PROGRESS_MS * 1_000;
  return (Math.floor(playedUs / stepUs) + 1) * stepUs;
}

export function createOutputs(): Outputs {
  const known = new Map<string, Output>();
  const keyOf = (turn: number, generation: number) => `${turn}.${generation}`;
  return {
    find: (turn, generation) => known.get(keyOf(turn, generation)),
    room: () => known.size < DELIVERIES_MAX || [...known.values()].some(isSettled),
    open(turn, generation) {
      if (known.size >= DELIVERIES_MAX && !forgetOldestSettled(known)) return undefined;
      const output: Output = {
        turn,
        generation,
        phase: "accepted",
        playedUs: 0,
        lastSequence: 0,
        ended: false,
        gaps: 0,
        nextProgressUs: nextProgressUs(0),
      };
      known.set(keyOf(turn, generation), output);
      return output;
    },
    unsettled: () => [...known.values()].filter((o) => !isSettled(o)),
    ofTurn: (turn) => [...known.values()].filter((o) => o.turn === turn),
    all: () => [...known.values()],
  };
}

function forgetOldestSettled(known: Map<string, Output>): boolean {
  for (const [key, output] of known) if (isSettled(output)) return known.delete(key);
  return false;
}
