/** Replays a recorded session from the spool of this machine (`kernel.md` §12). */
import { configOf, reExecute, type SessionReplay } from "@rspp/replay/re-execute";
import { readSession } from "@rspp/runtime/spool/reader";
import { describeProblem } from "@rspp/runtime/spool/scan";
import type { SpoolStore } from "@rspp/runtime/spool/store";
import { InputError } from "./errors.ts";

export type { ReplayedTurn, SessionReplay } from "@rspp/replay/re-execute";

/**
 * @param tenant undefined: whosesoever session is found first under the id.
 * @throws InputError when there is nothing to replay, or the recording is damaged so that it cannot be.
 */
export function replaySession(store: SpoolStore, sessionId: string, tenant?: string): SessionReplay {
  const read = readSession(store, sessionId, tenant);
  const run = read.runs.at(-1);
  const problems = read.problems.map(describeProblem);
  if (run === undefined)
    throw new InputError(
      `session ${sessionId}: not in this spool\n   help: list the sessions with \`rspp sessions --data DIR\``,
    );
  const config = configOf(run);
  if (config === null) throw new InputError(noJournal(sessionId));
  return reExecute(sessionId, config, run, problems);
}

/** What there is to say of a recording at L0. */
export function noJournal(sessionId: string): string {
  return `session ${sessionId}: recorded at L0, without a journal\n   help: record at L1 or L2 (recording.level in the spec, or --record L1) to replay by re-execution`;
}
