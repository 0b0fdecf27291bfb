/** Replay of a session whose records the replay service holds: by its timeline, with the kernel of this build. */
import { replayTimeline } from "@rspp/replay/recording";
import { InputError } from "../errors.ts";
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
  throw unknownSession(session, source.replay.url);
}
