import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Digest, digestCreate, digestHex, digestNumber, digestString } from "./digest.ts";

type Item = number | string;

function feed(items: readonly Item[], d: Digest = digestCreate()): Digest {
  for (const item of items) {
    if (typeof item === "number") digestNumber(d, item);
    else digestString(d, item);
  }
  return d;
}

const hexOf = (...items: Item[]): string => digestHex(feed(items));
const item: fc.Arbitrary<Item> = fc.oneof(fc.double(), fc.integer(), fc.string());
const nameOf = (x: Item): string => (typeof x === "string" ? `s${x}` : `n${x}`);

describe("rolling digest", () => {
  test("is pinned: the same items give the same digits in every version", () => {
    expect(hexOf(0, 1, -1, 0.5, 2 ** 53, "turn_open", "")).toBe("26bfb0b5b08f78dd");
  });

  test("-0 equals 0, and every NaN is one", () => {
    expect(hexOf(-0)).toBe(hexOf(0));
    expect(hexOf(Number.NaN)).toBe(hexOf(-Number.NaN));
  });

  test("tells apart neighbours that a careless hash confuses", () => {
    const cases: Item[][] = [
      [],
      [0],
      [0, 0],
      [1],
      ["1"],
      [""],
      ["", ""],
      ["ab", "c"],
      ["a", "bc"],
      ["abc"],
      [0.1],
      [0.2],
    ];
    cases.push(
      [2 ** 32],
      [2 ** 31],
      [-(2 ** 31)],
      [2 ** 53],
      [2 ** 53 - 1],
      [Number.MIN_VALUE],
      [Number.NaN],
      [1 / 0],
      [-1 / 0],
    );
    expect(new Set(cases.map((items) => hexOf(...items))).size).toBe(cases.length);
  });

  test("equal sequences agree, and a changed item is seen", () => {
    fc.assert(
      fc.property(fc.array(item, { minLength: 1 }), fc.nat(), item, (items, at, other) => {
        const i = at % items.length;
        expect(hexOf(...items)).toBe(hexOf(...items));
        const changed = items.with(i, other);
        if (nameOf(items[i]!) !== nameOf(other)) expect(hexOf(...changed)).not.toBe(hexOf(...items));
      }),
      { numRuns: 2_000 },
    );
  });

  test("a digest restored from JSON goes on, and reading it changes nothing", () => {
    fc.assert(
      fc.property(fc.array(item), fc.array(item), (before, after) => {
        const live = feed(before);
        digestHex(live);
        const restored: Digest = JSON.parse(JSON.stringify(live));
        expect(digestHex(feed(after, restored))).toBe(hexOf(...before, ...after));
      }),
    );
  });

  test("50 000 consecutive integers do not collide", () => {
    const seen = new Set<string>();
    for (let n = 0; n < 50_000; n++) seen.add(hexOf(n));
    expect(seen.size).toBe(50_000);
  });
});
