import { expect, test } from "vitest";
import { epochAfter, epochParts, makeEpoch } from "./lease-epoch.ts";

const spent = 2 ** 32 - 1;
const highest = 2 ** 21 - 1;

test("F-158 an epoch is its store's incarnation and a counter, up to the last safe integer", () => {
  expect(makeEpoch(1, 0)).toBe(2 ** 32);
  expect(makeEpoch(highest, spent)).toBe(Number.MAX_SAFE_INTEGER);
  expect(epochParts(makeEpoch(7, 9))).toEqual({ storeIncarnation: 7, counter: 9 });
  for (const [incarnation, counter] of [
    [highest + 1, 0],
    [-1, 0],
    [0, spent + 1],
    [0, -1],
    [0.5, 0],
  ] as const)
    expect(() => makeEpoch(incarnation, counter)).toThrow();
});

test("F-158 the next epoch is one above; a restored store begins at 1 under its own incarnation; a spent counter gives none", () => {
  expect(epochAfter(makeEpoch(3, 4), 3)).toBe(makeEpoch(3, 5));
  expect(epochAfter(makeEpoch(3, spent - 1), 3)).toBe(makeEpoch(3, spent));
  expect(epochAfter(makeEpoch(3, spent), 3)).toBeNull();
  expect(epochAfter(makeEpoch(3, spent), 4)).toBe(makeEpoch(4, 1));
  expect(() => epochAfter(makeEpoch(4, 1), 3)).toThrow();
});
