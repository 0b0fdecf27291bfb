/**
 * The shipped runtime, gateway, spool and loopback line in one process under a virtual clock, with sim providers and a
 * level rule in the place of voice detection. Messages given to the language model are kept, since what it is told was
 * heard is what counts.
 */
import { type MonoNs, msToNs } from "@rspp/base/brand";
import type { NodeDefinition, Settings } from "@rspp/kernel/graph";
import type { SessionConfig } from "@rspp/kernel/session-config";
import type { InvocationInput } from "@rspp/ports/provider";
import type { TransportEgress, TransportEnd, TransportIngress } from "@rspp/ports/transport";
import type { VadPort } from "@rspp/ports/vad";
import type { ManagedProvider } from "@rspp/provider-gateway/attempt";
import { createProviderGateway, type ProviderGateway } from "@rspp/provider-gateway/gateway";
import { createPhrasebook } from "@rspp/provider-gateway/local/phrasebook";
import { createResponder } from "@rspp/provider-gateway/local/responder";
import { createSimBatch } from "@rspp/provider-gateway/sim/batch";
import { createSimLlm } from "@rspp/provider-gateway/sim/llm";
import { createSimStt } from "@rspp/provider-gateway/sim/stt";
import { createSimTts } from "@rspp/provider-gateway/sim/tts";
import { createVirtualClock, runFast, type VirtualClock } from "@rspp/runtime/clock/virtual-clock";
import { createRuntime, type Runtime, type RuntimeOptions, type RuntimeSession } from "@rspp/runtime/runtime";
import { createMemoryStore, type MemoryStore } from "@rspp/runtime/spool/memory-store";
import { createSpool, type Spool } from "@rspp/runtime/spool/spool";
import { compileSpec } from "@rspp/spec/compile-spec";
import { expandTemplate } from "@rspp/spec/parse-spec";
import { createLoopbackAdapter, type LoopbackAdapter } from "@rspp/transport-loopback/adapter";
import { expect } from "vitest";
import { sessionConfigOf } from "../../cli/src/pipeline.ts";

export type Messages = Extract<InvocationInput, { kind: "messages" }>["messages"];

export interface Rig {
  clock: VirtualClock;
  store: MemoryStore;
  spool: Spool;
  gateway: ProviderGateway;
  runtime: Runtime;
  /** What the language model was given, by `session/turn`. */
  told: Map<string, Messages>;
  /** Sessions of each request to `sim/batch`. */
  batches: (readonly string[])[];
  /** Turns time until `done` holds; fails the test when `maxMs` pass first. */
  until(done: () => boolean, maxMs?: number): Promise<void>;
  pass(ms: number): Promise<void>;
}

/** @param over what this rig's runtime is given besides. @param more providers besides the simulated ones. */
export function createRig(
  over: Partial<RuntimeOptions> = {},
  more: (clock: VirtualClock) => readonly ManagedProvider[] = () => [],
): Rig {
  const clock = createVirtualClock({ wallOriginMs: 1_700_000_000_000 });
  const store = createMemoryStore();
  const spool = createSpool({ store, clock });
  const told = new Map<string, Messages>();
  const models = [createSimLlm({ clock }), createResponder({ clock }), createPhrasebook({ clock })];
  const batches: (readonly string[])[] = [];
  const batch = createSimBatch({ clock, onRequest: (sessions) => void batches.push(sessions) });
  const speech = [createSimTts({ clock }), createSimStt({ clock })];
  const providers = [...models.map((m) => listening(m, told)), batch, ...speech, ...more(clock)];
  const gateway = createProviderGateway({ clock, providers });
  const runtime = createRuntime({ clock, providers: gateway, vad: levelVad(), spool, ...over });
  const run = (until: () => boolean, maxMs: number) =>
    runFast(clock, { until, maxNs: (clock.nowNs() + msToNs(maxMs)) as MonoNs });
  return {
    clock,
    store,
    spool,
    gateway,
    runtime,
    told,
    batches,
    async until(done, maxMs = 60_000) {
      expect(await run(done, maxMs)).toBe("done");
    },
    async pass(ms) {
      let over = false;
      clock.timerAt((clock.nowNs() + msToNs(ms)) as MonoNs, () => {
        over = true;
      });
      await run(() => over, ms + 1);
    },
  };
}

