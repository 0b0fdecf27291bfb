import { expect, test } from "vitest";
import { BEHAVIOURS, CURRENT_BEHAVIOURS, isOn, unknownBehaviours } from "./behaviours.ts";

test("behaviour numbers rise from 1 without a hole and carry an ISO date", () => {
  expect(BEHAVIOURS.map((b) => b.id)).toEqual(BEHAVIOURS.map((_, i) => i + 1));
  for (const b of BEHAVIOURS) expect(b.since).toMatch(/^\d{4}-\d{2}-\d{2}$/);
});

test("a flag is on only where it is listed, and unknown ones are named", () => {
  expect([isOn(CURRENT_BEHAVIOURS, 1), isOn([], 1), isOn([2], 1)]).toEqual([true, false, false]);
  expect(unknownBehaviours([1, 9_999])).toEqual([9_999]);
});
