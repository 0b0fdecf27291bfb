import { writeSync } from "node:fs";
import { workerData } from "node:worker_threads";
import type { WatchdogData } from "./watchdog.ts";

const { beats, limitMs, pid } = workerData as WatchdogData;
const counter = new Int32Array(beats);
/** Looks per limit: a pause of this thread itself (a stopped machine) then costs one look, not the limit. */
const looks = 8;
const lookMs = limitMs / looks;

let seen = Atomics.load(counter, 0);
let still = 0;
for (;;) {
  // The main thread never notifies, so this is a sleep that is cut short by nothing.
  Atomics.wait(counter, 0, seen, lookMs);
  const now = Atomics.load(counter, 0);
  if (now !== seen) {
    seen = now;
    still = 0;
    // Beats come more often than looks are due; without this the loop would spin.
    Atomics.wait(pauseCell(), 0, 0, lookMs);
    continue;
  }
  still += 1;
  if (still < looks) continue;
  const line = { level: "fatal", msg: "event loop hung, process killed by its watchdog", pid, limit_ms: limitMs };
  writeSync(2, `${JSON.stringify(line)}\n`);
  process.kill(pid, "SIGKILL");
}

function pauseCell(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4));
}
