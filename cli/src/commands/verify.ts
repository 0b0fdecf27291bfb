import type { Command } from "commander";
import { type Done, examples } from "../options.ts";
import { type RecordingOptions, whereOf, withRecording } from "../timeline/options.ts";

export function registerVerify(cli: Command, done: Done): void {
  const command = cli
    .command("verify")
    .summary("is a recording whole and unaltered")
    .description("check the hash chain of a recorded session, its completeness and the evidence of each turn")
    .argument("<session>", "session id")
    .action(async (session: string, options: RecordingOptions) =>
      done(await (await import("../actions/verify.ts")).verify(session, options, whereOf(command))),
    );
  withRecording(command);
  examples(
    command,
    ["rspp verify SESSION", "status 0 whole, 1 altered or incomplete"],
    ["rspp verify SESSION --local", ""],
  );
}
