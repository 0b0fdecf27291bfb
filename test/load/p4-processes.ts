/** P4 over services in processes of their own: end of utterance -> first output audio at the client (`docs/benchmarks.md`). */
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseWav, wavTo16kMono } from "@rspp/audio/wav";
import type { Client } from "@rspp/client/client";
import { connect } from "@rspp/client/connect";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { connectRpc } from "@rspp/rpc/clients";
import { type Bench, type BenchResult, quantileRow } from "./bench.ts";

const TURNS = 60;
const WARM_TURNS = 15;
const START_MS = 60_000;
const TURN_MS_MAX = 10_000;
const FRAME_SAMPLES = 320;
/** Enough speech for the detector; then the caller lets go of the button. */
const SPEECH_FRAMES = 30;

const root = fileURLToPath(new URL("../..", import.meta.url));

/** All providers are simulated and answer at once; the caller pushes to talk, so that no silence is waited for. */
const SPEC = `
schema: rspp/pipeline/v1
name: bench-p4
version: 1
description: Providers without delay, push to talk.
profile: simple/v1
nodes:
  - {id: caller, kind: ingress}
  - {id: vad, kind: vad, settings: {silero: "off"}}
  - {id: stt, kind: stt, provider: {candidates: [sim/stt]}}
  - {id: endpointing, kind: endpointing, settings: {onset_frames: 1, min_speech_ms: 40, candidate_silence_ms: 200, endpoint_silence_ms: 5000}}
  - {id: context, kind: context}
  - id: llm
    kind: llm
    provider: {candidates: [{name: sim/llm, settings: {text: "Good day to you."}}]}
  - {id: segmenter, kind: segmenter}
  - id: tts
    kind: tts
    provider: {candidates: [{name: sim/tts, settings: {ms_per_char: 5}}]}
  - {id: output, kind: output}
edges:
  - caller.audio -> vad.audio
  - caller.audio -> stt.audio
  - vad.activity -> endpointing.activity
  - stt.text -> endpointing.text
  - endpointing.utterance -> context.utterance
  - context.messages -> llm.messages
  - llm.text -> segmenter.text
  - segmenter.text -> tts.text
  - tts.audio -> output.audio
`;

interface Ready {
  service: string;
  registry: string;
  websocket: string;
  ready_ms: number;
}

/** Providers in a service of their own, or within the runtime, as they are by default (`rspp up --gateway`). */
type Gateway = "service" | "library";

/** `rspp up` with one process each, in a folder of its own. */
class Platform {
  readonly #folder = mkdtempSync(join(tmpdir(), "rspp-bench-"));
  #child: ChildProcess | null = null;
  #errors = "";

  start(gateway: Gateway): Promise<Ready> {
    const args = [
      "up",
      "--processes",
      "--gateway",
      gateway,
      "--json",
      "--port-base",
      "0",
      "--data",
      join(this.#folder, "data"),
    ];
    const child = spawn(process.execPath, [join(root, "cli/bin/rspp.js"), ...args], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    child.stderr.on("data", (data: Buffer) => {
      this.#errors = (this.#errors + data.toString()).slice(-2_000);
    });
    return new Promise((resolve, reject) => {
      const fail = (): void => reject(new Error(`rspp up was not ready: ${this.#errors}`));
      const late = setTimeout(fail, START_MS);
      child.once("exit", fail);
      createInterface({ input: child.stdout }).on("line", (line) => {
        const said = JSON.parse(line) as Ready;
        if (said.service !== "platform") return;
        clearTimeout(late);
        resolve(said);
      });
    });
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child !== null && child.exitCode === null) {
      const gone = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      await gone;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

async function openCall(registryUrl: string, heard: () => void): Promise<Client> {
  const registry = connectRpc({ baseUrl: registryUrl, domain: "registry" }).client(RegistryService);
  const tenantId = "local";
  await registry.publishPipeline({ tenantId, source: new TextEncoder().encode(SPEC), author: "bench" });
  const variables = { sim_transcripts: Array.from({ length: TURNS + WARM_TURNS }, (_, n) => `question ${n}`) };
  const ask = { tenantId, pipelineName: "bench-p4", variables, idempotencyKey: randomUUID() };
  const { route } = await registry.createRoute(ask);
  return connect(route?.endpoint?.url ?? "", route?.token ?? "", {
    player: { play: heard, flush: () => ({ playedUs: 0, flushedFrames: 0 }), hold() {}, resume() {}, close() {} },
  });
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

interface Measured {
  readonly ms: number[];
  readonly pingMs: number[];
}

async function measure(gateway: Gateway, samples: Int16Array): Promise<Measured> {
  const from = samples.findIndex((sample) => Math.abs(sample) > 2_000);
  const platform = new Platform();
  const ms: number[] = [];
  const pingMs: number[] = [];
  try {
    const { registry } = await platform.start(gateway);
    let heard: () => void = () => {};
    const client = await openCall(registry, () => heard());
    for (let turn = 0; turn < TURNS + WARM_TURNS; turn++) {
      for (let f = 0; f < SPEECH_FRAMES; f++) {
        const at = from + f * FRAME_SAMPLES;
        client.sendAudio(samples.slice(at, at + FRAME_SAMPLES));
        await pause(20);
      }
      const first = new Promise<number>((resolve, reject) => {
        const late = setTimeout(() => reject(new Error(`no output within ${TURN_MS_MAX} ms`)), TURN_MS_MAX);
        heard = () => {
          clearTimeout(late);
          resolve(performance.now());
        };
      });
      const endMs = performance.now();
      client.endOfUtterance();
      const tookMs = (await first) - endMs;
      heard = () => {};
      if (turn >= WARM_TURNS) ms.push(tookMs);
      await pause(300);
      const idleMs = performance.now();
      await new Promise((resolve) => setImmediate(resolve));
      if (turn >= WARM_TURNS) pingMs.push(performance.now() - idleMs);
    }
    client.end();
  } finally {
    await platform.stop();
  }
  return { ms, pingMs };
}

export const p4Processes: Bench = {
  name: "P4p",
  title: "End of utterance to first output audio, a process for each service",
  async run(): Promise<BenchResult> {
    const samples = await wavTo16kMono(parseWav(readFileSync(join(root, "cli/assets/question-1.wav"))));
    const own = await measure("service", samples);
    const within = await measure("library", samples);
    return {
      name: "P4p",
      title: p4Processes.title,
      topology:
        "client, adapter, runtime, registry, lease, replay and the provider gateway each a process on two shared cores, not pinned; then the same with the providers within the runtime's process; simulated providers without delay; one session; the caller pushes to talk",
      compared: "P4 in one process; a turn of the client's own event loop in the same run",
      rows: [
        quantileRow("gateway a process of its own, p50", "ms", own.ms, 0.5, 5),
        quantileRow("gateway a process of its own, p95", "ms", own.ms, 0.95, 12),
        quantileRow("providers within the runtime, p50", "ms", within.ms, 0.5, 5),
        quantileRow("providers within the runtime, p95", "ms", within.ms, 0.95, 12),
        quantileRow("a turn of the client's loop, p50", "ms", [...own.pingMs, ...within.pingMs], 0.5),
      ],
      notes: [
        `${TURNS} turns each after ${WARM_TURNS}; stamped where the client hands \`end_of_utterance\` to its socket and where the first frame of the reply has been decoded`,
        "ten passages from one process to another with the gateway apart, four without",
      ],
    };
  },
};
