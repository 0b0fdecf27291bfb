import { describe, expect, test } from "vitest";
import {
  asMediaUs,
  asMonoNs,
  asWallMs,
  type MediaUs,
  type MonoNs,
  monoPlusNs,
  msToNs,
  nsToMs,
  type WallMs,
} from "./brand.ts";

describe("the three clocks", () => {
  test("are not assignable to one another, nor is a bare number to any (checked by tsc)", () => {
    const mono = asMonoNs(1);
    const wall = asWallMs(2);
    const media = asMediaUs(3);
    // @ts-expect-error wall time is not monotonic time
    const a: MonoNs = wall;
    // @ts-expect-error media time is not monotonic time
    const b: MonoNs = media;
    // @ts-expect-error monotonic time is not wall time
    const c: WallMs = mono;
    // @ts-expect-error media time is not wall time
    const d: WallMs = media;
    // @ts-expect-error monotonic time is not media time
    const e: MediaUs = mono;
    // @ts-expect-error wall time is not media time
    const f: MediaUs = wall;
    // @ts-expect-error a bare number belongs to no clock
    const g: MonoNs = 7;
    expect([a, b, c, d, e, f, g]).toEqual([2, 3, 1, 3, 1, 2, 7]);
  });

  test("refuse what is no safe integer", () => {
    for (const make of [asMonoNs, asWallMs, asMediaUs]) {
      for (const bad of [0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])
        expect(() => make(bad)).toThrow(/safe integer/);
    }
    expect(() => asMonoNs(-1)).toThrow(/not negative/);
    expect(asMediaUs(-1)).toBe(-1);
  });

  test("monoPlusNs stays on its clock and refuses to leave it", () => {
    expect(monoPlusNs(asMonoNs(5), 3)).toBe(8);
    expect(() => monoPlusNs(asMonoNs(5), -6)).toThrow(/not negative/);
  });
});

test("durations convert between milliseconds and nanoseconds", () => {
  expect(msToNs(20)).toBe(20_000_000);
  expect(msToNs(0.1)).toBe(100_000);
  expect(nsToMs(1_500_000)).toBe(1.5);
});
