/** `rspp replay`: re-executes a recorded session and compares (kernel.md §12). */
import type { Command } from "commander";
import { EXIT_FAILED, EXIT_OK } from "../errors.ts";
import { type Done, examples } from "../options.ts";
import { createPrinter } from "../output/printer.ts";
import { tellReplay } from "../recordings.ts";
import { replaySession, type SessionReplay } from "../replay-session.ts";
import { replayOfService } from "../timeline/service-replay.ts";
import {
  openSource,
  orNowhere,
  type RecordingOptions,
  type Where,
  whereOf,
  withRecording,
} from "../timeline/source.ts";

export function registerReplay(cli: Command, done: Done): void {
  const command = cli
    .command("replay")
    .summary("re-execute a recorded session and compare")
    .description(
      "re-execute a recorded session with the same kernel and compare every effect; recordings on this machine are looked for first, then those of the replay service",
    )
    .argument("<session>", "session id")
    .action(async (session: string, options: RecordingOptions) =>
      done(await replay(session, options, whereOf(command))),
    );
  withRecording(command);
  examples(
    command,
    ["rspp replay SESSION", "status 0 identical, 1 diverged or damaged"],
    ["rspp replay SESSION --replay http://127.0.0.1:7105", "from the platform's replay service"],
  );
}

async function replay(session: string, options: RecordingOptions, where: Where): Promise<number> {
  const result = await orNowhere(session, options, where, replayed(session, options, where));
  const printer = createPrinter(options.json ?? false);
  printer.data(result);
  printer.lines(tellReplay(result));
  return result.identical && result.problems.length === 0 ? EXIT_OK : EXIT_FAILED;
}

async function replayed(session: string, options: RecordingOptions, where: Where): Promise<SessionReplay> {
  const source = openSource(session, options, where);
  return source.kind === "local" ? replaySession(source.store, session) : replayOfService(session, source);
}
