import { asMonoNs, asWallMs, NS_PER_MS } from "@rspp/base/brand";
import type { Clock } from "@rspp/ports/clock";

/** Node's own ceiling for a timeout, milliseconds; longer waits are armed again. */
const timeoutMsMax = 2_147_483_647;

/** The operating system's clock, of this process alone. */
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
