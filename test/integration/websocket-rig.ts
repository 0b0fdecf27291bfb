/** A WebSocket transport over a fake session or over the shipped runtime, and what a client saw of it. */
import { asMonoNs } from "@rspp/base/brand";
import type { Client } from "@rspp/client/client";
import { connect } from "@rspp/client/connect";
import type {
  ClientOptions,
  ControlEvent,
  Cut,
  ErrorEvent,
  OutputFrame,
  TextEvent,
  TurnEvent,
} from "@rspp/client/types";
import { createSystemClock } from "@rspp/host/system-clock";
import type { Clock } from "@rspp/ports/clock";
import type { OpenedSession, SessionRequest, TokenClaims } from "@rspp/ports/session-opener";
import type { SessionEnd, TransportEgress, TransportEnd, TransportIngress } from "@rspp/ports/transport";
import type { AuditEntry } from "@rspp/transport/audit";
import type { TokenVerifier } from "@rspp/transport/token-verifier";
import {
  openWebSocketTransport,
  type WebSocketTransport,
  type WebSocketTransportOptions,
} from "@rspp/transport-websocket/server";

export const PIPELINE = "voice-assistant@1";
export const clock = createSystemClock();

export const claimsOf = (session: string, expiresInMs = 60_000): TokenClaims => ({
  tenant: "acme",
  session,
  pipelineVersion: PIPELINE,
  instance: "",
  expiresWallMs: clock.wallMs() + expiresInMs,
  variables: {},
});

/** A token is the claims' JSON behind `good:`; what begins otherwise is altered. */
export const tokenOf = (session: string, expiresInMs?: number): string =>
  `good:${JSON.stringify(claimsOf(session, expiresInMs))}`;

export const verifier: TokenVerifier = {
  verify: async (token) =>
    token.startsWith("good:")
      ? { ok: true, value: JSON.parse(token.slice(5)) as TokenClaims }
      : { ok: false, error: { kind: "invalid" } },
};

/** The system's clock, except that it can be set on: deadlines are met without waiting for them. */
export function settableClock(): Clock & { setOn(ms: number): void } {
  let aheadNs = 0;
  return {
    ...clock,
    nowNs: () => asMonoNs(clock.nowNs() + aheadNs),
    timerAt: (atNs, fire) => clock.timerAt(asMonoNs(Math.max(0, atNs - aheadNs)), fire),
    setOn: (ms) => {
      aheadNs += ms * 1e6;
    },
  };
}

