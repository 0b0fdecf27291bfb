/**
 * One exchange over providers with set latencies, in virtual time through kernel, runtime, gateway and loopback line as
 * shipped: how long until the caller hears something, streaming or not.
 */
import { type MonoNs, nsToMs } from "@rspp/base/brand";
import type { SessionConfig } from "@rspp/kernel/session-config";
import type { SettingValue } from "@rspp/ports/provider";
import type { TransportIngress } from "@rspp/ports/transport";
import type { VadPort } from "@rspp/ports/vad";
import type { ManagedProvider } from "@rspp/provider-gateway/attempt";
import { createProviderGateway } from "@rspp/provider-gateway/gateway";
import { createSimLlm } from "@rspp/provider-gateway/sim/llm";
import { createSimStt } from "@rspp/provider-gateway/sim/stt";
import { createSimTts } from "@rspp/provider-gateway/sim/tts";
import { createVirtualClock, runFast, type VirtualClock } from "@rspp/runtime/clock/virtual-clock";
import { createRuntime } from "@rspp/runtime/runtime";
import { createMemoryStore } from "@rspp/runtime/spool/memory-store";
import { createSpool } from "@rspp/runtime/spool/spool";
import { compileSpec } from "@rspp/spec/compile-spec";
import { expandTemplate } from "@rspp/spec/parse-spec";
import { createLoopbackAdapter } from "@rspp/transport-loopback/adapter";
import { sessionConfigOf } from "../pipeline.ts";

export interface Latencies {
  /** Milliseconds from the end of the caller's words to their final text. */
  readonly sttFinalMs: number;
  /** Milliseconds from the question to the model's first token. */
  readonly llmFirstMs: number;
  readonly tokensPerS: number;
  /** Milliseconds from a clause to the first of its audio. */
  readonly ttsFirstMs: number;
  /** Milliseconds that 20 ms of audio take to be made. */
  readonly ttsFrameMs: number;
}

export interface Exchange {
  readonly question: string;
  readonly reply: string;
}

/** What one way of asking came to; milliseconds from the end of the caller's words. */
export interface OverlapRun {
  readonly streaming: boolean;
  readonly firstAudioMs: number;
  /** The caller has heard all of it. */
  readonly completionMs: number;
  readonly caller: string;
  readonly assistant: string;
  readonly audioMs: number;
}

/** Longer than any latency: what is measured is the overlap, not the budgets that would cut it short. */
const PATIENCE_MS = 60_000;
const RUN_MS_MAX = 10 * 60_000;

/** @throws Error when the exchange does not come to its end, which is a defect. */
export async function runOverlap(latencies: Latencies, exchange: Exchange, streaming: boolean): Promise<OverlapRun> {
  const clock = createVirtualClock({ wallOriginMs: 1_700_000_000_000 });
  const ended: { atNs: MonoNs | null } = { atNs: null };
  const providers = [listened(clock, createSimStt({ clock }), ended), createSimLlm({ clock }), createSimTts({ clock })];
  const gateway = createProviderGateway({ clock, providers });
  const spool = createSpool({ store: createMemoryStore(), clock });
  const runtime = createRuntime({ clock, providers: gateway, vad: levelVad(), spool });
  const config = configOf(latencies, exchange, streaming);
  const line = createLoopbackAdapter({ clock, epoch: config.authority.epoch });
  const seen = { firstNs: null as MonoNs | null, doneNs: null as MonoNs | null, assistant: "", caller: "", audioUs: 0 };
  const opened = runtime.openSession({
    config,
    transport: {
      send(message) {
        if (message.kind === "media") {
          seen.firstNs ??= clock.nowNs();
          seen.audioUs += message.durationUs;
        }
        if (message.kind === "text" && message.role === "assistant") seen.assistant += message.text;
        if (message.kind === "text" && message.role === "user" && message.final) seen.caller += message.text;
        line.send(message);
      },
    },
  });
  if (!opened.ok) throw new Error(opened.error.detail);
  const session = opened.value;
  line.connect({
    receive(message: TransportIngress) {
      if (message.kind === "delivery" && message.state === "completed") seen.doneNs ??= clock.nowNs();
      session.receive(message);
    },
  });
  line.speak(tone(600));
  const end = await runFast(clock, { until: () => seen.doneNs !== null, maxNs: (RUN_MS_MAX * 1e6) as MonoNs });
  const { firstNs, doneNs } = seen;
  if (end !== "done" || ended.atNs === null || firstNs === null || doneNs === null)
    throw new Error(`the exchange did not come to its end (${end})`);
  line.end();
  await runFast(clock, { until: () => runtime.session(config) === null, maxNs: (2 * RUN_MS_MAX * 1e6) as MonoNs });
  await gateway.close();
  return {
    streaming,
    firstAudioMs: nsToMs(firstNs) - nsToMs(ended.atNs),
    completionMs: nsToMs(doneNs) - nsToMs(ended.atNs),
    caller: seen.caller,
    assistant: seen.assistant,
    audioMs: seen.audioUs / 1_000,
  };
}

