import { asMonoNs } from "@rspp/base/brand";
import { expect, test, vi } from "vitest";
import { createSystemClock } from "./system-clock.ts";

test("what is due now waits for no timer, and may be cleared; what is due later does not come early", async () => {
  const clock = createSystemClock();
  const timeouts = vi.spyOn(globalThis, "setTimeout");
  const fired: string[] = [];
  await new Promise<void>((resolve) => {
    clock.timerAt(clock.nowNs(), () => fired.push("cleared")).clear();
    clock.timerAt(clock.nowNs(), () => {
      fired.push("due");
      resolve();
    });
    expect(fired).toEqual([]);
  });
  expect(fired).toEqual(["due"]);
  expect(timeouts).not.toHaveBeenCalled();
  const atNs = asMonoNs(clock.nowNs() + 2_000_000);
  await new Promise<void>((resolve) => void clock.timerAt(atNs, resolve));
  expect(clock.nowNs()).toBeGreaterThanOrEqual(atNs);
  timeouts.mockRestore();
});
