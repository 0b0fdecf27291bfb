/**
 * The output fence (kernel.md §6, F-175): which outputs may still leave, by (turn, generation). An output of turn t and
 * generation g is allowed iff t >= floorTurn and there is no entry for t, or g >= its generation. It only ever rises.
 */
import { FENCE_ENTRIES_MAX } from "./limits.ts";

export interface FenceEntry {
  turn: number;
  /** The lowest generation allowed; SETTLED_GENERATION once the turn has settled and nothing of it is. */
  generation: number;
}

export interface Fence {
  floorTurn: number;
  /** Ascending by turn, each at or above the floor; at most FENCE_ENTRIES_MAX. */
  entries: FenceEntry[];
}

/** Above every generation a turn can have. */
export const SETTLED_GENERATION = Number.MAX_SAFE_INTEGER;

/**
 * A fence that allows every turn from `firstTurn` on. Turns are numbered from 1; session-scoped output (turn 0) is not the
 * fence's to judge.
 */
export function fenceCreate(firstTurn = 1): Fence {
  return { floorTurn: firstTurn, entries: [] };
}

/**
 * Refuses generations of `turn` below `generation`; never lowers. True if anything changed. When the entries are full the
 * lowest turn gives way and everything up to it is refused: the fence fails closed, never open.
 */
export function fenceRaise(f: Fence, turn: number, generation: number): boolean {
  if (turn < f.floorTurn) return false;
  let at = 0;
  for (; at < f.entries.length; at++) {
    const entry = f.entries[at];
    if (entry === undefined || entry.turn > turn) break;
    if (entry.turn < turn) continue;
    if (entry.generation >= generation) return false;
    entry.generation = generation;
    absorb(f);
    return true;
  }
  f.entries.splice(at, 0, { turn, generation });
  const lowest = f.entries[0];
  if (f.entries.length > FENCE_ENTRIES_MAX && lowest !== undefined) f.floorTurn = lowest.turn + 1;
  absorb(f);
  return true;
}

/** Refuses every turn below `belowTurn` altogether; never lowers. True if anything changed. */
export function fenceRaiseAll(f: Fence, belowTurn: number): boolean {
  if (belowTurn <= f.floorTurn) return false;
  f.floorTurn = belowTurn;
  absorb(f);
  return true;
}

/** Whether an output of `turn` at `generation` may pass. */
export function fenceAllows(f: Fence, turn: number, generation: number): boolean {
  if (turn < f.floorTurn) return false;
  for (const entry of f.entries) {
    if (entry.turn === turn) return generation >= entry.generation;
  }
  return true;
}

/**
 * The turn has settled (or never opened): nothing of it passes any more. The floor moves up only over turns that are all
 * settled, so every number that was given out must be forgotten once, refused proposals included.
 */
export function fenceForget(f: Fence, turn: number): void {
  fenceRaise(f, turn, SETTLED_GENERATION);
}

/** Drops entries below the floor and lifts the floor over settled turns that stand right on it. */
function absorb(f: Fence): void {
  let drop = 0;
  for (const entry of f.entries) {
    if (entry.turn === f.floorTurn && entry.generation === SETTLED_GENERATION) f.floorTurn++;
    if (entry.turn >= f.floorTurn) break;
    drop++;
  }
  if (drop > 0) f.entries.splice(0, drop);
}
