import { type Failure, runSeed, type SeedResult } from "./run-seed.ts";
import type { Injected } from "./world.ts";

/** No more runs than so many; a seed takes about a tenth of a second. */
const runsMax = 150;

export interface Shrunk {
  seed: number;
  failure: Failure;
  faults: readonly Injected[];
  actions: number;
  runs: number;
  /** Repeats exactly this. */
  repeat: string;
}

/** The one command that repeats a run. */
export function repeatCommand(seed: number, only?: readonly string[], actions?: number): string {
  const faults = only === undefined ? "" : ` --only ${only.length === 0 ? "none" : only.join(",")}`;
  return `npm run sim -- --seed ${seed}${faults}${actions === undefined ? "" : ` --actions ${actions}`} --trace`;
}

/**
 * The shortest run found that still fails the same checker: first the caller's actions are cut by halves, then the faults
 * are left out by delta debugging. Faults keep their draws whichever are left out.
 */
export function shrink(failing: SeedResult): Shrunk | null {
  const { seed } = failing;
  const first = failing.failures[0];
  if (first === undefined) return null;
  let runs = 0;
  let best = failing;
  const fails = (only: readonly string[], actionsMax: number): boolean => {
    if (runs >= runsMax) return false;
    runs += 1;
    const result = runSeed(seed, { only: new Set(only), actionsMax });
    const same = result.failures.some(({ checker }) => checker === first.checker);
    if (same) best = result;
    return same;
  };
  const all = failing.injected.map(({ name }) => name);
  let actions = failing.actions;
  for (let low = 0; low < actions; ) {
    const middle = (low + actions) >> 1;
    if (fails(all, middle)) actions = middle;
    else low = middle + 1;
  }
  const only = minimal(all, (names) => fails(names, actions));
  const kept = new Set(only);
  const faults = best.injected.filter(({ name }) => kept.has(name));
  const failure = best.failures.find(({ checker }) => checker === first.checker) ?? first;
  return { seed, failure, faults, actions, runs, repeat: repeatCommand(seed, only, actions) };
}

/** Delta debugging: a part of `items` that still fails and of which no chunk can be left out. */
export function minimal<T>(items: readonly T[], fails: (items: readonly T[]) => boolean): readonly T[] {
  if (fails([])) return [];
  let left = items;
  let parts = 2;
  while (left.length > 1) {
    const size = Math.ceil(left.length / parts);
    const chunks = Array.from({ length: Math.ceil(left.length / size) }, (_, i) =>
      left.slice(i * size, (i + 1) * size),
    );
    const one = parts > 2 ? undefined : chunks.find((chunk) => chunk.length < left.length && fails(chunk));
    const rest = one ?? chunks.map((chunk) => left.filter((item) => !chunk.includes(item))).find((c) => fails(c));
    if (rest !== undefined) {
      left = rest;
      parts = one === undefined ? Math.max(2, parts - 1) : 2;
    } else if (size === 1) break;
    else parts = Math.min(left.length, parts * 2);
  }
  return left;
}

/** For people. */
export function describeShrunk({ seed, failure, faults, actions, runs, repeat }: Shrunk): string {
  const lines = faults.map(({ name, kind, atNs }) => `  ${name.padEnd(5)} ${kind} at ${(atNs / 1e6).toFixed(0)} ms`);
  return [
    `seed ${seed}: ${failure.checker}: ${failure.problem}`,
    `the least that fails, after ${runs} runs: ${actions} actions of the caller and ${faults.length} faults`,
    ...lines,
    `repeat: ${repeat}`,
  ].join("\n");
}
