import fc from "fast-check";
import { expect, test } from "vitest";
import { SharedClock } from "./shared-clock.ts";

test("a step in either direction is seen once, a slow answer is no step", () => {
  const clock = new SharedClock();
  expect(clock.stepped(1_000_000, 0, 5)).toBe(false);
  expect(clock.stepped(1_001_000, 1_000, 1_004)).toBe(false);
  // Asked at 2 s, answered at 12 s: the shared clock may have said this at any moment in between.
  expect(clock.stepped(1_003_000, 2_000, 12_000)).toBe(false);
  expect(clock.stepped(1_073_000, 13_000, 13_003)).toBe(true);
  expect(clock.stepped(1_074_000, 14_000, 14_003)).toBe(false);
  expect(clock.stepped(1_015_000, 15_000, 15_003)).toBe(true);
  expect(clock.stepped(1_016_000, 16_000, 16_003)).toBe(false);
});

test("however slow the answers and however the clock is slewed, what is no step is not taken for one, and each step is seen", () => {
  const readings = fc.array(
    fc.record({
      pauseMs: fc.integer({ min: 0, max: 20_000 }),
      beforeMs: fc.integer({ min: 0, max: 3_000 }),
      afterMs: fc.integer({ min: 0, max: 3_000 }),
      slew: fc.double({ min: -0.0004, max: 0.0004, noNaN: true }),
    }),
    { minLength: 2, maxLength: 30 },
  );
  fc.assert(
    fc.property(readings, fc.integer({ min: 15_000, max: 90_000 }), fc.boolean(), (list, stepMs, forward) => {
      const clock = new SharedClock();
      let mono = 0;
      let shared = 1_700_000_000_000;
      const read = ({ pauseMs, beforeMs, afterMs, slew }: (typeof list)[number]): boolean => {
        const asked = mono + pauseMs;
        shared += (pauseMs + beforeMs) * (1 + slew);
        const said = Math.floor(shared);
        mono = asked + beforeMs + afterMs;
        shared += afterMs * (1 + slew);
        return clock.stepped(said, asked, mono);
      };
      for (const reading of list) expect(read(reading)).toBe(false);
      shared += forward ? stepMs : -stepMs;
      expect(read({ pauseMs: 100, beforeMs: 1, afterMs: 1, slew: 0 })).toBe(true);
    }),
    { numRuns: 200 },
  );
});
