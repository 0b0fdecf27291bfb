/** The Realtime endpoint over the shipped runtime with sim providers, and the official clients that talk to it unchanged. */
import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession } from "@openai/agents-realtime";
import type { SessionOpener } from "@rspp/ports/session-opener";
import type { VadPort } from "@rspp/ports/vad";
import { createProviderGateway } from "@rspp/provider-gateway/gateway";
import { createSimLlm } from "@rspp/provider-gateway/sim/llm";
import { createSimStt } from "@rspp/provider-gateway/sim/stt";
import { createSimTts } from "@rspp/provider-gateway/sim/tts";
import { createRuntime, type RuntimeSession } from "@rspp/runtime/runtime";
import { createMemoryStore } from "@rspp/runtime/spool/memory-store";
import { createSpool } from "@rspp/runtime/spool/spool";
import { OpenAI } from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { WebSocket } from "ws";
import { selfSigned } from "./certificate.ts";
import { type CallSettings, simConfig } from "./rig.ts";
import { clock, openFake, tokenOf, type WsRig } from "./websocket-rig.ts";

/** Loud is speech. */
const vad: VadPort = {
  name: "level",
  openSession: () => ({
    push(frame, onResult) {
      const speech = new Int16Array(frame.slice().buffer).some((v) => Math.abs(v) > 4_000);
      onResult({ speech, probability: speech ? 1 : 0 });
    },
    reset: () => {},
    close: () => {},
  }),
  close: () => {},
};

export interface RealtimeRig {
  /** `wss`, which the npm package insists on, and `ws`. */
  readonly secure: WsRig;
  readonly plain: WsRig;
  readonly settings: Map<string, CallSettings>;
  readonly live: Map<string, RuntimeSession>;
  close(): Promise<void>;
}

const tls = selfSigned();

export async function openRealtime(): Promise<RealtimeRig> {
  const settings = new Map<string, CallSettings>();
  const live = new Map<string, RuntimeSession>();
  const providers = [createSimLlm({ clock }), createSimTts({ clock }), createSimStt({ clock })];
  const spool = createSpool({ store: createMemoryStore(), clock });
  const runtime = createRuntime({ clock, providers: createProviderGateway({ clock, providers }), vad, spool });
  const openSession: SessionOpener = async ({ claims, transport }) => {
    const { tenant, session: sessionId, pipelineVersion } = claims;
    const config = { ...simConfig(sessionId, settings.get(sessionId) ?? {}), tenantId: tenant };
    const opened = runtime.openSession({ config, transport });
    if (!opened.ok) return { ok: false, error: { reason: "capacity_exhausted", remedy: opened.error.detail } };
    live.set(sessionId, opened.value);
    const { epoch } = config.authority;
    return { ok: true, value: { session: opened.value, epoch, tenant, sessionId, pipelineVersion } };
  };
  const [secure, plain] = await Promise.all([openFake({ openSession, tls }), openFake({ openSession })]);
  return {
    secure,
    plain,
    settings,
    live,
    close: async () => {
      await Promise.all([secure.transport.close(), plain.transport.close()]);
      await runtime.close();
    },
  };
}

export type Event = { readonly type: string; readonly [field: string]: unknown };

export interface OpenAiClient {
  readonly socket: OpenAIRealtimeWS;
  readonly events: Event[];
  readonly closed: { code: number; reason: string }[];
  of(type: string): Event[];
  types(): string[];
}

/** npm `openai`, as its documentation uses it. */
export function openAiClient(rig: WsRig, key: string, model = "voice-assistant"): OpenAiClient {
  const baseURL = `https://127.0.0.1:${rig.transport.port}/v1`;
  const client = new OpenAI({ apiKey: key, baseURL });
  const socket = new OpenAIRealtimeWS({ model, options: { ca: [String(tls.cert)] } }, client);
  const events: Event[] = [];
  const closed: { code: number; reason: string }[] = [];
  socket.on("event", (event) => events.push(event as unknown as Event));
  socket.on("error", () => {});
  socket.socket.on("close", (code, reason) => closed.push({ code, reason: reason.toString() }));
  return {
    socket,
    events,
    closed,
    of: (type) => events.filter((event) => event.type === type),
    types: () => events.map(({ type }) => type),
  };
}

/** 24 kHz PCM of a tone, or of silence. */
export function pcm24(ms: number, loud: boolean): Buffer {
  const samples = Int16Array.from({ length: ms * 24 }, (_, i) => (loud ? Math.round(9_000 * Math.sin(i / 4.5)) : 0));
  return Buffer.from(samples.buffer);
}

/** A microphone in real time: silence, unless something is said. */
export function microphone(send: (pcm: Buffer) => void): { say(ms: number): void; stop(): void } {
  const startNs = clock.nowNs();
  let sent = 0;
  let loud = 0;
  const timer = setInterval(() => {
    while (sent * 20e6 <= clock.nowNs() - startNs) {
      send(pcm24(20, loud > 0));
      if (loud > 0) loud -= 1;
      sent += 1;
    }
  }, 10);
  return {
    say: (ms) => {
      loud += ms / 20;
    },
    stop: () => clearInterval(timer),
  };
}

/** npm `@openai/agents-realtime` with its own WebSocket transport. */
export async function agentsSession(rig: WsRig, session: string) {
  const url = rig.transport.url.replace("/v1/session", "/v1/realtime?model=voice-assistant");
  const agent = new RealtimeAgent({ name: "Assistant", instructions: "Be brief." });
  const transport = new OpenAIRealtimeWebSocket({ url });
  const realtime = new RealtimeSession(agent, { transport, tracingDisabled: true });
  await realtime.connect({ apiKey: tokenOf(session) });
  return realtime;
}

export interface PlainClient {
  readonly events: Event[];
  readonly closed: { code: number; reason: string }[];
  of(type: string): Event[];
  send(event: Event | string | Buffer): void;
  /** Called with each event as it comes. */
  onEvent: (event: Event) => void;
  close(code?: number): void;
}

/** A client that says what no official one would: `headers` and `protocols` as given. */
export function plainClient(
  rig: WsRig,
  key: string | null,
  { query = "", headers = {}, protocols = [] as string[] } = {},
): PlainClient {
  const url = `${rig.transport.url.replace("/v1/session", "/v1/realtime")}${query}`;
  const own = key === null ? headers : { authorization: `Bearer ${key}`, ...headers };
  const socket = new WebSocket(url, protocols, { headers: own });
  const events: Event[] = [];
  const closed: { code: number; reason: string }[] = [];
  const client: PlainClient = {
    events,
    closed,
    of: (type) => events.filter((event) => event.type === type),
    send: (event) => socket.send(typeof event === "string" || Buffer.isBuffer(event) ? event : JSON.stringify(event)),
    onEvent: () => {},
    close: (code = 1000) => socket.close(code),
  };
  socket.on("message", (data) => {
    const event = JSON.parse(String(data)) as Event;
    events.push(event);
    client.onEvent(event);
  });
  socket.on("error", () => {});
  socket.on("close", (code, reason) => closed.push({ code, reason: reason.toString() }));
  return client;
}
