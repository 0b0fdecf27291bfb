/** `rspp sessions` and `rspp replay`: recordings in a data directory, read without a lock. */
import { join } from "node:path";
import { openNodeStore } from "@rspp/runtime/spool/node-store";
import { listSessions } from "@rspp/runtime/spool/reader";
import type { SpoolStore } from "@rspp/runtime/spool/store";
import { EXIT_FAILED, EXIT_OK, InputError } from "./errors.ts";
import { replaySession, type SessionReplay } from "./replay-session.ts";

function openReadOnly(dataDir: string): SpoolStore {
  const opened = openNodeStore(join(dataDir, "spool"), { readOnly: true });
  if (!opened.ok)
    throw new InputError(`${opened.error.detail}\n   help: name the folder of an earlier run with --data DIR`);
  return opened.value;
}

export function sessions(options: { data: string; json: boolean }): number {
  const found = listSessions(openReadOnly(options.data));
  if (options.json) console.log(JSON.stringify({ sessions: found }));
  else if (found.length === 0) console.log("no recorded sessions");
  else
    for (const session of found)
      console.log(`${session.sessionId}  ${session.records} records, epochs ${session.epochs.join(", ")}`);
  return EXIT_OK;
}

export function replay(sessionId: string, options: { data: string; json: boolean }): number {
  const result = replaySession(openReadOnly(options.data), sessionId);
  if (options.json) console.log(JSON.stringify(result));
  else tell(result);
  return result.identical && result.problems.length === 0 ? EXIT_OK : EXIT_FAILED;
}

const LEVELS: Readonly<Record<SessionReplay["level"], string>> = {
  effects: "texts recomputed",
  handles: "over recorded decisions",
};

function tell(result: SessionReplay): void {
  for (const turn of result.turns)
    console.log(
      `turn ${turn.turn}: ${turn.terminal === "" ? "not finished" : turn.terminal}, plan ${turn.planHash.slice(0, 12)}, replay ${turn.replay}`,
    );
  for (const divergence of result.divergences)
    console.log(
      `diverged at step ${divergence.batch}: ${divergence.class}: expected ${divergence.expected}, found ${divergence.found}`,
    );
  for (const problem of result.problems) console.log(`damaged: ${problem}`);
  if (!result.ended) console.log("the recording stops before the end of the session");
  const verdict = result.identical ? "identical" : "DIVERGED";
  console.log(`${result.steps} steps re-executed (${LEVELS[result.level]}): ${verdict}`);
}
