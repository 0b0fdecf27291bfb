import { performance } from "node:perf_hooks";
import { asMonoNs, asWallMs, NS_PER_MS } from "@rspp/base/brand";
import type { Clock } from "@rspp/ports/clock";

/** Node's own ceiling for a timeout, milliseconds; longer waits are armed again. */
const timeoutMsMax = 2_147_483_647;
const nothingHeld = (): void => {};

/** The operating system's clock. Origin of the monotonic axis: this call. */
export function createSystemClock(): Clock {
  // Not `hrtime`: it makes an array, and a frame looks at the clock ten times (P2). Monotonic all the same.
  const originMs = performance.now();
  const nowNs = (): number => Math.round((performance.now() - originMs) * NS_PER_MS);
  return {
    nowNs: () => asMonoNs(nowNs()),
    wallMs: () => asWallMs(Date.now()),
    timerAt(atNs, fire) {
      let timeout: NodeJS.Timeout | null = null;
      // setTimeout may fire up to a millisecond early: "at or after" is kept by arming again.
      const arm = (): void => {
        const waitMs = Math.ceil((atNs - nowNs()) / NS_PER_MS);
        timeout = setTimeout(due, Math.min(Math.max(waitMs, 0), timeoutMsMax));
      };
      const due = (): void => {
        timeout = null;
        if (nowNs() < atNs) arm();
        else fire();
      };
      arm();
      return {
        clear() {
          if (timeout !== null) clearTimeout(timeout);
          timeout = null;
        },
      };
    },
    hold: () => nothingHeld,
  };
}
