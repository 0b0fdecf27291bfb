/** `npm start`: the agent greets, two recorded questions come in, the second interrupts; then both turns are replayed. */

import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describeProblem } from "@rspp/runtime/spool/scan";
import { writeReplyWav } from "@rspp/transport-loopback/recorder";
import { readWavSources, type WavSource } from "@rspp/transport-loopback/wav-source";
import { createAccount, latencyLine, originWords } from "./account.ts";
import { type Bound, bindForCall } from "./bind.ts";
import { type Call, startCall, type TurnView } from "./call.ts";
import { EXIT_FAILED, EXIT_OK } from "./errors.ts";
import { DATA_DEFAULT } from "./options.ts";
import { type LoadedPipeline, loadPipeline } from "./pipeline.ts";
import { openPlatform, type Platform } from "./platform.ts";
import { publish } from "./published.ts";
import { type ReplayedTurn, replaySession, type SessionReplay } from "./replay-session.ts";
import { openTalkDoor, type TalkDoor } from "./talk-server.ts";

const asset = (name: string): string => fileURLToPath(new URL(`../assets/${name}`, import.meta.url));
export const TEMPLATE = fileURLToPath(new URL("../../pipelines/specs/voice-assistant.yaml", import.meta.url));

export interface DemoOptions {
  once: boolean;
  json: boolean;
  fast: boolean;
  data: string;
  out: string;
  port: number;
  silero: "auto" | "off";
  stt?: string;
}

/** How long into the long reply the caller interrupts, milliseconds of playback. */
const INTERRUPT_AFTER_MS = 2_500;
const WAIT_MS = 60_000;

export async function demo(options: DemoOptions): Promise<number> {
  // With --json the account goes to stderr, so that stdout ends with the one object.
  const print = options.json ? (line: string) => console.error(line) : (line: string) => console.log(line);
  const pipeline = await loadPipeline(TEMPLATE);
  const questions = await readWavSources([asset("question-1.wav"), asset("question-2.wav")]);
  const door = options.once ? null : await openTalkDoor(options.port);
  try {
    const outcome = await demonstrate(pipeline, questions, options, print);
    if (options.json) console.log(JSON.stringify(outcome.summary));
    if (door === null) return outcome.ok ? EXIT_OK : EXIT_FAILED;
    await stayUp(door, pipeline, options, print);
    return EXIT_OK;
  } finally {
    door?.close();
  }
}

async function demonstrate(
  pipeline: LoadedPipeline,
  questions: WavSource[],
  options: DemoOptions,
  print: (line: string) => void,
): Promise<Outcome> {
  const platform = await openPlatform({ dataDir: options.data, fast: options.fast, silero: options.silero });
  try {
    const published = await publish(options.data, pipeline);
    print(
      `pipeline: ${published.name}@${published.version}, ${published.fresh ? "published" : "published before"} (fingerprint ${published.fingerprint.slice(0, 12)})`,
    );
    return await converse(platform, pipeline, questions, options, print);
  } finally {
    await platform.close();
  }
}

/**
 * People talk in real time, however fast the demonstration was. What the demonstration's callers say is known from files;
 * nobody knows what comes now, so the simulated recogniser is told nothing and the door says that it cannot hear.
 */
async function stayUp(
  door: TalkDoor,
  { compiled }: LoadedPipeline,
  options: DemoOptions,
  print: (line: string) => void,
): Promise<void> {
  const platform = await openPlatform({ dataDir: options.data, fast: false, silero: options.silero });
  try {
    const { pipeline, recogniser } = bindForCall(compiled, platform.gateway, {
      transcripts: [],
      ...(options.stt ? { stt: options.stt } : {}),
    });
    await door.serve({ platform, pipeline, recognises: recogniser !== "sim/stt", print });
  } finally {
    await platform.close();
  }
}

interface Outcome {
  ok: boolean;
  bound: Bound;
  summary: Record<string, unknown>;
}

