import { Worker } from "node:worker_threads";
import { workerUrl } from "@rspp/host/worker-url";
import { limits } from "./limits.ts";

export interface Watchdog {
  stop(): Promise<void>;
}

export interface WatchdogData {
  beats: SharedArrayBuffer;
  limitMs: number;
  pid: number;
}

/**
 * A thread that ends the process when its event loop stands still for longer than `limitMs` (`kernel.md` §1): it writes
 * one line to stderr and kills with SIGKILL, since a loop that hangs handles no other signal. Time in which the whole
 * machine stood still does not count.
 * @param options.limitMs default 10000.
 */
export function startWatchdog(options: { limitMs?: number } = {}): Watchdog {
  const limitMs = options.limitMs ?? limits.WATCHDOG_LIMIT_MS;
  const beats = new SharedArrayBuffer(4);
  const counter = new Int32Array(beats);
  const beat = setInterval(() => Atomics.add(counter, 0, 1), Math.min(limits.WATCHDOG_BEAT_MS, limitMs / 4));
  beat.unref();
  const workerData: WatchdogData = { beats, limitMs, pid: process.pid };
  const worker = new Worker(workerUrl("watchdog-worker", import.meta.url), { workerData });
  worker.unref();
  return {
    async stop() {
      clearInterval(beat);
      await worker.terminate();
    },
  };
}
