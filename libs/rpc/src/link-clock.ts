import { performance } from "node:perf_hooks";
import { asMonoNs, type MonoNs, NS_PER_MS } from "@rspp/base/brand";
import { limits } from "./limits.ts";

/** Where a driver gets its time from; tests may move it by hand. */
export interface LinkClock {
  /** Since the start of the process. */
  nowNs(): MonoNs;
  /** Since 1970 UTC. */
  wallMs(): number;
  /** Whether the event loop has been busy lately, so that steady media is worth batching. */
  busy(): boolean;
}

export function systemClock(): LinkClock {
  let mark = performance.eventLoopUtilization();
  let markAtMs = performance.now();
  let busy = false;
  return {
    nowNs: () => asMonoNs(Math.round(performance.now() * NS_PER_MS)),
    wallMs: () => Date.now(),
    busy: () => {
      const nowMs = performance.now();
      if (nowMs - markAtMs < limits.LINK_BUSY_WINDOW_MS) return busy;
      const current = performance.eventLoopUtilization();
      busy = performance.eventLoopUtilization(current, mark).utilization * 100 >= limits.LINK_BUSY_PERCENT;
      mark = current;
      markAtMs = nowMs;
      return busy;
    },
  };
}
