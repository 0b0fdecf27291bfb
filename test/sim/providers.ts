import type { Clock } from "@rspp/ports/clock";
import type { InvocationChunk, InvocationOpen, InvocationSink } from "@rspp/ports/provider";
import type { VadPort } from "@rspp/ports/vad";
import type { ManagedProvider } from "@rspp/provider-gateway/attempt";
import { createProviderGateway, type ProviderGateway } from "@rspp/provider-gateway/gateway";
import { createSimLlm } from "@rspp/provider-gateway/sim/llm";
import { createSimStt } from "@rspp/provider-gateway/sim/stt";
import { createSimTts } from "@rspp/provider-gateway/sim/tts";
import type { FaultKind } from "./fault-kinds.ts";
import type { SimProcess } from "./process.ts";
import { Rng } from "./rng.ts";
import { createSimTool } from "./sim-tool.ts";
import { TOOL_NAMES } from "./spec-extras.ts";

/** How a runtime's detector fails at present; `happened` is told of every frame it fails at. */
export interface Detector {
  fault: "none" | "throw" | "hang";
  happened(): void;
}

/** Says speech where the frame's first samples are not silent: no energy, no model, only the bytes. */
export const faultyVad = (detector: Detector): VadPort => ({
  name: "sim/bytes",
  openSession: () => ({
    push: (frame, onResult) => {
      if (detector.fault !== "none") {
        detector.happened();
        if (detector.fault === "throw") throw new Error("the detector is broken");
        return;
      }
      const speech = frame[0] !== 0 || frame[1] !== 0 || frame[320] !== 0;
      onResult({ speech, probability: speech ? 1 : 0 });
    },
    reset: () => {},
    close: () => {},
  }),
  close: () => {},
});

const words = "when does the last train leave for town and who drives it then say it again please".split(" ");

export function sentence(rng: Rng, least: number, most: number): string {
  let text = "";
  for (let n = rng.int(least, most); n > 0; n--) text += `${text === "" ? "" : " "}${rng.pick(words)}`;
  return `${text}${rng.chance(50) ? "." : "?"}`;
}

/** More than a run's caller ever says. */
const transcriptsMax = 150;

export interface FaultDial {
  /** Percent of invocations that fail in some way; 0 while healing. */
  percent: number;
  /** Asks whether the named fault may strike. */
  may(name: string, kind: FaultKind): boolean;
  happened(kind: FaultKind): void;
}

/** Those of the shipped sim providers, and those that are laid over them here. */
const faultNames = {
  timeout: "provider_timeout",
  silent: "provider_silent",
  overload: "provider_overload",
  unauthorized: "provider_unauthorized",
  empty: "provider_empty",
  disconnect: "provider_disconnect",
  late_data: "late_provider_data",
  chunk_after_terminal: "provider_chunk_after_terminal",
  mid_stream: "provider_stall_mid_stream",
  error_500: "provider_error_500",
  garbage: "provider_garbage",
  throws: "provider_throw",
} as const;
type ProviderFault = keyof typeof faultNames;
const laidOver: ReadonlySet<ProviderFault> = new Set(["mid_stream", "error_500", "garbage", "throws"] as const);

/** What no provider may say, as one says it. */
function garbageOf(chunk: InvocationChunk, rng: Rng): InvocationChunk {
  const odd: unknown[] = [
    null,
    { kind: "smell", bytes: "?" },
    { ...chunk, segment: -1 },
    { ...chunk, durationUs: Number.NaN, text: 7 },
    { ...chunk, bytes: "not bytes", revision: 0.5 },
    { ...chunk, format: null, final: "yes" },
  ];
  return rng.pick(odd) as InvocationChunk;
}

/** The sink as a provider with this fault uses it. */
function spoilt(fault: ProviderFault, sink: InvocationSink, rng: Rng): InvocationSink {
  if (!laidOver.has(fault)) return sink;
  let chunks = 0;
  const most = rng.int(1, 4);
  return {
    chunk: (chunk) => {
      chunks += 1;
      if (fault === "mid_stream" && chunks > most) return;
      if (fault === "garbage" && chunks >= most) sink.chunk(garbageOf(chunk, rng));
      sink.chunk(chunk);
    },
    outcome: (outcome) => {
      if (fault === "mid_stream" && chunks > 0 && outcome.kind === "success") return;
      sink.outcome(outcome);
    },
  };
}

