/** Replay of a session whose records the replay service holds. */
import { CommandError, EXIT_FAILED } from "../errors.ts";
import type { SessionReplay } from "../replay-session.ts";
import type { Source } from "./source.ts";

/** @throws CommandError for what is not there, or cannot be re-executed. */
export async function replayOfService(
  session: string,
  source: Extract<Source, { kind: "service" }>,
): Promise<SessionReplay> {
  throw new CommandError({
    status: EXIT_FAILED,
    reason: "unsupported",
    what: `session ${session} is held by ${source.replay.url}`,
    remedy: "not yet",
  });
}
