import { type Command, InvalidArgumentError, Option } from "commander";
import { wordsOption } from "../enum-words.ts";
import { type Done, examples, gathered } from "../options.ts";
import { timelineKinds } from "../timeline/filters.ts";
import { type RecordingOptions, whereOf, withRecording } from "../timeline/options.ts";

export interface TimelineOptions extends RecordingOptions {
  turn?: string[];
  kind?: string[];
  lane?: string;
  node?: string;
  explain?: boolean;
  signals?: boolean;
  deadLetters?: boolean;
  export?: string;
}

export function registerTimeline(cli: Command, done: Done): void {
  const command = cli
    .command("timeline")
    .summary("what happened in a session, turn by turn")
    .description("show a session's turns as a waterfall with their latencies; --explain tells each turn in words")
    .argument("<session>", "session id")
    .option("--explain", "tell each turn in plain words instead of bars")
    .option("--signals", "list the control signals too")
    .option("--dead-letters", "list what could not be processed instead: kind, reason, source and hash")
    .addOption(new Option("--turn <number...>", "only these turns").argParser(turnNumbers))
    .addOption(
      new Option("--kind <kind...>", `only these: ${timelineKinds.join(", ")}`).argParser(wordsOption(timelineKinds)),
    )
    .addOption(new Option("--lane <lane>", "only this lane").choices(["control", "data"]))
    .option("--node <id>", "only this node")
    .option("--export <file>", "write the records instead, one JSON object a line; `rspp schema --check` reads them")
    .action(async (session: string, options: TimelineOptions) =>
      done(await (await import("../actions/timeline.ts")).timeline(session, options, whereOf(command))),
    );
  withRecording(command);
  examples(
    command,
    ["rspp timeline SESSION", "bars, latencies, words"],
    ["rspp timeline SESSION --explain --turn 2", "why turn 2 opened, what ran, what cut it"],
    ["rspp timeline SESSION --kind invocation --node llm", ""],
    ["rspp timeline SESSION --local --json", "a recording of `rspp run` or `rspp demo`"],
  );
}

function turnNumbers(text: string, before: string[] | undefined): string[] {
  const found = gathered(text, before);
  for (const word of found)
    if (!/^[1-9]\d{0,8}$/.test(word)) throw new InvalidArgumentError("turns are numbered from 1");
  return found;
}