async function converse(
  platform: Platform,
  pipeline: LoadedPipeline,
  questions: WavSource[],
  options: DemoOptions,
  print: (line: string) => void,
): Promise<Outcome> {
  tellRecovery(platform, print);
  const bound = bindForCall(pipeline.compiled, platform.gateway, {
    transcripts: questions.map((q) => q.transcript ?? ""),
    ...(options.stt ? { stt: options.stt } : {}),
  });
  for (const line of bound.told) print(line);
  print(`voice activity: ${platform.vad.name}`);
  if (options.fast)
    print("clock: virtual clock (--fast): times below are what a call would take, latencies are not measured");
  print("");
  const account = createAccount(print, platform.clock.nowNs());
  const call = startCall(platform, bound.pipeline, { recording: "L2", onEvent: account.event });
  const story = await play(platform, call, questions);
  call.adapter.end("demo_over");
  await platform.run(() => call.ended, WAIT_MS);
  const recording = call.adapter.recording();
  await writeReplyWav(options.out, recording.agent, recording.agentRateHz);
  await platform.spool.sync();
  const replay = replaySession(platform.store, call.session.id);
  const turns = [...call.turns.values()].map((turn) => summarise(turn, replay));
  const after = call.adapter.stats().samplesAfterFence;
  const ok =
    story && replay.identical && after === 0 && turns.length === 3 && turns.every((t) => t.terminal === "commit");
  print("");
  for (const turn of turns) tellTurn(turn, options.fast ? undefined : call.turns.get(turn.turn), print);
  print(`replayed ${replay.steps} steps from the recording: ${replay.identical ? "identical" : "DIVERGED"}`);
  print(`samples played after the cut: ${after}`);
  const seconds = (recording.agent.length / recording.agentRateHz).toFixed(1);
  print(`what the caller heard is in ${options.out} (${seconds} s)`);
  const from = options.data === DATA_DEFAULT ? "" : ` --data ${options.data}`;
  print(`replay it again: npx rspp replay ${call.session.id}${from}`);
  return {
    ok,
    bound,
    summary: {
      ok,
      recogniser: bound.recogniser,
      vad: platform.vad.name,
      llm: bound.llm,
      tts: bound.tts,
      session: call.session.id,
      pipeline: `${pipeline.compiled.name}@${pipeline.compiled.version}`,
      fingerprint: pipeline.compiled.fingerprint,
      // Under a virtual clock computing takes no time: its latencies are no measurement.
      clock: options.fast ? "virtual" : "real",
      turns,
      samples_after_cut: after,
      replay: {
        identical: replay.identical,
        level: replay.level,
        steps: replay.steps,
        divergences: replay.divergences,
      },
      metrics: platform.runtime.metrics.snapshot(),
      reply: resolve(options.out),
    },
  };
}

/** @returns whether everything that was waited for came. */
async function play(platform: Platform, call: Call, questions: WavSource[]): Promise<boolean> {
  const [first, second] = questions;
  if (first === undefined || second === undefined) return false;
  const turn = (n: number): TurnView | undefined => call.turns.get(n);
  if (!(await platform.run(() => turn(1)?.settled === true, WAIT_MS))) return false;
  call.adapter.speak(first.samples);
  const deep = (): boolean => {
    const reply = turn(2);
    return reply?.committed === true && playedMs(call, 2) >= INTERRUPT_AFTER_MS;
  };
  if (!(await platform.run(deep, WAIT_MS))) return false;
  call.adapter.speak(second.samples);
  return platform.run(() => turn(3)?.settled === true, WAIT_MS);
}

function playedMs(call: Call, turn: number): number {
  let us = 0;
  for (const range of call.adapter.recording().ranges) if (range.turn === turn) us = Math.max(us, range.toUs);
  return us / 1_000;
}

function tellRecovery(platform: Platform, print: (line: string) => void): void {
  const { records, problems } = platform.spool.recovery;
  if (records === 0 && problems.length === 0) return;
  const damage = problems.length === 1 ? ", 1 damaged part found" : `, ${problems.length} damaged parts found`;
  print(`recovered: ${records} records of earlier runs are whole${problems.length === 0 ? "" : damage}`);
  for (const problem of problems.slice(0, 5)) print(`  ${describeProblem(problem)}`);
}

type TurnSummary = ReplayedTurn & {
  origin: string;
  said: string;
  delivery: string;
  latencies_ms: Record<string, number>;
};

function summarise(turn: TurnView, replay: SessionReplay): TurnSummary {
  const replayed = replay.turns.find((t) => t.turn === turn.turn);
  return {
    turn: turn.turn,
    origin: turn.origin,
    user: replayed?.user ?? turn.user,
    said: turn.said.trim(),
    heard: replayed?.heard ?? "",
    terminal: turn.terminal,
    delivery: turn.delivery,
    playedMs: replayed?.playedMs ?? Math.round(turn.playedUs / 1_000),
    planHash: replayed?.planHash ?? "",
    evidenceHash: replayed?.evidenceHash ?? "",
    replay: replayed?.replay ?? "diverged",
    latencies_ms: turn.latencies,
  };
}

function tellTurn(turn: TurnSummary, view: TurnView | undefined, print: (line: string) => void): void {
  const how = turn.delivery === "cancelled" ? "interrupted while it played" : `delivery ${turn.delivery}`;
  print(`turn ${turn.turn} (${originWords(turn.origin)}): ${turn.terminal}, ${how}, replay ${turn.replay}`);
  if (turn.user !== "") print(`  caller said   "${turn.user}"`);
  print(`  agent said    "${shorten(turn.said)}"`);
  if (turn.delivery === "cancelled") print(`  caller heard  "${turn.heard}" (${(turn.playedMs / 1000).toFixed(2)} s)`);
  const line = view === undefined ? "" : latencyLine(view);
  if (line !== "") print(`  latencies     ${line}`);
}

function shorten(text: string): string {
  return text.length <= 100 ? text : `${text.slice(0, 97)}...`;
}
