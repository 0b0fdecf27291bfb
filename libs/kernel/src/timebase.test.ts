import { createStream, nextInt } from "@rspp/base/random";
import { describe, expect, test } from "vitest";
import { timebaseCreate, timebaseErrorMs, timebaseErrorQuantileMs, timebaseObserve } from "./timebase.ts";

const ms = 1_000_000;
const frameUs = 20_000;

/** 20 ms frames from `startMs` on, each late by `jitterMs(i)`, with the sender's clock fast by `ppm`. */
function run(
  tb: ReturnType<typeof timebaseCreate>,
  frames: number,
  jitterMs: (i: number) => number,
  ppm = 0,
): string[] {
  const seen = new Set<string>();
  let last = 0;
  for (let i = 0; i < frames; i++) {
    const endMs = ((i + 1) * frameUs) / 1_000;
    const now = Math.max(last, Math.round((500 + endMs * (1 + ppm / 1e6) + jitterMs(i)) * ms));
    last = now;
    seen.add(timebaseObserve(tb, i * frameUs, frameUs, now));
  }
  return [...seen];
}

describe("NF-018 timebase", () => {
  test("NF-018 timebase: maps exactly when frames come exactly", () => {
    const tb = timebaseCreate(200);
    expect(tb.mapped).toBe(false);
    expect(run(tb, 50, () => 0)).toEqual(["ok"]);
    expect(tb.offsetNs).toBe(500 * ms);
    expect(timebaseErrorMs(tb)).toBe(0);
  });

  test("NF-018 timebase: jitter only delays, so the least delay is the truth", () => {
    const tb = timebaseCreate(200);
    const stream = createStream("timebase", 1, "jitter");
    expect(run(tb, 2_000, () => nextInt(stream, 0, 35))).toEqual(["ok"]);
    const error = Math.abs(tb.offsetNs - 500 * ms) / ms;
    expect(error).toBeLessThan(1.5);
    expect(timebaseErrorQuantileMs(tb, 0.99)).toBeLessThanOrEqual(40);
    expect(timebaseErrorQuantileMs(tb, 0.5)).toBeLessThanOrEqual(20);
  });

  test("NF-018 timebase: p99 stays bounded while one clock drifts by 100 ppm for ten minutes", () => {
    for (const ppm of [100, -100]) {
      const tb = timebaseCreate(200);
      expect(run(tb, 30_000, () => 0, ppm)).toEqual(["ok"]);
      expect(timebaseErrorQuantileMs(tb, 0.99)).toBeLessThanOrEqual(3);
      expect(tb.rebases).toBe(0);
    }
  });

  test("NF-018 timebase: media time running backwards is refused and changes nothing but the count", () => {
    const tb = timebaseCreate(200);
    run(tb, 5, () => 0);
    const before = { ...tb };
    const now = 700 * ms;
    expect(timebaseObserve(tb, 3 * frameUs, frameUs, now)).toBe("refused");
    expect(timebaseObserve(tb, 5 * frameUs - 2_000, frameUs, now)).toBe("refused");
    expect({ ...tb, refusals: 0 }).toEqual({ ...before, refusals: 0 });
    expect(tb.refusals).toBe(2);
    expect(timebaseObserve(tb, 5 * frameUs - 500, frameUs, now)).toBe("ok");
  });

  test("NF-018 timebase: numbers that make no sense are refused", () => {
    const tb = timebaseCreate(200);
    for (const [media, duration] of [
      [-1, 1],
      [Number.NaN, 1],
      [0, -1],
      [0, Number.NaN],
      [0, 1e12],
      [0.5, 1],
    ] as const) {
      expect(timebaseObserve(tb, media, duration, 10)).toBe("refused");
    }
    expect(tb.mapped).toBe(false);
  });

  test("NF-018 timebase: a jump past max_skew rebases once and maps anew", () => {
    const tb = timebaseCreate(200);
    run(tb, 10, () => 0);
    const jumpedMs = 500 + 220 + 201;
    expect(timebaseObserve(tb, 10 * frameUs, frameUs, jumpedMs * ms)).toBe("rebased");
    expect(timebaseErrorMs(tb)).toBe(201);
    expect(timebaseObserve(tb, 11 * frameUs, frameUs, (jumpedMs + 20) * ms)).toBe("ok");
    expect([timebaseErrorMs(tb), tb.rebases]).toEqual([0, 1]);
    // A gap in media time with the wall gap to match (silence not sent) is no skew.
    expect(timebaseObserve(tb, 111 * frameUs, frameUs, (jumpedMs + 20 + 2_000) * ms)).toBe("ok");
  });

  test("NF-018 timebase: quantiles name the bucket, none before the first and infinite above the last", () => {
    const tb = timebaseCreate(5_000);
    expect(timebaseErrorQuantileMs(tb, 0.99)).toBe(0);
    timebaseObserve(tb, 0, 0, 0);
    timebaseObserve(tb, 1, 0, 2_000 * ms);
    expect([timebaseErrorQuantileMs(tb, 0.5), timebaseErrorQuantileMs(tb, 1)]).toEqual([0.5, Number.POSITIVE_INFINITY]);
    expect(tb.errorCounts.reduce((a, b) => a + b, 0)).toBe(2);
  });
});
