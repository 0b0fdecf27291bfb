/**
 * Calls to judge a build by where no recordings are given: kernel, runtime, gateway and loopback line as shipped, in virtual
 * time, over providers with set latencies. The same seed gives the same recording, so that a figure that moves was moved.
 */
import { type MonoNs, msToNs } from "@rspp/base/brand";
import type { SessionConfig } from "@rspp/kernel/session-config";
import type { TransportIngress } from "@rspp/ports/transport";
import { createProviderGateway } from "@rspp/provider-gateway/gateway";
import { createSimLlm } from "@rspp/provider-gateway/sim/llm";
import { createSimStt } from "@rspp/provider-gateway/sim/stt";
import { createSimTts } from "@rspp/provider-gateway/sim/tts";
import { createVirtualClock, runFast } from "@rspp/runtime/clock/virtual-clock";
import { createRuntime } from "@rspp/runtime/runtime";
import { createMemoryStore } from "@rspp/runtime/spool/memory-store";
import { createSpool } from "@rspp/runtime/spool/spool";
import type { SpoolStore } from "@rspp/runtime/spool/store";
import { compileSpec } from "@rspp/spec/compile-spec";
import { expandTemplate } from "@rspp/spec/parse-spec";
import { createLoopbackAdapter } from "@rspp/transport-loopback/adapter";
import { levelVad, tone } from "../latency/overlap.ts";
import { sessionConfigOf } from "../pipeline.ts";

/** How the simulated providers answer, milliseconds; those of a quick vendor of each kind. */
export interface SimulatedLatencies {
  readonly sttFinalMs: number;
  readonly llmFirstMs: number;
  readonly ttsFirstMs: number;
}

export const LATENCIES: SimulatedLatencies = { sttFinalMs: 150, llmFirstMs: 250, ttsFirstMs: 120 };

/** Every second answer is interrupted: what is cut is judged, too. */
const QUESTIONS = Array.from({ length: 12 }, (_, i) => `question number ${i + 1}`);
const REPLY = "We open at nine in the morning, and on weekdays we close at six.";
const SPEECH_MS = 600;
/** Into what is heard of an answer. */
const BARGE_IN_MS = 500;
const SESSION_MS_MAX = 10 * 60_000;

/**
 * A spool with one recorded session for each seed.
 * @throws Error when a call does not come to its end, which is a defect.
 */
export async function simulateCalls(seeds: readonly number[], latencies = LATENCIES): Promise<SpoolStore> {
  const clock = createVirtualClock({ wallOriginMs: 1_700_000_000_000 });
  const store = createMemoryStore();
  const spool = createSpool({ store, clock });
  const gateway = createProviderGateway({
    clock,
    providers: [createSimStt({ clock }), createSimLlm({ clock }), createSimTts({ clock })],
  });
  const runtime = createRuntime({ clock, providers: gateway, vad: levelVad(), spool });
  for (const seed of seeds) {
    const config = configOf(seed, latencies);
    const line = createLoopbackAdapter({ clock, epoch: config.authority.epoch });
    const opened = runtime.openSession({ config, transport: { send: (message) => line.send(message) } });
    if (!opened.ok) throw new Error(opened.error.detail);
    const session = opened.value;
    const caller = new Caller((ms) => line.speak(tone(ms)));
    line.connect({
      receive(message: TransportIngress) {
        if (message.kind === "delivery" && message.state === "started")
          clock.timerAt((clock.nowNs() + msToNs(BARGE_IN_MS)) as MonoNs, () => caller.interrupts());
        session.receive(message);
        if (message.kind === "delivery" && message.state === "completed") caller.answered();
      },
    });
    caller.asks();
    const maxNs = (clock.nowNs() + msToNs(SESSION_MS_MAX)) as MonoNs;
    const end = await runFast(clock, { until: () => caller.done, maxNs });
    if (end !== "done") throw new Error(`the simulated call ${seed} did not come to its end (${end})`);
    line.end();
    await runFast(clock, { until: () => runtime.session(config) === null, maxNs });
  }
  await gateway.close();
  spool.close();
  return store;
}

/** Asks its questions one after another; into every second answer it speaks the next one. */
class Caller {
  done = false;
  readonly #speak: (ms: number) => void;
  #asked = 0;

  constructor(speak: (ms: number) => void) {
    this.#speak = speak;
  }

  asks(): void {
    this.#asked += 1;
    this.#speak(SPEECH_MS);
  }

  interrupts(): void {
    if (this.#asked % 2 === 0 && this.#asked < QUESTIONS.length) this.asks();
  }

  answered(): void {
    if (this.#asked < QUESTIONS.length) this.asks();
    else this.done = true;
  }
}

function configOf(seed: number, { sttFinalMs, llmFirstMs, ttsFirstMs }: SimulatedLatencies): SessionConfig {
  const jitter = { jitter_ms: 40 };
  const spec = expandTemplate({
    template: "voice-assistant",
    providers: {
      stt: {
        candidates: ["sim/stt"],
        settings: { transcripts: QUESTIONS, first_chunk_ms: sttFinalMs, word_ms: 100, ...jitter },
      },
      llm: { candidates: ["sim/llm"], settings: { text: REPLY, first_chunk_ms: llmFirstMs, chunk_ms: 15 } },
      tts: { candidates: ["sim/tts"], settings: { first_chunk_ms: ttsFirstMs, chunk_ms: 2 } },
    },
  });
  if (!spec.ok) throw new Error(spec.error.map(({ message }) => message).join("; "));
  const compiled = compileSpec(spec.value);
  if (!compiled.ok) throw new Error(compiled.error.map(({ message }) => message).join("; "));
  const authority = { epoch: 1, incarnation: "gate-1", deadlineNs: 1e18 as MonoNs };
  const sessionId = `simulated-${seed}`;
  return sessionConfigOf(compiled.value, { sessionId, authority, seed: String(seed), recording: "L1" });
}
