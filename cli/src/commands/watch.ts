/** `rspp watch`: a session's events as they happen (F-022, F-027). */
import { type Command, Option } from "commander";
import { eventKinds, wordsOption } from "../enum-words.ts";
import { type Done, examples, jsonOption, type RuntimeOptions, runtimeOption, whole, withCaller } from "../options.ts";

export interface WatchOptions extends RuntimeOptions {
  kind?: string[];
  debugFor: number;
  for?: number;
}

const dayMs = 86_400_000;

export function registerWatch(cli: Command, done: Done): void {
  const command = cli
    .command("watch")
    .summary("show the events of a session live")
    .description("show a session's events as they happen; Ctrl-C ends it, and the session goes on")
    .argument("<session>", "session id")
    .addOption(
      new Option(
        "--kind <kind...>",
        `only these: ${eventKinds.join(", ")} (default: all but audio and debug)`,
      ).argParser(wordsOption(eventKinds)),
    )
    .option("--debug-for <ms>", "ask for debug events for so long", whole(0, 3_600_000), 0)
    .option("--for <ms>", "end after so long", whole(1, dayMs))
    .addOption(runtimeOption())
    .addOption(jsonOption("print one JSON object a line, an event each"))
    .action(async (session: string, options: WatchOptions) =>
      done(await (await import("../actions/watch.ts")).watch(session, options)),
    );
  withCaller(command);
  examples(
    command,
    ["rspp watch SESSION", ""],
    ["rspp watch SESSION --kind text,control", "with --kind metrics every metric, else the latencies of turns"],
    ["rspp watch SESSION --json | jq .text", "one event a line"],
  );
}
