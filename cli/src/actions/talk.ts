/** `rspp talk`: a call to a running platform, from WAVs or the microphone. */

import { writeFile } from "node:fs/promises";
import { writeWav } from "@rspp/audio/wav";
import { secretSource } from "@rspp/store/secret";
import { StoreError } from "@rspp/store/store-error";
import { readWavSources } from "@rspp/transport-loopback/wav-source";
import type { TalkOptions } from "../commands/talk.ts";
import { EXIT_FAILED, EXIT_OK, InputError, usageError } from "../errors.ts";
import { createPrinter } from "../output/printer.ts";
import { type Paint, padded, paint, printable, shortened } from "../output/style.ts";
import { msWords } from "../output/words.ts";
import { interrupted } from "../signals.ts";
import { type CallOutcome, holdCall } from "../talk/call.ts";
import type { HeardTurn, Tell } from "../talk/conversation.ts";
import { recorderHere } from "../talk/devices.ts";
import { askRoute } from "./route.ts";

export async function talk(pipeline: string, options: TalkOptions): Promise<number> {
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
