import type { Clock } from "@rspp/ports/clock";
import type { Invocation, InvocationOpen, InvocationSink, ProviderPort } from "@rspp/ports/provider";
import type { VadPort } from "@rspp/ports/vad";
import type { ManagedProvider } from "@rspp/provider-gateway/attempt";
import { createProviderGateway, type ProviderGateway } from "@rspp/provider-gateway/gateway";
import { createSimLlm } from "@rspp/provider-gateway/sim/llm";
import { createSimStt } from "@rspp/provider-gateway/sim/stt";
import { createSimTts } from "@rspp/provider-gateway/sim/tts";
import type { VirtualClock } from "@rspp/runtime/clock/virtual-clock";
import { Channel, type Path } from "./network.ts";
import type { SimProcess } from "./process.ts";
import { Rng } from "./rng.ts";

/** Says speech where the frame's first samples are not silent: no energy, no model, only the bytes. */
export const bytesVad: VadPort = {
  name: "sim/bytes",
  openSession: () => ({
    push: (frame, onResult) => {
      const speech = frame[0] !== 0 || frame[1] !== 0 || frame[320] !== 0;
      onResult({ speech, probability: speech ? 1 : 0 });
    },
    reset: () => {},
    close: () => {},
  }),
  close: () => {},
};

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
  happened(name: string): void;
}

const faultNames = {
  timeout: "provider_timeout",
  silent: "provider_timeout",
  overload: "provider_error",
  unauthorized: "provider_error",
  empty: "provider_error",
  disconnect: "provider_disconnect",
  late_data: "late_provider_data",
  chunk_after_terminal: "late_provider_data",
} as const;

/** A shipped sim provider under another name, with waits, words and faults drawn per invocation. */
function seeded(inner: ManagedProvider, name: string, seed: string, dial: FaultDial): ManagedProvider {
  const said = new Rng(seed, "transcripts");
  const transcripts = Array.from({ length: transcriptsMax }, () => sentence(said, 1, 7));
  return {
    name,
    modality: inner.modality,
    open(request, sink) {
      const rng = new Rng(seed, `${name}/${request.invocationId}`);
      const settings: Record<string, string | number | boolean | readonly string[]> = {
        ...request.settings,
        seed: `${seed}/${name}`,
        first_chunk_ms: rng.int(5, 120),
        chunk_ms: inner.modality === "stt" ? 0 : rng.int(0, 6),
        jitter_ms: rng.chance(20) ? rng.int(1, 60) : rng.int(0, 5),
        distribution: rng.chance(30) ? "exponential" : "uniform",
      };
      if (inner.modality === "stt") settings.transcripts = transcripts;
      if (inner.modality === "llm") settings.text = sentence(rng, 2, rng.chance(20) ? 24 : 8);
      if (inner.modality === "tts") settings.ms_per_char = rng.int(12, 30);
      const faulty = rng.chance(dial.percent);
      const fault = faulty ? rng.pick(Object.keys(faultNames) as (keyof typeof faultNames)[]) : "none";
      if (fault !== "none") dial.happened(faultNames[fault]);
      return inner.open({ ...request, settings: { ...settings, fault } }, sink);
    },
  };
}

export function createGateway(clock: Clock, seed: string, dial: FaultDial): ProviderGateway {
  const make = (create: (options: { clock: Clock }) => ManagedProvider, name: string): ManagedProvider =>
    seeded(create({ clock }), name, seed, dial);
  return createProviderGateway({
    clock,
    providers: [
      make(createSimStt, "sim/stt"),
      make(createSimLlm, "sim/llm"),
      make(createSimLlm, "sim/llm-b"),
      make(createSimTts, "sim/tts"),
      make(createSimTts, "sim/tts-b"),
    ],
  });
}

/** The gateway as a service: what is said either way takes its time, so that chunks cross a cancel on their way. */
export function remoteGateway(
  world: VirtualClock,
  rng: Rng,
  path: Path,
  gateway: { proc: SimProcess; service: ProviderGateway },
  caller: SimProcess,
  crossed: () => void,
): ProviderPort {
  return {
    open(request: InvocationOpen, sink: InvocationSink): Invocation {
      const there = new Channel(world, rng, path, gateway.proc);
      const back = new Channel(world, rng, path, caller);
      let remote: Invocation | null = null;
      let cancelled = false;
      // What a restarted process left open speaks to nobody: its connection died with it.
      const { life } = caller;
      const answer = (bytes: number, run: () => void): void =>
        back.send(bytes, () => {
          if (caller.life === life) run();
        });
      there.send(200, () => {
        remote = gateway.service.open(request, {
          chunk: (chunk) =>
            answer(chunk.kind === "audio" ? chunk.bytes.length : 100, () => {
              if (cancelled) crossed();
              sink.chunk(chunk);
            }),
          outcome: (outcome) => answer(100, () => sink.outcome(outcome)),
        });
      });
      return {
        push: (input) => there.send(input.kind === "audio" ? input.bytes.length : 100, () => remote?.push(input)),
        finish: () => there.send(40, () => remote?.finish()),
        cancel: (reason) => {
          cancelled = true;
          there.send(40, () => remote?.cancel(reason));
        },
      };
    },
    providers: () => gateway.service.providers(),
    close: () => Promise.resolve(),
  };
}
