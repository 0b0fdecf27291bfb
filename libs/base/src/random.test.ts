import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createStream, nextFloat, nextId, nextInt, nextU32, type RandomStream } from "./random.ts";

const draws = (stream: RandomStream, count: number): number[] => Array.from({ length: count }, () => nextU32(stream));

describe("seeded streams", () => {
  test("follow the published xoshiro128** sequence", () => {
    // First outputs for the state 1, 2, 3, 4 as given by the reference implementation.
    expect(draws({ s: [1, 2, 3, 4] }, 5)).toEqual([11520, 0, 5927040, 70819200, 2031721883]);
  });

  test("the same seed, epoch and name repeat the stream; another of any gives another", () => {
    const base = draws(createStream("seed", 1, "ids"), 8);
    expect(draws(createStream("seed", 1, "ids"), 8)).toEqual(base);
    const others = [createStream("seed", 2, "ids"), createStream("seed", 1, "jitter"), createStream("seee", 1, "ids")];
    for (const other of others) expect(draws(other, 8).filter((x) => base.includes(x))).toEqual([]);
    // Parts cannot run into one another.
    expect(createStream("a", 1, "2b")).not.toEqual(createStream("a", 12, "b"));
  });

  test("no two of many epochs and names share a state or an id", () => {
    const seen = new Set<string>();
    for (let epoch = 0; epoch < 40; epoch++) {
      for (const name of ["turn", "event", "invocation"]) {
        const stream = createStream("s", epoch, name);
        for (let i = 0; i < 50; i++) seen.add(nextId(stream, "x"));
      }
    }
    expect(seen.size).toBe(40 * 3 * 50);
  });

  test("a stream restored from JSON goes on as if nothing had happened", () => {
    fc.assert(
      fc.property(fc.string(), fc.nat(), fc.nat(50), (seed, epoch, before) => {
        const live = createStream(seed, epoch, "n");
        draws(live, before);
        const restored: RandomStream = JSON.parse(JSON.stringify(live));
        expect(draws(restored, 20)).toEqual(draws(live, 20));
      }),
    );
  });

  test("nextFloat stays in [0, 1) and is spread evenly", () => {
    const stream = createStream("f", 0, "f");
    const buckets = new Array<number>(10).fill(0);
    for (let i = 0; i < 20_000; i++) {
      const x = nextFloat(stream);
      expect(x >= 0 && x < 1).toBe(true);
      buckets[Math.floor(x * 10)]! += 1;
    }
    for (const count of buckets) expect(Math.abs(count - 2_000)).toBeLessThan(250);
  });

  test("nextInt stays inside its ends and reaches both", () => {
    fc.assert(
      fc.property(fc.integer(), fc.nat(1_000_000), fc.nat(), (lo, width, epoch) => {
        const x = nextInt(createStream("i", epoch, "i"), lo, lo + width);
        expect(Number.isSafeInteger(x) && x >= lo && x <= lo + width).toBe(true);
      }),
    );
    const stream = createStream("i", 0, "i");
    const dice = new Set(Array.from({ length: 500 }, () => nextInt(stream, 1, 6)));
    expect([...dice].sort()).toEqual([1, 2, 3, 4, 5, 6]);
    expect(nextInt(stream, 7, 7)).toBe(7);
    expect(nextInt(stream, 0, 2 ** 32 - 1)).toBeGreaterThanOrEqual(0);
  });

  test("nextInt refuses an empty, a fractional and a too wide range", () => {
    const stream = createStream("i", 0, "i");
    expect(() => nextInt(stream, 2, 1)).toThrow(/1 to 2\^32/);
    expect(() => nextInt(stream, 0, 2 ** 32)).toThrow(/1 to 2\^32/);
    expect(() => nextInt(stream, 0.5, 2)).toThrow(/safe integers/);
  });

  test("nextId has its prefix and 16 base32 characters", () => {
    expect(nextId(createStream("i", 3, "turn"), "turn")).toMatch(/^turn_[a-z2-7]{16}$/);
  });
});