/** A shipped sim provider under another name, with waits, words and faults drawn per invocation. */
function seeded(
  inner: ManagedProvider,
  name: string,
  seed: string,
  dial: FaultDial,
  count: () => number,
): ManagedProvider {
  const said = new Rng(seed, "transcripts");
  const transcripts = Array.from({ length: transcriptsMax }, () => sentence(said, 1, 7));
  return {
    name,
    modality: inner.modality,
    open(request, sink) {
      const rng = new Rng(seed, `${name}/${request.invocationId}`);
      const settings: Record<string, string | number | boolean | readonly string[]> = {
        ...plain(request.settings),
        seed: `${seed}/${name}`,
        first_chunk_ms: rng.int(5, 120),
        chunk_ms: inner.modality === "stt" ? 0 : rng.int(0, 6),
        jitter_ms: rng.chance(20) ? rng.int(1, 60) : rng.int(0, 5),
        distribution: rng.chance(30) ? "exponential" : "uniform",
      };
      if (inner.modality === "stt") settings.transcripts = transcripts;
      if (inner.modality === "llm") settings.text = sentence(rng, 2, rng.chance(20) ? 24 : 8);
      if (inner.modality === "tts") settings.ms_per_char = rng.int(12, 30);
      if (inner.modality === "llm") Object.assign(settings, callsOf(rng.fork("tools")));
      if (inner.modality === "tool")
        settings.text = JSON.stringify({ said: sentence(rng, 1, rng.chance(20) ? 30 : 6) });
      const faulty = rng.chance(dial.percent);
      const drawn = faulty ? rng.pick(Object.keys(faultNames) as ProviderFault[]) : null;
      if (drawn === null || !dial.may(`p${count()}`, faultNames[drawn]))
        return inner.open({ ...request, settings }, sink);
      dial.happened(faultNames[drawn]);
      if (drawn === "throws") throw new Error("the provider is broken");
      if (drawn === "error_500") {
        sink.outcome({ kind: "error", detail: "http_500" });
        return { push: () => {}, finish: () => {}, cancel: () => {} };
      }
      if (!laidOver.has(drawn)) settings.fault = drawn;
      return inner.open({ ...request, settings }, spoilt(drawn, sink, rng));
    },
  };
}

/** What is only there to be seen, or is a webhook's. */
function plain(settings: InvocationOpen["settings"]): InvocationOpen["settings"] {
  const { posture: _, url, method, parameters, side_effect, result_bytes_max, ...rest } = settings;
  return rest;
}

/** Which tools a model calls before it answers, of those it is offered; now and then one that there is not. */
function callsOf(rng: Rng): { tool_calls?: readonly string[]; tool_rounds?: number; tool_preamble?: string } {
  if (!rng.chance(50)) return {};
  const names = [...TOOL_NAMES, ...TOOL_NAMES].filter(() => rng.chance(40));
  const calls = names.map((name) => `=> ${name} {"n":${rng.int(1, 99)}}`);
  return { tool_calls: calls, tool_rounds: rng.int(1, 2), tool_preamble: rng.chance(30) ? "Let me see." : "" };
}

function createGateway(clock: Clock, seed: string, dial: FaultDial, count: () => number): ProviderGateway {
  const make = (create: (options: { clock: Clock }) => ManagedProvider, name: string): ManagedProvider =>
    seeded(create({ clock }), name, seed, dial, count);
  return createProviderGateway({
    // The kernel's own timers are what is tested, and faults befall so many calls that a shared circuit would leave few.
    guards: false,
    clock,
    providers: [
      make(createSimStt, "sim/stt"),
      make(createSimLlm, "sim/llm"),
      make(createSimLlm, "sim/llm-b"),
      make(createSimTts, "sim/tts"),
      make(createSimTts, "sim/tts-b"),
      make(createSimTool, "tool/http"),
    ],
  });
}

/** The shipped gateway as a process of its own: when it dies its callers' connections break. */
export class GatewayProcess {
  readonly proc: SimProcess;
  service: ProviderGateway;
  readonly #make: () => ProviderGateway;
  /** Told when the connection breaks: whoever has an invocation open. */
  readonly #open = new Set<() => void>();

  constructor(proc: SimProcess, seed: string, dial: FaultDial) {
    this.proc = proc;
    let faults = 0;
    const count = (): number => {
      faults += 1;
      return faults;
    };
    this.#make = () => createGateway(proc.clock, seed, dial, count);
    this.service = this.#make();
  }

  /** @returns what takes `broken` out again. */
  watch(broken: () => void): () => void {
    this.#open.add(broken);
    return () => this.#open.delete(broken);
  }

  crash(): void {
    if (this.proc.dead()) return;
    this.proc.kill();
    for (const broken of [...this.#open]) broken();
    this.#open.clear();
  }

  restart(): void {
    if (!this.proc.dead()) return;
    this.proc.restart();
    this.service = this.#make();
  }
}
