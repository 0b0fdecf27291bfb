/**
 * Delivery of every (turn, generation) this client was sent: none -> accepted -> playing -> settled (kernel.md §2). What
 * the client reports is checked against what was sent: nobody has played what never left.
 */
import { limits } from "./limits.ts";

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

/** What a report of the client says, in the words of the port; or the field that is wrong with it. */
export type PlayedVerdict =
  | { ok: true; states: readonly ("started" | "progress" | "completed" | "lost")[] }
  | { ok: false; field: string; message: string; remedy: string };

/** Takes a report of what was played; changes `delivery` only when it is sound. */
export function takePlayed(
  delivery: Delivery,
  state: "accepted" | "playing" | "completed" | "cancelled" | "lost",
  playedUs: number,
): PlayedVerdict {
  if (playedUs > delivery.sentUs) {
    const message = `says ${playedUs} of ${delivery.sentUs} microseconds that were sent`;
    return { ok: false, field: "played.played_us", message, remedy: "report media time that was really played" };
  }
  if (isSettled(delivery) || state === "accepted") return { ok: true, states: [] };
  if (state === "cancelled") {
    const message = "says cancelled without a flush";
    return { ok: false, field: "played.state", message, remedy: "answer a flush with its sequence in flush_sequence" };
  }
  if (state === "completed" && !delivery.ended) {
    const message = "says completed before the last frame was sent";
    return { ok: false, field: "played.state", message, remedy: "wait for the frame whose audio.end is true" };
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
