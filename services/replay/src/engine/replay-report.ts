/** The report of a replay: its timeline against the recorded one, and what differed step by step. */
import { type DivergenceReport, judge, type Thresholds } from "./diff.ts";
import { type Difference, differencesOf } from "./diff-turn.ts";
import type { Declaration } from "./expected.ts";
import type { ReplayOutcome } from "./replay-run.ts";

export function reportOf(
  { reference, replayed, stepDivergences }: ReplayOutcome,
  declared: readonly Declaration[] = [],
  thresholds: Thresholds = {},
): DivergenceReport {
  const steps = stepDivergences.map(
    ({ class: kind, batch, expected, found }): Difference => ({
      class: kind,
      turn: 0,
      node: "",
      what: `step:${batch}`,
      a: expected,
      b: found,
      deltaMs: null,
    }),
  );
  const between = reference === null ? [] : differencesOf(reference, replayed);
  return judge(reference ?? replayed, replayed, [...steps, ...between], declared, thresholds);
}
