/** Replay of a session whose records the replay service holds: by its timeline, with the kernel of this build. */
import { replayTimeline } from "@rspp/replay/recording";
import { CommandError, EXIT_FAILED, InputError } from "../errors.ts";
import { noJournal, type SessionReplay } from "../replay-session.ts";
import { readRecords, type Source, unknownSession } from "./source.ts";

/** @throws CommandError, InputError for what is not there, or cannot be re-executed. */
export async function replayOfService(
  session: string,
  source: Extract<Source, { kind: "service" }>,
): Promise<SessionReplay> {
  const replayed = replayTimeline(await readRecords(session, source));
  if (replayed.ok) return replayed.value;
  if (replayed.error === "no_journal") throw new InputError(noJournal(session));
  if (replayed.error === "failed")
    throw new CommandError({
      status: EXIT_FAILED,
      reason: "replay_failed",
      what: `session ${session}: the recording cannot be re-executed by this build, or was altered`,
      remedy: `\`rspp verify ${session}\` says where it was altered; a recording of another build needs that build`,
    });
  throw unknownSession(session, source.replay.url);
}
