import { asMonoNs, type MonoNs } from "@rspp/base/brand";
import { describe, expect, test } from "vitest";
import { InputFeed } from "./input-feed.ts";

function rig() {
  let nowNs = asMonoNs(0);
  let timers: { at: MonoNs; fire: () => void }[] = [];
  const clock = {
    nowNs: () => nowNs,
    timerAt: (at: MonoNs, fire: () => void) => {
      const timer = { at, fire };
      timers.push(timer);
      return {
        clear: () => {
          timers = timers.filter((one) => one !== timer);
        },
      };
    },
  };
  const log: (number | string)[] = [];
  const feed = new InputFeed({ clock, take: (_bytes, us) => void log.push(us / 1_000) });
  const pass = (ms: number): void => {
    const end = nowNs + ms * 1e6;
    for (let due = timers[0]; due !== undefined && due.at <= end; due = timers[0]) {
      nowNs = due.at;
      timers.shift();
      due.fire();
    }
    nowNs = asMonoNs(end);
  };
  const ms = (): number => log.reduce<number>((sum, one) => sum + (typeof one === "number" ? one : 0), 0);
  return { feed, log, pass, ms };
}

const sound = (ms: number) => new Uint8Array(ms * 8);

describe("the client's audio on its way in", () => {
  test("what comes all at once is handed on little ahead of real time; what comes after it waits for it", () => {
    const { feed, log, pass, ms } = rig();
    expect(feed.push(sound(10_000), 8, false)).toBe(true);
    feed.after(() => void log.push("commit"));
    expect(ms()).toBe(4_000);
    pass(3_000);
    expect(ms()).toBeGreaterThan(6_700);
    expect(ms()).toBeLessThanOrEqual(7_000);
    expect(log).not.toContain("commit");
    pass(4_000);
    expect(log.at(-1)).toBe("commit");
    expect(ms()).toBe(10_000);
  });

  test("F-042 held until it is released; cleared, it is gone", () => {
    const { feed, pass, ms } = rig();
    feed.push(sound(1_000), 8, true);
    feed.clear();
    feed.release();
    expect([ms(), feed.sinceCommitUs]).toEqual([0, 0]);
    feed.push(sound(9_000), 8, true);
    pass(9_000);
    expect(ms()).toBe(0);
    // As old as the time it took to say it: all of it at once.
    feed.release();
    expect(ms()).toBe(9_000);
  });

  test("bounded: a minute waits, more is refused, nothing of it taken", () => {
    const { feed } = rig();
    expect(feed.push(sound(60_000), 8, true)).toBe(true);
    expect(feed.push(sound(100), 8, true)).toBe(false);
    expect(feed.appendedUs).toBe(60_000_000);
  });
});
