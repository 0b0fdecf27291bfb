/** `rspp talk`: a call to a running platform, from WAVs or the microphone. */

import { writeFile } from "node:fs/promises";
import { writeWav } from "@rspp/audio/wav";
import { secretSource } from "@rspp/store/secret";
import { StoreError } from "@rspp/store/store-error";
import { readWavSources } from "@rspp/transport-loopback/wav-source";
import { type Command, Option } from "commander";
import { EXIT_FAILED, EXIT_OK, InputError, usageError } from "../errors.ts";
import {
  type Done,
  examples,
  jsonOption,
  type PlatformOptions,
  registryOption,
  whole,
  withCaller,
} from "../options.ts";
import { createPrinter } from "../output/printer.ts";
import { type Paint, padded, paint, printable, shortened } from "../output/style.ts";
import { msWords } from "../output/words.ts";
import { interrupted } from "../signals.ts";
import { type CallOutcome, holdCall } from "../talk/call.ts";
import type { HeardTurn, Tell } from "../talk/conversation.ts";
import { recorderHere } from "../talk/devices.ts";
import { askRoute } from "./route.ts";

interface TalkOptions extends PlatformOptions {
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
    .action(async (pipeline: string, options: TalkOptions) => done(await talk(pipeline, options)));
  withCaller(command);
  examples(
    command,
    ["rspp talk voice-assistant --wav question.wav", ""],
    ["rspp talk --wav story.wav stop.wav --barge-in-after 1500", "the second WAV interrupts the reply to the first"],
    ["rspp talk --mic", "with a headset"],
  );
}

async function talk(pipeline: string, options: TalkOptions): Promise<number> {
  if (!options.mic && (options.wav ?? []).length === 0)
    throw usageError("nothing would be said", "name a WAV with --wav FILE, or speak with --mic");
  // Whatever this machine lacks is told before a session is admitted for it.
  if (options.mic) recorderHere();
  const utterances = await readWavSources(options.wav ?? []);
  const { url, token } = await routeTo(pipeline, options);
  const printer = createPrinter(options.json ?? false);
  const { signal, release } = interrupted(options.for);
  const startMs = performance.now();
  const print = printer.json ? printer.note : printer.line;
  try {
    const outcome = await holdCall({
      url,
      token,
      utterances,
      microphone: options.mic ?? false,
      bargeInAfterMs: options.bargeInAfter ?? null,
      signal,
      tell: teller(print, startMs),
    });
    await writeHeard(options.out, outcome.recording);
    const ok = went(outcome, options.mic ?? false);
    printer.lines(["", ...outcome.turns.map(turnLine), ...closingLines(outcome, options.out)]);
    printer.data(summary(outcome, ok, url, options.out));
    return ok ? EXIT_OK : EXIT_FAILED;
  } finally {
    release();
  }
}

async function routeTo(pipeline: string, options: TalkOptions): Promise<{ url: string; token: string }> {
  const { endpoint, sessionToken } = options;
  if ((endpoint === undefined) !== (sessionToken === undefined))
    throw usageError("--endpoint and --session-token belong together", "give both, as `rspp route` made them, or none");
  if (endpoint === undefined || sessionToken === undefined) {
    const route = await askRoute(pipeline, options);
    return { url: route.endpoint?.url ?? "", token: route.token };
  }
  if (!/^wss?:\/\//.test(endpoint))
    throw usageError("--endpoint: is no ws:// or wss:// address", "take it from `rspp route`");
  try {
    return { url: endpoint, token: (await secretSource(sessionToken).read()).reveal() };
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    const what = error.code === "invalid" ? "it is no reference" : `${sessionToken} cannot be read`;
    throw usageError(`--session-token: ${what}`, "write env:NAME or file:/path there");
  }
}

const looks: Readonly<Record<Parameters<Tell>[0], Paint>> = {
  caller: "cyan",
  agent: "green",
  turn: "bold",
  error: "red",
  line: "dim",
};

function teller(print: (line: string) => void, startMs: number): Tell {
  return (kind, words) => {
    const at = `${((performance.now() - startMs) / 1_000).toFixed(2).padStart(6)}s`;
    const shown = kind === "caller" || kind === "agent" ? `"${printable(words)}"` : printable(words);
    const head = kind === "line" || kind === "turn" ? "" : kind;
    print(
      `${paint("dim", at)}  ${paint(looks[kind], padded(head, 8))}${kind === "line" ? paint("dim", shown) : shown}`,
    );
  };
}

async function writeHeard(path: string, samples: Int16Array): Promise<void> {
  try {
    await writeFile(path, writeWav(samples, { rateHz: 16_000, channels: 1 }));
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "error";
    throw new InputError(
      `--out ${path}: cannot be written (${code})\n   help: name a file in a folder you may write to`,
    );
  }
}

function went({ unheard, turns, errors, inOrder }: CallOutcome, microphone: boolean): boolean {
  const answered = microphone || (unheard.length === 0 && turns.length > 0);
  return answered && inOrder && errors.length === 0 && turns.every(({ terminal }) => !terminal.startsWith("abort"));
}

function turnLine(turn: HeardTurn): string {
  const { user, said, delivery, played_ms, latencies_ms, terminal } = turn;
  const asked = user === "" ? "agent speaks first" : `"${printable(user)}"`;
  const how = [
    terminal === "commit" ? "" : terminal || "not finished",
    delivery === "completed"
      ? "played to the end"
      : delivery === "cancelled"
        ? `cut after ${msWords(played_ms)}`
        : delivery,
    latencies_ms.reply_ms === undefined ? "" : `reply after ${msWords(latencies_ms.reply_ms)}`,
    latencies_ms.cut_ms === undefined ? "" : `silent ${msWords(latencies_ms.cut_ms)} after the interruption began`,
  ].filter((word) => word !== "");
  return `${paint("bold", `turn ${turn.turn}`)}  ${asked} -> "${shortened(printable(said), 60)}"\n        ${paint("dim", how.join(", "))}`;
}

function closingLines({ unheard, ended, recording, session }: CallOutcome, out: string): string[] {
  const missed = unheard.map((path) => `${paint("red", "not heard")}  ${path}: no turn came of it`);
  const seconds = (recording.length / 16_000).toFixed(1);
  return [
    ...missed,
    `call over (${ended}); what the caller heard is in ${out} (${seconds} s)`,
    paint("dim", `what happened in it: rspp timeline ${session}`),
  ];
}

function summary(outcome: CallOutcome, ok: boolean, endpoint: string, out: string) {
  const { session, turns, unheard, bargeIns, errors, resumes, ended, recording } = outcome;
  return {
    ok,
    session,
    endpoint,
    turns,
    unheard,
    barge_ins: bargeIns,
    errors,
    resumes,
    ended,
    out,
    heard_ms: Math.round(recording.length / 16),
  };
}
