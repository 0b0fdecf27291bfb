/** A platform as `rspp up` starts it, and callers who talk to it over WebSocket as applications do. */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseWav, wavTo16kMono } from "@rspp/audio/wav";
import type { Client } from "@rspp/client/client";
import { connect } from "@rspp/client/connect";
import type { ClientOptions, Cut, OutputFrame, StateEvent, TextEvent, TurnEvent } from "@rspp/client/types";
import type { SessionRoute } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import type { ReadyLine } from "@rspp/host/start";
import { connectRpc, type RpcConnection } from "@rspp/rpc/clients";
import { type Running, type StartOptions, startRspp } from "./rspp.ts";

export interface PlatformLine {
  readonly ready: true;
  readonly service: "platform";
  readonly registry: string;
  readonly websocket: string;
  readonly published: readonly string[];
  readonly ready_ms: number;
  readonly pid: number;
  readonly message: string;
}

export interface Up {
  readonly running: Running;
  readonly platform: PlatformLine;
  readonly registry: RpcConnection;
  /** The line with which the service was ready last. */
  line(service: string): ReadyLine;
  /** All ready lines of a service so far. */
  lines(service: string): readonly ReadyLine[];
}

/** On free ports, in a data directory of its own unless one is given; resolves when it is ready. */
export async function up(data: string, ...args: readonly string[]): Promise<Up> {
  return upWith({}, data, ...args);
}

export async function upWith(options: StartOptions, data: string, ...args: readonly string[]): Promise<Up> {
  const env = { RSPP_LOG_LEVEL: process.env.RSPP_LOG_LEVEL ?? "warn", ...options.env };
  const running = startRspp(["up", "--json", "--port-base", "0", "--data", data, ...args], { ...options, env });
  const [line] = await running.said(/^\{"ready":true,"service":"platform".*\}$/m);
  const platform = JSON.parse(line) as PlatformLine;
  const lines = (service: string): ReadyLine[] =>
    [...running.text().matchAll(/^\{"ready":true.*\}$/gm)]
      .map(([found]) => JSON.parse(found) as ReadyLine)
      .filter((ready) => ready.service === service);
  return {
    running,
    platform,
    registry: connectRpc({
      baseUrl: platform.registry,
      domain: "registry",
      ...(options.env?.TOKEN === undefined ? {} : { token: () => options.env?.TOKEN ?? null }),
    }),
    lines,
    line: (service) => {
      const last = lines(service).at(-1);
      if (last === undefined) throw new Error(`${service} never was ready:\n${running.text()}`);
      return last;
    },
  };
}

export async function routeTo(registry: RpcConnection, pipelineName: string): Promise<SessionRoute> {
  const ask = { tenantId: "local", pipelineName, idempotencyKey: randomUUID() };
  const { route } = await registry.client(RegistryService).createRoute(ask);
  if (route === undefined) throw new Error("no route");
  return route;
}

const speech = new Map<string, Int16Array>();
const frameSamples = 320;

/** A recorded question of the command line's assets, 16 kHz mono. */
export async function question(name: "question-1" | "question-2"): Promise<Int16Array> {
  const known = speech.get(name);
  if (known !== undefined) return known;
  const samples = await wavTo16kMono(parseWav(readFileSync(join(import.meta.dirname, `../../cli/assets/${name}.wav`))));
  speech.set(name, samples);
  return samples;
}

/** A caller on the line: what he hears, and a microphone in real time that is silent unless he speaks. */
export interface Caller {
  readonly client: Client;
  readonly route: SessionRoute;
  readonly heard: OutputFrame[];
  readonly texts: TextEvent[];
  readonly turns: TurnEvent[];
  readonly flushes: Cut[];
  readonly states: StateEvent[];
  /** Frames of a cut turn that were heard after its cut. */
  afterFlush(): number;
  say(samples: Int16Array): void;
  /** What the recogniser made of the caller's words, per turn. */
  said(): string[];
  /** Milliseconds of a turn's voice that were heard. */
  heardMs(turn: number): number;
  hangUp(): Promise<void>;
}

export async function call(registry: RpcConnection, options: ClientOptions = {}): Promise<Caller> {
  const route = await routeTo(registry, "voice-assistant");
  const heard: OutputFrame[] = [];
  const cuts: Cut[] = [];
  let late = 0;
  const client = await connect(route.endpoint?.url ?? "", route.token, {
    ...options,
    onAudio: (frame) => {
      heard.push(frame);
      const cut = (c: Cut): boolean =>
        (c.turn === frame.turn && frame.generation < c.generation) || (c.allEarlier && frame.turn < c.turn);
      if (frame.data.length > 0 && cuts.some(cut)) late++;
    },
  });
  const texts: TextEvent[] = [];
  const turns: TurnEvent[] = [];
  const states: StateEvent[] = [];
  client.on("text", (event) => texts.push(event));
  client.on("turn", (event) => turns.push(event));
  client.on("state", (event) => states.push(event));
  client.on("flush", (cut) => cuts.push(cut));
  const mic = microphone(client);
  return {
    client,
    route,
    heard,
    texts,
    turns,
    flushes: cuts,
    states,
    afterFlush: () => late,
    say: mic.say,
    said: () => texts.filter(({ role, final }) => role === "user" && final).map(({ text }) => text.trim()),
    heardMs: (turn) => heard.reduce((ms, f) => ms + (f.turn === turn ? f.durationUs / 1_000 : 0), 0),
    hangUp: async () => {
      mic.stop();
      client.end();
      await client.ended;
    },
  };
}

function microphone(client: Client): { say(samples: Int16Array): void; stop(): void } {
  const queue: Int16Array[] = [];
  const silence = new Int16Array(frameSamples);
  const startMs = performance.now();
  let sent = 0;
  const timer = setInterval(() => {
    for (; sent * 20 <= performance.now() - startMs && client.state !== "closed"; sent++) {
      client.sendAudio(queue.shift() ?? silence);
    }
  }, 10);
  return {
    say: (samples) => {
      for (let at = 0; at < samples.length; at += frameSamples) {
        const frame = new Int16Array(frameSamples);
        frame.set(samples.subarray(at, at + frameSamples));
        queue.push(frame);
      }
    },
    stop: () => clearInterval(timer),
  };
}

/** Waits for a condition; fails with what `told` says when it does not come. */
export async function until(done: () => boolean, what: string, maxMs = 30_000, told = (): string => ""): Promise<void> {
  const endMs = performance.now() + maxMs;
  while (!done()) {
    if (performance.now() > endMs) throw new Error(`not within ${maxMs} ms: ${what}\n${told()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The greeting, a question, its answer, and a second question into the middle of it; both turns are to come out right. */
export async function converse(caller: Caller): Promise<void> {
  const told = (): string => JSON.stringify({ turns: caller.turns, said: caller.said(), states: caller.states });
  const heardOut = (turn: number): boolean => caller.heard.some((frame) => frame.turn === turn && frame.end);
  await until(() => heardOut(1), "the greeting", 30_000, told);
  caller.say(await question("question-1"));
  await until(() => caller.heardMs(2) >= 2_500, "two and a half seconds of the answer", 30_000, told);
  caller.say(await question("question-2"));
  await until(() => caller.flushes.some(({ turn }) => turn >= 2), "the cut", 15_000, told);
  await until(() => heardOut(3), "the second answer", 45_000, told);
}
