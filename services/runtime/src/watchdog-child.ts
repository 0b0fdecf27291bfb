/** Child of the watchdog's test: beats for a while, then loops for ever, or ends by itself where told so. */
import { writeSync } from "node:fs";
import { startWatchdog } from "./watchdog.ts";

const watchdog = startWatchdog({ limitMs: 400 });
setTimeout(() => {
  writeSync(1, "alive\n");
  if (process.argv[2] === "end") void watchdog.stop();
  else for (;;);
}, 1_000);
