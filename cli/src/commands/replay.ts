/** `rspp replay`: re-executes a recorded session and compares (kernel.md §12). */
import type { Command } from "commander";
import { type Done, examples } from "../options.ts";
import { type RecordingOptions, whereOf, withRecording } from "../timeline/options.ts";

export function registerReplay(cli: Command, done: Done): void {
  const command = cli
    .command("replay")
    .summary("re-execute a recorded session and compare")
    .description(
      "re-execute a recorded session with the same kernel and compare every effect; recordings on this machine are looked for first, then those of the replay service",
    )
    .argument("<session>", "session id")
    .action(async (session: string, options: RecordingOptions) =>
      done(await (await import("../actions/replay.ts")).replay(session, options, whereOf(command))),
    );
  withRecording(command);
  examples(
    command,
    ["rspp replay SESSION", "status 0 identical, 1 diverged or damaged"],
    ["rspp replay SESSION --replay http://127.0.0.1:7105", "from the platform's replay service"],
  );
}
