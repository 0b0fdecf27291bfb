import { expect, test } from "vitest";
import { addCoverage, newCoverage, ROWS } from "./coverage.ts";
import { FAULT_KINDS } from "./fault-kinds.ts";
import { runMutants } from "./mutants.ts";
import { runSeed } from "./run-seed.ts";

const seeds = 30;

test(`${seeds} seeds hold every invariant and reach every fault kind and every row`, { timeout: 120_000 }, () => {
  const coverage = newCoverage();
  const failing: string[] = [];
  for (let seed = 0; seed < seeds; seed++) {
    const result = runSeed(seed);
    addCoverage(coverage, result.coverage);
    expect(result.turns).toBeGreaterThanOrEqual(20);
    for (const { checker, problem } of result.failures)
      failing.push(`npm run sim -- --seed ${seed} --trace: ${checker}: ${problem}`);
  }
  expect(failing).toEqual([]);
  expect(FAULT_KINDS.filter((kind) => coverage.faults[kind] === 0)).toEqual([]);
  expect(ROWS.filter((row) => coverage.rows[row] === 0)).toEqual([]);
});

test("the same seed gives the same run, another seed another", { timeout: 60_000 }, () => {
  const [first, again, other] = [runSeed(4), runSeed(4), runSeed(5)];
  expect([again?.hash, again?.events]).toEqual([first?.hash, first?.events]);
  expect(other?.hash).not.toBe(first?.hash);
});

test("a planted bug is caught: a turn that can be ended twice", { timeout: 120_000 }, () => {
  const { ok, mutants } = runMutants("second-terminal");
  expect(mutants).toMatchObject([{ applied: true, caught: true, checker: "lifecycle" }]);
  expect(ok).toBe(true);
});
