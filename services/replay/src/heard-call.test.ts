import { expect, test } from "vitest";
import { stretchesOf, track } from "./heard-call.ts";

const MS = 1_000_000;
const report = (atMs: number, playedMs: number) => ({ atNs: atMs * MS, playedUs: playedMs * 1_000 });

test("X-07 reports that come late by the line move nothing: the least delayed one tells where the reply stands", () => {
  const late = [report(1_000, 0), report(1_130, 100), report(1_215, 200), report(1_340, 300)];
  expect(stretchesOf(late, [])).toEqual([{ fromUs: 0, toUs: 300_000, startNs: 1_015 * MS }]);
});

test("X-07 a pause that no signal tells of lies before the report that is late by it; one that is told of is exact", () => {
  const paused = [report(1_000, 0), report(1_100, 100), report(1_900, 200)];
  expect(stretchesOf(paused, [])).toEqual([
    { fromUs: 0, toUs: 100_000, startNs: 1_000 * MS },
    { fromUs: 100_000, toUs: 200_000, startNs: 1_800 * MS },
  ]);
  expect(stretchesOf(paused, [{ fromNs: 1_130 * MS, toNs: 1_830 * MS }])).toEqual([
    { fromUs: 0, toUs: 130_000, startNs: 1_000 * MS },
    { fromUs: 130_000, toUs: 200_000, startNs: 1_830 * MS },
  ]);
});

test("X-07 what was never heard is nowhere, and a track keeps to its length", () => {
  expect(stretchesOf([report(1_000, 0), report(1_200, 0)], [])).toEqual([]);
  expect([
    ...track(
      [
        { start: -1, samples: Int16Array.of(1, 2, 3) },
        { start: 3, samples: Int16Array.of(4, 5) },
      ],
      4,
    ),
  ]).toEqual([2, 3, 0, 4]);
});
