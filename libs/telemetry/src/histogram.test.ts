import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Histogram } from "./histogram.ts";

const spread = fc.array(
  fc.double({ min: 0, max: 41.7, noNaN: true }).map((log2) => Math.max(1, Math.round(2 ** log2))),
  {
    minLength: 1,
    maxLength: 400,
  },
);

describe("F-040 F-068 latency histogram", () => {
  test("percentiles are within one part in a thousand of the sorted list's, count, sum and maximum are exact", () => {
    fc.assert(
      fc.property(spread, fc.constantFrom(1, 50, 95, 99, 100), (values, percent) => {
        const histogram = new Histogram();
        for (const value of values) histogram.record(value);
        const sorted = [...values].sort((a, b) => a - b);
        const exact = sorted[Math.max(1, Math.ceil((percent / 100) * sorted.length)) - 1] ?? 0;
        expect(Math.abs(histogram.percentile(percent) - exact)).toBeLessThanOrEqual(exact / 1_000);
        expect(histogram.count).toBe(values.length);
        expect(histogram.sumNs).toBe(values.reduce((sum, value) => sum + value, 0));
        expect(histogram.maxNs).toBe(sorted.at(-1));
      }),
    );
  });

  test("buckets hold every value once, at a bound that is not below it", () => {
    const bounds = [1_000_000, 120_000_000, 1_500_000_000];
    fc.assert(
      fc.property(spread, (values) => {
        const histogram = new Histogram();
        for (const value of values) histogram.record(value);
        const counts = histogram.counts(bounds);
        expect(counts.reduce((sum, count) => sum + count, 0)).toBe(values.length);
        let below = 0;
        for (const [i, bound] of bounds.entries()) {
          below += counts[i] ?? 0;
          expect(below).toBeGreaterThanOrEqual(values.filter((value) => value <= bound * 0.999).length);
          expect(below).toBeLessThanOrEqual(values.filter((value) => value <= bound * 1.001).length);
        }
      }),
    );
  });

  test("takes what is out of range as the nearest it can hold", () => {
    const histogram = new Histogram();
    for (const value of [-5, 0, 0.2, 1e15]) histogram.record(value);
    expect(histogram.percentile(50)).toBe(1);
    expect(histogram.maxNs).toBe(3_600_000_000_000);
    expect(new Histogram().summary()).toEqual({ count: 0, meanMs: 0, p50Ms: 0, p95Ms: 0, p99Ms: 0, maxMs: 0 });
  });
});
