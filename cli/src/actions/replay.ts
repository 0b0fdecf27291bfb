import { EXIT_FAILED, EXIT_OK } from "../errors.ts";
import { createPrinter } from "../output/printer.ts";
import { tellReplay } from "../recordings.ts";
import { replaySession, type SessionReplay } from "../replay-session.ts";
import type { RecordingOptions, Where } from "../timeline/options.ts";
import { replayOfService } from "../timeline/service-replay.ts";
import { openSource, orNowhere } from "../timeline/source.ts";

export async function replay(session: string, options: RecordingOptions, where: Where): Promise<number> {
  const result = await orNowhere(session, options, where, replayed(session, options, where));
  const printer = createPrinter(options.json ?? false);
  printer.data(result);
  printer.lines(tellReplay(result));
  return result.identical && result.problems.length === 0 ? EXIT_OK : EXIT_FAILED;
}

async function replayed(session: string, options: RecordingOptions, where: Where): Promise<SessionReplay> {
  const source = openSource(session, options, where);
  return source.kind === "local"
    ? replaySession(source.store, session, source.tenant)
    : replayOfService(session, source);
}
