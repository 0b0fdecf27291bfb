import { asMonoNs, msToNs } from "@rspp/base/brand";
import { createSystemClock } from "@rspp/host/system-clock";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createVirtualClock, runFast } from "./virtual-clock.ts";

const ms = (n: number) => asMonoNs(msToNs(n));

describe("virtual clock", () => {
  test("timers fire by (instant, insertion), cleared ones never, as a sorted list says", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ at: fc.integer({ min: 0, max: 20 }), clear: fc.boolean() }), { maxLength: 200 }),
        (timers) => {
          const clock = createVirtualClock();
          const fired: number[] = [];
          const handles = timers.map((timer, i) => clock.timerAt(ms(timer.at), () => fired.push(i)));
          timers.forEach((timer, i) => {
            if (timer.clear) handles[i]?.clear();
          });
          const expected = timers
            .map((timer, i) => ({ ...timer, i }))
            .filter((timer) => !timer.clear)
            .sort((a, b) => a.at - b.at || a.i - b.i)
            .map((timer) => timer.i);
          expect(clock.timers()).toBe(expected.length);
          clock.runUntilIdle({ maxNs: ms(100) });
          expect(fired).toEqual(expected);
          expect(clock.timers()).toBe(0);
        },
      ),
    );
  });

  test("a timer set by a timer for an earlier instant fires now, never in the past", () => {
    const clock = createVirtualClock({ wallOriginMs: 1_000 });
    const seen: number[] = [];
    clock.timerAt(ms(10), () => clock.timerAt(ms(5), () => seen.push(clock.nowNs())));
    clock.advanceTo(ms(20));
    expect(seen).toEqual([ms(10)]);
    expect(clock.nowNs()).toBe(ms(20));
    expect(clock.wallMs()).toBe(1_020);
  });

  test("runUntilIdle stops at maxNs and while held", () => {
    const clock = createVirtualClock();
    let ticks = 0;
    const tick = (): void => {
      ticks += 1;
      clock.timerAt(asMonoNs(clock.nowNs() + msToNs(10)), tick);
    };
    clock.timerAt(ms(10), tick);
    expect(clock.runUntilIdle({ maxNs: ms(100) })).toBe(10);
    const release = clock.hold();
    expect(clock.runUntilIdle({ maxNs: ms(200) })).toBe(0);
    release();
    release();
    expect(clock.held()).toBe(false);
    expect(clock.runUntilIdle({ maxNs: ms(200) })).toBe(10);
    expect(ticks).toBe(20);
  });

  test("virtual time stands still while real work is under way, and jumps when idle", async () => {
    const clock = createVirtualClock();
    const log: string[] = [];
    clock.timerAt(ms(10), () => {
      const release = clock.hold();
      setTimeout(() => {
        log.push(`work done at ${clock.nowNs() / 1e6}`);
        release();
      }, 5);
    });
    clock.timerAt(ms(3_600_000), () => log.push("an hour later"));
    const end = await runFast(clock, { until: () => log.length === 2, maxNs: ms(7_200_000) });
    expect(end).toBe("done");
    expect(log).toEqual(["work done at 10", "an hour later"]);
    expect(await runFast(clock, { until: () => false, maxNs: ms(8_000_000) })).toBe("idle");
    clock.timerAt(ms(9_000_000), () => log.push("past the limit"));
    expect(await runFast(clock, { until: () => false, maxNs: ms(8_000_000) })).toBe("limit");
  });
});

describe("system clock", () => {
  test("never goes back, and a timer fires at or after its instant, once", async () => {
    const clock = createSystemClock();
    const a = clock.nowNs();
    const at = asMonoNs(a + msToNs(3));
    const firedAt = await new Promise<number>((resolve) => clock.timerAt(at, () => resolve(clock.nowNs())));
    expect(firedAt).toBeGreaterThanOrEqual(at);
    let fired = false;
    const cleared = clock.timerAt(at, () => {
      fired = true;
    });
    cleared.clear();
    cleared.clear();
    await new Promise<void>((resolve) => clock.timerAt(asMonoNs(clock.nowNs() + msToNs(2)), resolve));
    expect(fired).toBe(false);
    clock.hold()();
  });
});