/** Two ways are compared fairly only when the same was heard and said. */
export function parity(a: OverlapRun, b: OverlapRun): boolean {
  return a.caller === b.caller && a.assistant === b.assistant && a.audioMs === b.audioMs;
}

function configOf(latencies: Latencies, { question, reply }: Exchange, streaming: boolean): SessionConfig {
  const tokenMs = 1_000 / latencies.tokensPerS;
  const common = { streaming, stall_ms: PATIENCE_MS };
  const settings: Record<"stt" | "llm" | "tts", Record<string, SettingValue>> = {
    stt: { ...common, transcripts: [question], first_chunk_ms: latencies.sttFinalMs, word_ms: 100 },
    llm: { ...common, text: reply, first_chunk_ms: latencies.llmFirstMs, chunk_ms: tokenMs },
    tts: { ...common, first_chunk_ms: latencies.ttsFirstMs, chunk_ms: latencies.ttsFrameMs },
  };
  const node = (kind: "stt" | "llm" | "tts") => ({ candidates: [`sim/${kind}`], settings: settings[kind] });
  const spec = expandTemplate({
    template: "voice-assistant",
    providers: { stt: node("stt"), llm: node("llm"), tts: node("tts") },
  });
  if (!spec.ok) throw new Error(spec.error.map(({ message }) => message).join("; "));
  const compiled = compileSpec(spec.value);
  if (!compiled.ok) throw new Error(compiled.error.map(({ message }) => message).join("; "));
  const authority = { epoch: 1, incarnation: "latency-1", deadlineNs: 1e18 as MonoNs };
  const config = sessionConfigOf(compiled.value, { sessionId: "latency", authority, seed: "latency", recording: "L0" });
  const budgets = { ...config.budgets, turnFirstOutputMs: PATIENCE_MS * 4, providerAttemptMs: PATIENCE_MS };
  // Speculation would begin before the words are known: what is compared is the overlap of the stages alone.
  const policy = { ...config.policy, speculation: false, finalWaitMs: PATIENCE_MS };
  return { ...config, budgets, policy };
}

/** Notes when the caller's words were over for the recogniser: everything is counted from there. */
function listened(clock: VirtualClock, provider: ManagedProvider, ended: { atNs: MonoNs | null }): ManagedProvider {
  return {
    ...provider,
    open(request, sink) {
      const inner = provider.open(request, sink);
      return {
        push: (input) => inner.push(input),
        finish() {
          ended.atNs ??= clock.nowNs();
          inner.finish();
        },
        cancel: (reason) => inner.cancel(reason),
      };
    },
  };
}

export function tone(ms: number): Int16Array {
  return Int16Array.from({ length: ms * 16 }, (_, i) => Math.round(9_000 * Math.sin(i / 3)));
}

/** Loud is speech. */
export function levelVad(): VadPort {
  return {
    name: "level",
    openSession: () => ({
      push(frame, onResult) {
        const loud = new Int16Array(frame.slice().buffer).some((v) => Math.abs(v) > 4_000);
        onResult({ speech: loud, probability: loud ? 1 : 0 });
      },
      reset: () => {},
      close: () => {},
    }),
    close: () => {},
  };
}
