import { asMonoNs, msToNs } from "@rspp/base/brand";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { LinkSilence } from "./link-turns.ts";

let nowMs = 0;
let pings = 0;
let givenUp = 0;
const clock = { nowNs: () => asMonoNs(msToNs(nowMs)), wallMs: () => nowMs, busy: () => false };

beforeEach(() => {
  vi.useFakeTimers();
  nowMs = 0;
  pings = 0;
  givenUp = 0;
});
afterEach(() => void vi.useRealTimers());

function silence(): LinkSilence {
  const watch = new LinkSilence(
    clock,
    () => void pings++,
    () => void givenUp++,
  );
  watch.start();
  return watch;
}

function runFor(ms: number): void {
  for (let left = ms; left > 0; left -= 100) {
    nowMs += 100;
    vi.advanceTimersByTime(100);
  }
}

describe("a silent peer", () => {
  test("F-096 is asked every second, and given up as soon as it has been silent for five, whenever it was heard last", () => {
    const watch = silence();
    runFor(300);
    watch.heard(clock.nowNs());
    runFor(4_900);
    expect([pings, givenUp]).toEqual([4, 0]);
    runFor(100);
    expect(givenUp).toBe(1);
    watch.stop();
  });

  test("one that answers is never given up", () => {
    const watch = silence();
    for (let n = 0; n < 20; n++) {
      runFor(1_000);
      watch.heard(clock.nowNs());
    }
    expect(givenUp).toBe(0);
    watch.stop();
  });

  test("kernel.md §7: a process that itself stood still for long gives a healthy peer time to be read", () => {
    const watch = silence();
    runFor(1_000);
    watch.heard(clock.nowNs());
    // Stopped, starved or suspended: the clock goes on, one timer fires when it runs again, and then it reads.
    nowMs += 60_000;
    vi.advanceTimersByTime(1_000);
    expect(givenUp).toBe(0);
    watch.heard(clock.nowNs());
    runFor(4_000);
    expect(givenUp).toBe(0);
    runFor(1_100);
    expect(givenUp).toBe(1);
    watch.stop();
  });

  test("a process that itself runs but now and then waits longer for its peer", () => {
    const watch = silence();
    for (let n = 0; n < 8; n++) {
      nowMs += 1_000;
      vi.advanceTimersByTime(100);
    }
    expect(givenUp).toBe(0);
    runFor(3_000);
    expect(givenUp).toBe(1);
    watch.stop();
  });
});
