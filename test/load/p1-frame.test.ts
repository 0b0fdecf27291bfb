import { expect, test } from "vitest";
import { measure } from "./bench.ts";
import { BareShell, benchConfig, filterChain } from "./graphs.ts";
import { p1Subjects } from "./p1-frame.ts";

test.each(p1Subjects())("P1 measures frames that come out: %s", (_name, frame) => {
  expect(() => {
    for (let i = 0; i < 60; i++) frame();
  }).not.toThrow();
});

/** Steps, effects and bytes are what the work is; the CPU's bound is generous, since a bench and no test tells how fast. */
const FRAMES = 2_000;
const ROUNDS = 7;
const JOURNAL_BYTES_MAX = 600;
/** Usual: 30, in `docs/benchmarks.md`. */
const RATIO_MAX = 400;

test("NF-002 a frame through seven nodes is one step, one effect and one bounded line of the journal", () => {
  const shell = new BareShell(benchConfig(filterChain()), "journal");
  for (let i = 0; i < 100; i++) shell.frame();
  const before = { steps: shell.steps, bytes: shell.journalBytes };
  const effects = Array.from({ length: FRAMES }, () => shell.frame().map(({ type }) => type)).flat();
  expect(effects.filter((type) => type === "egress_media").length).toBe(FRAMES);
  // Bytes of the caller's audio are given back now and then, in one effect for many frames.
  expect(effects.length).toBeLessThan(1.2 * FRAMES);
  expect(shell.steps - before.steps).toBe(FRAMES);
  expect((shell.journalBytes - before.bytes) / FRAMES).toBeLessThan(JOURNAL_BYTES_MAX);
});

test("NF-002 its CPU, journal included, is within a generous multiple of seven plain calls in the same run", () => {
  const subjects = new Map(p1Subjects());
  const least = (name: string, frames: number): number => {
    const frame = subjects.get(name);
    if (frame === undefined) throw new Error(`${name} is not measured`);
    const cost = (): number =>
      measure(() => {
        for (let i = 0; i < frames; i++) frame();
      }).threadUs / frames;
    return Math.min(...Array.from({ length: ROUNDS }, cost));
  };
  const plain = Math.max(least("baseline: 7 plain calls", 50 * FRAMES), 0.01);
  expect(least("7-node graph, journal L1", FRAMES) / plain).toBeLessThan(RATIO_MAX);
});
