/**
 * Delivery of every (turn, generation) this caller was sent: none -> accepted -> playing -> settled (kernel.md §2). What
 * is said to be played is checked against what was sent: nobody has played what never left.
 */
import { limits } from "./limits.ts";
import { fieldProblem, type Problem } from "./problem.ts";

export type Phase = "accepted" | "playing" | "completed" | "cancelled" | "lost";

export interface Delivery {
  readonly turn: number;
  readonly generation: number;
  phase: Phase;
  /** Media time sent and played, microseconds. */
  sentUs: number;
  playedUs: number;
  lastSequence: number;
  ended: boolean;
}

export interface Deliveries {
  find(turn: number, generation: number): Delivery | undefined;
  /** A new one; the oldest settled one is forgotten beyond DELIVERIES_MAX; undefined when all are open. */
  open(turn: number, generation: number): Delivery | undefined;
  unsettled(): Delivery[];
  ofTurn(turn: number): Delivery[];
  size(): number;
}

export function isSettled(delivery: Delivery): boolean {
  return delivery.phase !== "accepted" && delivery.phase !== "playing";
}

export function createDeliveries(): Deliveries {
  const known = new Map<string, Delivery>();
  const keyOf = (turn: number, generation: number): string => `${turn}.${generation}`;
  // Frames come one after the other: nearly all ask for the one that was asked for before.
  let last: Delivery | undefined;
  return {
    find(turn, generation) {
      if (last === undefined || last.turn !== turn || last.generation !== generation)
        last = known.get(keyOf(turn, generation));
      return last;
    },
    open(turn, generation) {
      if (known.size >= limits.DELIVERIES_MAX && !forgetOldest(known)) return undefined;
      last = undefined;
      const made: Delivery = {
        turn,
        generation,
        phase: "accepted",
        sentUs: 0,
        playedUs: 0,
        lastSequence: 0,
        ended: false,
      };
      known.set(keyOf(turn, generation), made);
      return made;
    },
    unsettled: () => [...known.values()].filter((d) => !isSettled(d)),
    ofTurn: (turn) => [...known.values()].filter((d) => d.turn === turn),
    size: () => known.size,
  };
}

function forgetOldest(known: Map<string, Delivery>): boolean {
  for (const [key, delivery] of known) if (isSettled(delivery)) return known.delete(key);
  return false;
}

/** What a loudspeaker did, in the words of those that report it. */
export type PlayedState = "accepted" | "playing" | "completed" | "cancelled" | "lost";

/** What a report says, in the words of the port; or what is wrong with it, its fields being `state` and `played_us`. */
export type PlayedVerdict =
  | { ok: true; states: readonly ("started" | "progress" | "completed" | "lost")[] }
  | { ok: false; problem: Problem };

/** Takes a report of what was played; changes `delivery` only when it is sound. */
export function takePlayed(delivery: Delivery, state: PlayedState, playedUs: number): PlayedVerdict {
  if (playedUs > delivery.sentUs) return { ok: false, problem: playedTooMuch(playedUs, delivery.sentUs) };
  if (isSettled(delivery) || state === "accepted") return { ok: true, states: [] };
  if (state === "cancelled") {
    return unsound("says cancelled without a flush", "answer a flush with its sequence in flush_sequence");
  }
  if (state === "completed" && !delivery.ended) {
    return unsound("says completed before the last frame was sent", "wait for the frame whose audio.end is true");
  }
  delivery.playedUs = Math.max(delivery.playedUs, playedUs);
  if (state === "lost") {
    delivery.phase = "lost";
    return { ok: true, states: ["lost"] };
  }
  const first = delivery.phase === "accepted";
  delivery.phase = state === "completed" ? "completed" : "playing";
  if (state === "completed") return { ok: true, states: first ? ["started", "completed"] : ["completed"] };
  return { ok: true, states: [first ? "started" : "progress"] };
}

export function playedTooMuch(playedUs: number, sentUs: number): Problem {
  const said = `says ${playedUs} of ${sentUs} microseconds that were sent`;
  return fieldProblem("played_us", "played.sound", said, "report media time that was really played");
}

function unsound(message: string, remedy: string): PlayedVerdict {
  return { ok: false, problem: fieldProblem("state", "played.sound", message, remedy) };
}