/** Waits for a condition; fails after `maxMs`. */
export async function until(done: () => boolean, what: string, maxMs = 15_000): Promise<void> {
  const endNs = clock.nowNs() + maxMs * 1e6;
  while (!done()) {
    if (clock.nowNs() > endNs) throw new Error(`not within ${maxMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** The runtime's side of one session, by hand. */
export class FakeSession implements SessionEnd {
  readonly received: TransportIngress[] = [];
  readonly transport: TransportEnd;
  readonly request: SessionRequest;
  onReceive: (message: TransportIngress) => void = () => {};
  /** What the agent's voice sounds like; a rising constant by default. */
  sound: Int16Array | null = null;

  constructor(request: SessionRequest) {
    this.request = request;
    this.transport = request.transport;
  }

  receive(message: TransportIngress): void {
    // The bytes are the adapter's own again when this returns.
    const own = message.kind === "audio" ? { ...message, bytes: new Uint8Array(message.bytes) } : message;
    this.received.push(own);
    this.onReceive(own);
  }

  signals(): string[] {
    return this.received.flatMap((m) => (m.kind === "control" ? [m.signal] : []));
  }

  deliveries(): string[] {
    return this.received.flatMap((m) => (m.kind === "delivery" ? [`${m.state}/${m.turn}`] : []));
  }

  audio(): Extract<TransportIngress, { kind: "audio" }>[] {
    return this.received.flatMap((m) => (m.kind === "audio" ? [m] : []));
  }

  control(signal: string, turn: number, fields: Record<string, string | number> = {}, reason = ""): void {
    this.transport.send({ kind: "control", epoch: 1, signal, turn, reason, fields });
  }

  text(turn: number, role: "user" | "assistant", text: string, final = true, segment = 0): void {
    this.transport.send({ kind: "text", epoch: 1, turn, role, text, final, segment, revision: 0 });
  }

  media(turn: number, from: number, count: number, options: { end?: boolean; generation?: number } = {}): void {
    const { end = false, generation = 0 } = options;
    for (let sequence = from; sequence < from + count; sequence++) {
      const bytes = new Uint8Array(640).fill(sequence & 0xff);
      if (this.sound !== null) bytes.set(new Uint8Array(this.sound.slice((sequence - 1) * 320, sequence * 320).buffer));
      const message: TransportEgress = {
        kind: "media",
        epoch: 1,
        turn,
        generation,
        sequence,
        offsetUs: (sequence - 1) * 20_000,
        durationUs: 20_000,
        format: { codec: "pcm_s16le", rateHz: 16_000, channels: 1 },
        bytes,
        end: end && sequence === from + count - 1,
      };
      this.transport.send(message);
    }
  }

  fence(turn: number, generation = 1): void {
    this.transport.send({ kind: "fence", epoch: 1, turn, generation, all: true, reason: "barge_in" });
  }

  close(reason = "completed"): void {
    this.transport.send({ kind: "close", epoch: 1, reason });
  }
}

export interface WsRig {
  transport: WebSocketTransport;
  sessions: Map<string, FakeSession>;
  audits: AuditEntry[];
  session(id: string): FakeSession;
}

export async function openFake(over: Partial<WebSocketTransportOptions> = {}): Promise<WsRig> {
  const sessions = new Map<string, FakeSession>();
  const audits: AuditEntry[] = [];
  const transport = await openWebSocketTransport({
    clock,
    verifier,
    port: 0,
    audit: (entry) => audits.push(entry),
    openSession: async (request) => {
      const session = new FakeSession(request);
      sessions.set(request.claims.session, session);
      const { tenant, session: sessionId, pipelineVersion } = request.claims;
      const value: OpenedSession = { session, epoch: 1, tenant, sessionId, pipelineVersion };
      return { ok: true, value };
    },
    ...over,
  });
  return {
    transport,
    sessions,
    audits,
    session(id) {
      const found = sessions.get(id);
      if (found === undefined) throw new Error(`no session ${id}`);
      return found;
    },
  };
}

/** What one client saw. */
export interface Seen {
  client: Client;
  audio: OutputFrame[];
  texts: TextEvent[];
  turns: TurnEvent[];
  controls: ControlEvent[];
  errors: ErrorEvent[];
  flushes: Cut[];
  states: string[];
}

export async function join(url: string, token: string, options: ClientOptions = {}): Promise<Seen> {
  const audio: OutputFrame[] = [];
  const client = await connect(url, token, { onAudio: (frame) => audio.push(frame), ...options });
  const seen: Seen = { client, audio, texts: [], turns: [], controls: [], errors: [], flushes: [], states: [] };
  client.on("text", (event) => seen.texts.push(event));
  client.on("turn", (event) => seen.turns.push(event));
  client.on("control", (event) => seen.controls.push(event));
  client.on("error", (event) => seen.errors.push(event));
  client.on("flush", (event) => seen.flushes.push(event));
  client.on("state", (event) => seen.states.push(event.state));
  return seen;
}

/** A tone that a level rule takes for speech, in frames of 20 ms. */
export function toneFrames(ms: number): Int16Array[] {
  return Array.from({ length: ms / 20 }, (_, f) =>
    Int16Array.from({ length: 320 }, (_, i) => Math.round(9_000 * Math.sin((f * 320 + i) / 3))),
  );
}
