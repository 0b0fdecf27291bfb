import { asMonoNs, asWallMs, NS_PER_MS } from "@rspp/base/brand";
import type { Clock } from "@rspp/ports/clock";

/** Node's own ceiling for a timeout, milliseconds; longer waits are armed again. */
const timeoutMsMax = 2_147_483_647;
const nothingHeld = (): void => {};

/** The operating system's clock. Origin of the monotonic axis: this call. */
export function createSystemClock(): Clock {
  const origin = process.hrtime();
  const nowNs = (): number => {
    const [seconds, nanos] = process.hrtime(origin);
    return seconds * 1e9 + nanos;
  };
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
