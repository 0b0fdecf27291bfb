import { expect, test } from "vitest";
import { addCoverage, newCoverage, ROWS } from "./coverage.ts";
import { FAULT_KINDS } from "./fault-kinds.ts";
import { runMutants } from "./mutants.ts";
import { runSeed } from "./run-seed.ts";
import { minimal } from "./shrink.ts";

const seeds = 30;

test(`${seeds} seeds hold every invariant and reach most rows and kinds of faults`, { timeout: 180_000 }, () => {
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
  expect(FAULT_KINDS.filter((kind) => coverage.faults[kind] === 0).length).toBeLessThan(FAULT_KINDS.length / 5);
  // The floors of all of them are the long run's (`npm run sim`).
  expect(ROWS.filter((row) => coverage.rows[row] === 0).length).toBeLessThan(3);
});

test("the same seed gives the same run, another seed another", { timeout: 60_000 }, () => {
  const [first, again, other] = [runSeed(4), runSeed(4), runSeed(5)];
  expect([again?.hash, again?.events]).toEqual([first?.hash, first?.events]);
  expect(other?.hash).not.toBe(first?.hash);
});

test("a planted bug is caught: a turn that can be ended twice", { timeout: 120_000 }, async () => {
  const { ok, mutants } = await runMutants("second-terminal");
  expect(mutants).toMatchObject([{ applied: true, caught: true, checker: "lifecycle" }]);
  expect(ok).toBe(true);
});

test("a fault that is left out shifts no other, and the caller stops where he is told to", { timeout: 60_000 }, () => {
  const whole = runSeed(6);
  const kinds = (result: { injected: readonly { name: string; kind: string }[] }): string[] =>
    result.injected.filter(({ name }) => /^f[12]$/.test(name)).map(({ name, kind }) => `${name} ${kind}`);
  const without = runSeed(6, { only: new Set(), actionsMax: 9 });
  expect(kinds(without)).toEqual(kinds(whole));
  expect(without.actions).toBeLessThanOrEqual(9);
  expect(without.coverage.faults.pair_loss).toBe(0);
  expect(without.failures).toEqual([]);
});

test("delta debugging keeps what is needed and nothing else", () => {
  const items = Array.from({ length: 40 }, (_, i) => i);
  for (const needed of [[], [7], [3, 31], [0, 1, 39], [5, 6, 7, 8, 20]]) {
    let runs = 0;
    const left = minimal(items, (some) => {
      runs += 1;
      return needed.every((item) => some.includes(item));
    });
    expect(left).toEqual(needed);
    expect(runs).toBeLessThan(150);
  }
});
