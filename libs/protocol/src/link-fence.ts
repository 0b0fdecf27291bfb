import { limits } from "./limits.ts";

/**
 * What is cut in one session: one entry per turn with the least generation still accepted, bounded; every turn up to
 * `floorTurn` is cut as a whole.
 */
export interface Fences {
  floorTurn: number;
  entries: { turn: number; generation: number }[];
}

export function fencesCreate(): Fences {
  return { floorTurn: -1, entries: [] };
}

/** A copy for the reference that supersedes another (lease rotation): a fence outlives the binding. */
export function fencesCopy(fences: Fences): Fences {
  return { floorTurn: fences.floorTurn, entries: fences.entries.map((e) => ({ ...e })) };
}

/**
 * Raises the fence (kernel.md §6). Fences only rise, so that a repeated or late cut-off changes nothing. Past the bound
 * the oldest turn and all before it are fenced as a whole: they are that many fenced turns ago.
 */
export function raiseFence(fences: Fences, cutoff: { turn: number; generation: number; olderTurns: boolean }): void {
  if (cutoff.olderTurns) raiseFloor(fences, cutoff.turn - 1);
  if (cutoff.turn <= fences.floorTurn) return;
  const entry = fences.entries.find((e) => e.turn === cutoff.turn);
  if (entry !== undefined) {
    entry.generation = Math.max(entry.generation, cutoff.generation);
    return;
  }
  fences.entries.push({ turn: cutoff.turn, generation: cutoff.generation });
  fences.entries.sort((a, b) => a.turn - b.turn);
  const oldest = fences.entries[0];
  if (fences.entries.length > limits.LINK_FENCES_PER_SESSION_MAX && oldest !== undefined) {
    raiseFloor(fences, oldest.turn);
  }
}

/** Data without a turn belongs to the session and is never fenced here. */
export function isFenced(fences: Fences, turn: number | null, generation: number): boolean {
  if (turn === null) return false;
  if (turn <= fences.floorTurn) return true;
  for (const entry of fences.entries) if (entry.turn === turn) return generation < entry.generation;
  return false;
}

function raiseFloor(fences: Fences, floorTurn: number): void {
  if (floorTurn <= fences.floorTurn) return;
  fences.floorTurn = floorTurn;
  fences.entries = fences.entries.filter((e) => e.turn > floorTurn);
}
