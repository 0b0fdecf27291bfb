/** `rspp talk`: a call to a running platform, from WAVs or the microphone. */
import { type Command, Option } from "commander";
import {
  type Done,
  examples,
  jsonOption,
  type PlatformOptions,
  registryOption,
  whole,
  withCaller,
} from "../options.ts";

export interface TalkOptions extends PlatformOptions {
  wav?: string[];
  mic?: boolean;
  out: string;
  bargeInAfter?: number;
  for?: number;
  session?: string;
  var?: string[];
  endpoint?: string;
  sessionToken?: string;
}

export function registerTalk(cli: Command, done: Done): void {
  const command = cli
    .command("talk")
    .summary("call a running platform: WAVs or microphone")
    .description(
      "call a pipeline on a running platform: the WAVs are spoken in real time, or the microphone is; what was heard is written to a WAV",
    )
    .argument("[pipeline[@version]]", "published pipeline; not needed with --endpoint", "voice-assistant")
    .addOption(new Option("--wav <file...>", "what the caller says, one utterance a file").conflicts("mic"))
    .option("--mic", "speak from the microphone, through arecord or sox; Ctrl-C hangs up")
    .option("--out <file>", "WAV of what the caller heard", "heard.wav")
    .option(
      "--barge-in-after <ms>",
      "interrupt: the next WAV starts when so much of the reply was played",
      whole(0, 600_000),
    )
    .option("--for <ms>", "hang up after so long", whole(1, 3_600_000))
    .option("--session <id>", "session id; without it the registry makes one")
    .option("--var <name=value...>", "session variables; a value is JSON, or else a text")
    .option("--endpoint <url>", "a route's endpoint, ws:// or wss://, instead of asking the registry")
    .option("--session-token <reference>", "its token: env:NAME or file:/path")
    .addOption(registryOption())
    .addOption(jsonOption("end with one JSON object on stdout; the live account goes to stderr"))
    .action(async (pipeline: string, options: TalkOptions) =>
      done(await (await import("../actions/talk.ts")).talk(pipeline, options)),
    );
  withCaller(command);
  examples(
    command,
    ["rspp talk voice-assistant --wav question.wav", ""],
    ["rspp talk --wav story.wav stop.wav --barge-in-after 1500", "the second WAV interrupts the reply to the first"],
    ["rspp talk --mic", "with a headset"],
  );
}