export interface CallSettings {
  stt?: Settings;
  llm?: Settings;
  tts?: Settings;
}

export interface SimCall {
  session: RuntimeSession;
  line: LoopbackAdapter;
  /** Everything that went to the adapter, and everything that came from it. */
  sent: TransportEgress[];
  received: TransportIngress[];
  /** Control signals to the adapter, as `name/turn`, in order. */
  signals: string[];
}

/** The shipped template over sim providers. */
export function simConfig(sessionId: string, settings: CallSettings, over: Partial<SessionConfig> = {}): SessionConfig {
  const provider = (name: string, own: Settings | undefined) => ({ candidates: [name], settings: { ...own } });
  const spec = expandTemplate({
    template: "voice-assistant",
    providers: {
      stt: provider("sim/stt", settings.stt),
      llm: provider("sim/llm", settings.llm),
      tts: provider("sim/tts", settings.tts),
    },
  });
  if (!spec.ok) throw new Error(spec.error.map((p) => p.message).join("; "));
  const compiled = compileSpec(spec.value);
  if (!compiled.ok) throw new Error(compiled.error.map((p) => p.message).join("; "));
  const authority = { epoch: 1, incarnation: "test-1", deadlineNs: 1e18 as MonoNs };
  return { ...sessionConfigOf(compiled.value, { sessionId, authority, seed: sessionId, recording: "L1" }), ...over };
}

export function withSettings(config: SessionConfig, kind: NodeDefinition["kind"], settings: Settings): SessionConfig {
  const nodes = config.graph.nodes.map((node) =>
    node.kind === kind ? { ...node, settings: { ...node.settings, ...settings } } : node,
  );
  return { ...config, graph: { ...config.graph, nodes } };
}

export function openCall(rig: Rig, config: SessionConfig, traceparent = ""): SimCall {
  const line = createLoopbackAdapter({ clock: rig.clock, epoch: config.authority.epoch });
  const sent: TransportEgress[] = [];
  const signals: string[] = [];
  const received: TransportIngress[] = [];
  const transport: TransportEnd = {
    send(message) {
      sent.push(message);
      if (message.kind === "control") signals.push(`${message.signal}/${message.turn}`);
      line.send(message);
    },
  };
  const opened = rig.runtime.openSession({ config, transport, keepJournal: true, traceparent });
  if (!opened.ok) throw new Error(opened.error.detail);
  const session = opened.value;
  line.connect({
    receive(message) {
      received.push(message);
      session.receive(message);
    },
  });
  return { session, line, sent, received, signals };
}

/** A tone that the level rule takes for speech. */
export function speech(ms: number): Int16Array {
  return Int16Array.from({ length: ms * 16 }, (_, i) => Math.round(9_000 * Math.sin(i / 3)));
}

/** Contents of the session's timeline records of one kind, by turn. */
export function recordsOf<T>(rig: Rig, sessionId: string, kind: string, part: string): Map<number, T> {
  const found = new Map<number, T>();
  for (const run of rig.spool.readSession(sessionId).runs)
    for (const record of run.records) {
      if (record.kind !== kind) continue;
      const content = record.content as Record<string, unknown> & { turn: number };
      expect(found.has(content.turn), `${kind} of turn ${content.turn} twice`).toBe(false);
      found.set(content.turn, content[part] as T);
    }
  return found;
}

export function listening(provider: ManagedProvider, told: Map<string, Messages>): ManagedProvider {
  return {
    ...provider,
    open(request, sink) {
      const invocation = provider.open(request, sink);
      return {
        push(input) {
          if (input.kind === "messages") told.set(`${request.sessionId}/${request.turn}`, input.messages);
          invocation.push(input);
        },
        finish: () => invocation.finish(),
        cancel: (reason) => invocation.cancel(reason),
      };
    },
  };
}

/** Loud is speech. */
export function levelVad(): VadPort {
  return {
    name: "level",
    openSession: () => ({
      push(frame, onResult) {
        const samples = new Int16Array(frame.slice().buffer);
        const loud = samples.some((v) => Math.abs(v) > 4_000);
        onResult({ speech: loud, probability: loud ? 1 : 0 });
      },
      reset: () => {},
      close: () => {},
    }),
    close: () => {},
  };
}
