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
import { type Bench, type BenchResult, quantileRow, type Row } from "./bench.ts";

const TURNS = 60;
const WARM_TURNS = 15;
/** Traffic before the turns of a runtime in service: so many calls at once, so many turns each. */
const BUSY_CALLS = 20;
const BUSY_TURNS = 25;
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

async function openCall(registryUrl: string, turns: number, heard: () => void): Promise<Client> {
  const registry = connectRpc({ baseUrl: registryUrl, domain: "registry" }).client(RegistryService);
  const tenantId = "local";
  await registry.publishPipeline({ tenantId, source: new TextEncoder().encode(SPEC), author: "bench" });
  const variables = { sim_transcripts: Array.from({ length: turns }, (_, n) => `question ${n}`) };
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

/** One call of so many turns: what each took, and beside it a turn of this loop. */
async function converse(registry: string, samples: Int16Array, turns: number): Promise<Measured> {
  const from = samples.findIndex((sample) => Math.abs(sample) > 2_000);
  const ms: number[] = [];
  const pingMs: number[] = [];
  let heard: () => void = () => {};
  const client = await openCall(registry, turns, () => heard());
  for (let turn = 0; turn < turns; turn++) {
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
    ms.push((await first) - endMs);
    heard = () => {};
    await pause(300);
    const idleMs = performance.now();
    await new Promise((resolve) => setImmediate(resolve));
    pingMs.push(performance.now() - idleMs);
  }
  client.end();
  return { ms, pingMs };
}

const after = (measured: Measured, turns: number): Measured => ({
  ms: measured.ms.slice(turns),
  pingMs: measured.pingMs.slice(turns),
});

/** The first turns of a platform just started, then those of one that has served calls. */
async function measure(gateway: Gateway, samples: Int16Array): Promise<{ fresh: Measured; served: Measured }> {
  const platform = new Platform();
  try {
    const { registry } = await platform.start(gateway);
    const fresh = after(await converse(registry, samples, WARM_TURNS + TURNS), WARM_TURNS);
    await Promise.all(Array.from({ length: BUSY_CALLS }, () => converse(registry, samples, BUSY_TURNS)));
    return { fresh, served: await converse(registry, samples, TURNS) };
  } finally {
    await platform.stop();
  }
}

function rowsOf(what: string, { fresh, served }: { fresh: Measured; served: Measured }): Row[] {
  return [
    quantileRow(`${what}, just started, p50`, "ms", fresh.ms, 0.5),
    quantileRow(`${what}, just started, p95`, "ms", fresh.ms, 0.95),
    quantileRow(`${what}, in service, p50`, "ms", served.ms, 0.5, 5),
    quantileRow(`${what}, in service, p95`, "ms", served.ms, 0.95, 12),
  ];
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
        ...rowsOf("gateway a process of its own", own),
        ...rowsOf("providers within the runtime", within),
        quantileRow("a turn of the client's loop, p50", "ms", [...own.served.pingMs, ...within.served.pingMs], 0.5),
      ],
      notes: [
        `${TURNS} turns each: "just started" after ${WARM_TURNS} turns, "in service" after ${BUSY_CALLS} calls of ${BUSY_TURNS} turns at once; stamped where the client hands \`end_of_utterance\` to its socket and where the first frame of the reply has been decoded`,
        "ten passages from one process to another with the gateway apart, four without",
      ],
    };
  },
};
