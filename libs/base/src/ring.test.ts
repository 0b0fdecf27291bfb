import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Ring,
  ringAt,
  ringClear,
  ringCreate,
  ringForEach,
  ringPeek,
  ringPush,
  ringRemoveAt,
  ringSet,
  ringShift,
} from "./ring.ts";

function toArray<T>(ring: Ring<T>): T[] {
  const out: T[] = [];
  ringForEach(ring, (item) => out.push(item));
  return out;
}

type Op = ["push" | "removeAt" | "set", number] | ["shift" | "clear" | "json"];
const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(fc.constant("push" as const), fc.nat(999)) },
  { weight: 4, arbitrary: fc.constant<Op>(["shift"]) },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.constantFrom("removeAt" as const, "set" as const), fc.integer({ min: -1, max: 12 })),
  },
  { weight: 1, arbitrary: fc.constantFrom<Op>(["clear"], ["json"]) },
);

/** Applies one operation to the ring and to the naive model, and compares what they answer. */
function applyBoth(ring: Ring<number>, model: number[], step: Op): Ring<number> {
  switch (step[0]) {
    case "push": {
      const fits = model.length < ring.capacity;
      if (fits) model.push(step[1]);
      expect(ringPush(ring, step[1])).toBe(fits);
      return ring;
    }
    case "shift":
      expect(ringShift(ring)).toBe(model.shift());
      return ring;
    case "removeAt":
      expect(ringRemoveAt(ring, step[1])).toBe(step[1] < 0 ? undefined : model.splice(step[1], 1)[0]);
      return ring;
    case "set":
      if (step[1] < 0 || step[1] >= model.length) expect(() => ringSet(ring, step[1], 5)).toThrow(/index/);
      else {
        ringSet(ring, step[1], 5);
        model[step[1]] = 5;
      }
      return ring;
    case "clear":
      ringClear(ring);
      model.length = 0;
      return ring;
    case "json":
      return JSON.parse(JSON.stringify(ring)) as Ring<number>;
  }
}

describe("bounded ring", () => {
  test("behaves as an array with a maximum, also across JSON", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 11 }), fc.array(op, { maxLength: 80 }), (capacity, steps) => {
        let ring = ringCreate<number>(capacity);
        const model: number[] = [];
        for (const step of steps) {
          ring = applyBoth(ring, model, step);
          expect(toArray(ring)).toEqual(model);
          expect(ringPeek(ring)).toBe(model[0]);
          expect([ringAt(ring, -1), ringAt(ring, model.length)]).toEqual([undefined, undefined]);
          expect(ringAt(ring, model.length - 1)).toBe(model.at(-1));
          expect(ring.size).toBe(model.length);
          expect(ring.items.length).toBeLessThanOrEqual(capacity);
          expect(ring.items.filter((item) => item !== null).length).toBe(model.length);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("takes no slots before they are needed", () => {
    const ring = ringCreate<number>(1_000_000);
    expect(ring.items.length).toBe(0);
    ringPush(ring, 1);
    expect(ring.items.length).toBe(4);
  });

  test("refuses a capacity that is no positive integer", () => {
    for (const bad of [0, -1, 1.5, Number.NaN]) expect(() => ringCreate(bad)).toThrow(/capacity/);
  });
});
