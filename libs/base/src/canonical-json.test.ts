import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalJson } from "./canonical-json.ts";
import { InvariantError } from "./invariant.ts";

/** The same value with the keys of every object in reverse order of insertion. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, field]) => [key, reversed(field)]),
  );
}

describe("canonical JSON", () => {
  test("sorts keys by code unit and writes no white space", () => {
    expect(canonicalJson({ b: [1, { z: null, a: true }], a: "é\n", "\u{1F600}": 1, "\uFFFF": 2, B: 0 })).toBe(
      '{"B":0,"a":"é\\n","b":[1,{"a":true,"z":null}],"\u{1F600}":1,"\uFFFF":2}',
    );
  });

  test("leaves undefined fields out and writes -0 as 0", () => {
    expect(canonicalJson({ a: undefined, b: -0 })).toBe('{"b":0}');
  });

  test("does not depend on the order of keys", () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => canonicalJson(reversed(value)) === canonicalJson(value)));
  });

  test("parses back to the same value", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  test("the same object twice is no cycle", () => {
    const shared = { x: 1 };
    expect(canonicalJson([shared, shared])).toBe('[{"x":1},{"x":1}]');
  });

  const cyclic: Record<string, unknown> = {};
  cyclic.in = [cyclic];
  let deep: unknown = 0;
  for (let i = 0; i < 300; i++) deep = [deep];
  test.each<[unknown, RegExp]>([
    [{ a: [0, Number.NaN] }, /finite, at \$\.a\[1\]; found NaN/],
    [{ a: Number.POSITIVE_INFINITY }, /finite, at \$\.a/],
    [{ f: () => 1 }, /no function, at \$\.f/],
    [[3n], /no bigint, at \$\[0\]/],
    [[Symbol("s")], /no symbol, at \$\[0\]/],
    [[undefined], /no undefined, at \$\[0\]/],
    [undefined, /no undefined, at \$$/],
    [cyclic, /no cycle, at \$\.in\[0\]/],
    [{ when: new Map() }, /plain objects only, at \$\.when; found "\[object Map\]"/],
    [{ bytes: new Uint8Array(2) }, /plain objects only, at \$\.bytes/],
    [deep, /at most 200 levels/],
  ])("refuses what JSON would lose and names the path (%#)", (value, message) => {
    expect(() => canonicalJson(value)).toThrow(InvariantError);
    expect(() => canonicalJson(value)).toThrow(message);
  });
});
