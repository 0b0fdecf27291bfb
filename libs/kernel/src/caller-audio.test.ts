import { expect, test } from "vitest";
import type { Effect } from "./effect.ts";
import { assistantGraph, KernelHarness, testConfig } from "./testing/harness.ts";

const below = (effects: readonly Effect[]): number[] =>
  effects.flatMap((effect) => (effect.type === "release_input" ? [effect.below] : []));

test("a quiet call keeps its pre-roll and no more of the caller's audio", () => {
  const h = new KernelHarness(testConfig(assistantGraph()));
  h.connect();
  const effects = h.hear(false, 80);
  const released = below(effects);
  expect(released.length).toBe(10);
  // 300 ms of pre-roll are 15 frames; the frame just come in is not yet among them.
  expect(released.at(-1)).toBe(h.audioSequence - 15);
  expect([...released].sort((a, b) => a - b)).toEqual(released);
});

test("while an utterance runs, what another recogniser would be given is kept", () => {
  const h = new KernelHarness(testConfig(assistantGraph()));
  h.connect();
  h.hear(false, 40);
  const released = below(h.hear(true, 60));
  const held = h.state.prelude.preroll.size;
  expect(held).toBeGreaterThan(60);
  expect(h.audioSequence - (released.at(-1) ?? 0)).toBeLessThanOrEqual(held + 8);
  expect(released.at(-1)).toBeLessThanOrEqual(h.audioSequence - 60);
});

test("without behaviour 2 nothing is released by name", () => {
  const h = new KernelHarness(testConfig(assistantGraph(), { behaviours: [1] }));
  h.connect();
  expect(below(h.hear(false, 40))).toEqual([]);
});
