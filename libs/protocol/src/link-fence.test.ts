import fc from "fast-check";
import { expect, test } from "vitest";
import { limits } from "./limits.ts";
import { fencesCopy, fencesCreate, isFenced, raiseFence } from "./link-fence.ts";

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

test("F-175 whatever is cut, in whatever order: what the rule says, with memory without end, inside the bound", () => {
  const cutoff = fc.record({
    turn: fc.integer({ min: 0, max: 12 }),
    generation: fc.integer({ min: 0, max: 4 }),
    olderTurns: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(cutoff, { maxLength: 25 }), (cutoffs) => {
      const fences = fencesCreate();
      const least = new Map<number, number>();
      let below = 0;
      for (const cut of cutoffs) {
        const copy = fencesCopy(fences);
        raiseFence(fences, cut);
        if (cut.olderTurns) below = Math.max(below, cut.turn);
        least.set(cut.turn, Math.max(cut.generation, least.get(cut.turn) ?? 0));
        for (let turn = 0; turn <= 13; turn++) {
          for (let generation = 0; generation <= 5; generation++) {
            const cutOff = turn < below || generation < (least.get(turn) ?? 0);
            expect(isFenced(fences, turn, generation)).toBe(cutOff);
            if (isFenced(copy, turn, generation)) expect(isFenced(fences, turn, generation)).toBe(true);
          }
        }
      }
      expect(fences.entries.every(({ turn }) => turn > fences.floorTurn)).toBe(true);
      expect(fences.entries.map(({ turn }) => turn)).toEqual(
        [...fences.entries].map((e) => e.turn).sort((a, b) => a - b),
      );
    }),
  );
});

test("the bound itself: as many turns as it holds are kept apart, one more cuts the oldest, the others stay as they are", () => {
  const fences = fencesCreate();
  const max = limits.LINK_FENCES_PER_SESSION_MAX;
  for (let turn = max; turn >= 1; turn--) raiseFence(fences, { turn, generation: 2, olderTurns: false });
  expect([fences.entries.length, isFenced(fences, 1, 2)]).toEqual([max, false]);
  raiseFence(fences, { turn: max + 1, generation: 2, olderTurns: false });
  expect([isFenced(fences, 1, 9), isFenced(fences, 2, 2), isFenced(fences, max + 1, 1)]).toEqual([true, false, true]);
});

test("a copy is its own", () => {
  const fences = fencesCreate();
  raiseFence(fences, { turn: 3, generation: 2, olderTurns: true });
  const copy = fencesCopy(fences);
  raiseFence(fences, { turn: 3, generation: 5, olderTurns: false });
  expect([isFenced(copy, 3, 2), isFenced(copy, 2, 9), isFenced(fences, 3, 2)]).toEqual([false, true, true]);
});
