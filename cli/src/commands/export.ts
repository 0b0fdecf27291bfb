/** `rspp export`: a recorded call for people: what was heard, what was said, what happened. */
import type { Command } from "commander";
import { type Done, examples } from "../options.ts";
import { type RecordingOptions, whereOf, withRecording } from "../timeline/options.ts";

export interface ExportOptions extends RecordingOptions {
  out?: string;
}

export function registerExport(cli: Command, done: Done): void {
  const command = cli
    .command("export")
    .summary("a recorded call as audio, transcript and timeline")
    .description(
      "write a call that was recorded at L2 into a folder: call.wav (caller left, agent right, as it was heard), transcript.txt and .json, timeline.jsonl; for its owner alone, since it holds what was said",
    )
    .argument("<session>", "session id")
    .option("--out <dir>", "folder, made where it is not there; default the session id")
    .action(async (session: string, options: ExportOptions) =>
      done(await (await import("../actions/export.ts")).exportCall(session, options, whereOf(command))),
    );
  withRecording(command);
  examples(
    command,
    ["rspp run agent.yaml --wav question.wav --record L2 --out reply.wav", "a call recorded with its payloads"],
    ["rspp export SESSION --out call", ""],
    ["rspp export SESSION --replay http://127.0.0.1:7105", "from the platform's replay service"],
  );
}
