import { expect, test } from "vitest";
import { limits } from "./limits.ts";
import { fencesCreate, isFenced, raiseFence } from "./link-fence.ts";

test("F-175 a fence cuts its turn below its generation, and only rises", () => {
  const fences = fencesCreate();
  raiseFence(fences, { turn: 3, generation: 2, olderTurns: false });
  raiseFence(fences, { turn: 3, generation: 1, olderTurns: false });
  expect([isFenced(fences, 3, 1), isFenced(fences, 3, 2), isFenced(fences, 2, 0)]).toEqual([true, false, false]);
  expect(isFenced(fences, null, 0)).toBe(false);
});

test("fences are bounded: past the bound the oldest turns are cut as a whole, none is let through again", () => {
  const fences = fencesCreate();
  const turns = limits.LINK_FENCES_PER_SESSION_MAX + 10;
  for (let turn = 1; turn <= turns; turn++) raiseFence(fences, { turn, generation: 2, olderTurns: false });
  expect(fences.entries.length).toBe(limits.LINK_FENCES_PER_SESSION_MAX);
  for (let turn = 1; turn <= turns; turn++) expect(isFenced(fences, turn, 1)).toBe(true);
  expect(isFenced(fences, turns + 1, 0)).toBe(false);
});
