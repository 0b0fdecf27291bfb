import { performance } from "node:perf_hooks";
import { asMonoNs, asWallMs, NS_PER_MS } from "@rspp/base/brand";
import type { Clock } from "@rspp/ports/clock";

/** Node's own ceiling for a timeout, milliseconds; longer waits are armed again. */
const timeoutMsMax = 2_147_483_647;

/** The operating system's clock, of this process alone; its monotonic axis begins at this call. What is due is run on the next turn of the event loop. */
export function createSystemClock(): Clock {
  // Not `hrtime`: it makes an array, and a frame looks at the clock ten times (P2). Monotonic all the same.
  const originMs = performance.now();
  const nowNs = (): number => Math.round((performance.now() - originMs) * NS_PER_MS);
  return {
    nowNs: () => asMonoNs(nowNs()),
    wallMs: () => asWallMs(Date.now()),
    timerAt(atNs, fire) {
      if (atNs <= nowNs()) {
        // Node's shortest timeout is a millisecond, which every first output would wait.
        const immediate = setImmediate(fire);
        return { clear: () => clearImmediate(immediate) };
      }
      let timeout: NodeJS.Timeout;
      // setTimeout may fire up to a millisecond early: "at or after" is kept by arming again.
      const due = (): void => {
        const waitMs = Math.ceil((atNs - nowNs()) / NS_PER_MS);
        if (waitMs > 0) timeout = setTimeout(due, Math.min(waitMs, timeoutMsMax));
        else fire();
      };
      timeout = setTimeout(due, Math.min(Math.max(0, Math.ceil((atNs - nowNs()) / NS_PER_MS)), timeoutMsMax));
      return { clear: () => clearTimeout(timeout) };
    },
    hold: () => () => undefined,
  };
}
