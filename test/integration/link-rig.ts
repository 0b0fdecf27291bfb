/** Two ends of a link over real loopback sockets, with a line between them that can stall, slow down and break. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { create } from "@bufbuild/protobuf";
import { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import type { Envelope } from "@rspp/gen/rspp/event/v1/event_pb";
import { type LinkGoAway, RaiseFenceSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";
import { type GrpcServer, startGrpcServer } from "@rspp/rpc/grpc-server";
import type {
  LinkBroken,
  LinkDown,
  LinkIncoming,
  LinkNotice,
  LinkSessionHandlers,
  LinkSessionPort,
  SessionConstants,
} from "@rspp/rpc/link-api";
import { createLinkClient, type LinkClient, type LinkClientOptions } from "@rspp/rpc/link-client";
import type { LinkEnd, LinkEndOptions } from "@rspp/rpc/link-end";
import { createLinkServer, type LinkServer } from "@rspp/rpc/link-server";
import { toEnvelope } from "@rspp/wire/envelope";
import type { LinkPayload } from "@rspp/wire/link-control";
import { expect } from "vitest";

export function constantsOf(session: string): SessionConstants {
  return {
    tenant: "acme",
    session,
    pipelineVersion: "voice-assistant@1",
    epoch: 7,
    codec: "pcm_s16le",
    sampleRateHz: 16_000,
    channels: 1,
  };
}

/** What one end's application saw of one session. */
export interface Seen {
  readonly port: LinkSessionPort;
  readonly events: LinkIncoming[];
  bound: boolean;
  closed: { reason: string; by: "self" | "peer" } | null;
  broken: LinkBroken | null;
  /** Gives credit back as events come; on unless a test is a slow reader. */
  consume: boolean;
}

/** One end's application: keeps what it sees. */
export class App {
  readonly sessions = new Map<string, Seen>();
  readonly notices: LinkNotice[] = [];
  readonly downs: LinkDown[] = [];
  readonly goAways: LinkGoAway[] = [];
  onEvent: ((seen: Seen, event: LinkIncoming) => void) | null = null;

  take(port: LinkSessionPort): LinkSessionHandlers {
    const seen: Seen = { port, events: [], bound: false, closed: null, broken: null, consume: true };
    this.sessions.set(port.constants.session, seen);
    return this.handlersOf(() => seen);
  }

  handlersOf(seenOf: () => Seen): LinkSessionHandlers {
    return {
      onEvent: (event) => {
        const seen = seenOf();
        seen.events.push(event);
        this.onEvent?.(seen, event);
        if (event.kind === "event" && event.lane === "data" && seen.consume) {
          seen.port.consumed(event.audioUs, event.bytes);
        }
      },
      onBound: () => {
        seenOf().bound = true;
      },
      onClosed: (reason, by) => {
        seenOf().closed = { reason, by };
      },
      onBroken: (broken) => {
        seenOf().broken = broken;
      },
    };
  }

  /** Binds a session from this end. */
  bind(end: LinkEnd, session: string): Seen {
    let seen: Seen | undefined;
    const bound = end.bind(
      constantsOf(session),
      this.handlersOf(() => {
        if (seen === undefined) throw new Error("an event came before the bind returned");
        return seen;
      }),
    );
    if (!bound.ok) throw new Error(`bind refused: ${JSON.stringify(bound.error)}`);
    seen = { port: bound.value, events: [], bound: false, closed: null, broken: null, consume: true };
    this.sessions.set(session, seen);
    return seen;
  }

  seen(session: string): Seen {
    const seen = this.sessions.get(session);
    if (seen === undefined) throw new Error(`${session} is not here`);
    return seen;
  }

  noticed(kind: LinkNotice["kind"]): LinkNotice[] {
    return this.notices.filter((notice) => notice.kind === kind);
  }
}

/** A TCP line to `targetPort` whose chunks wait while it is stalled, and pass at `bytesPerS` when that is set. */
export class Line {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #stalled = false;
  bytesPerS = Number.POSITIVE_INFINITY;

  /** TCP connections through it. */
  get connections(): number {
    return this.#sockets.size / 2;
  }

  constructor(targetPort: number) {
    this.#server = createServer((near) => {
      const far = connect({ host: "127.0.0.1", port: targetPort, noDelay: true });
      near.setNoDelay(true);
      this.#carry(near, far);
      this.#carry(far, near);
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(one);
        one.on("error", () => other.destroy());
        one.on("close", () => {
          this.#sockets.delete(one);
          other.destroy();
        });
        if (this.#stalled) one.pause();
      }
    });
  }

  async open(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen({ host: "127.0.0.1", port: 0 }, resolve));
    const address = this.#server.address();
    if (typeof address !== "object" || address === null) throw new Error("no address");
    return `127.0.0.1:${address.port}`;
  }

  stall(stalled: boolean): void {
    this.#stalled = stalled;
    for (const socket of this.#sockets) {
      if (stalled) socket.pause();
      else socket.resume();
    }
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.cut();
    this.#server.close();
  }

  #carry(from: Socket, to: Socket): void {
    from.on("data", (chunk) => {
      to.write(chunk);
      if (this.bytesPerS === Number.POSITIVE_INFINITY) return;
      from.pause();
      setTimeout(
        () => {
          if (!this.#stalled) from.resume();
        },
        (chunk.length * 1000) / this.bytesPerS,
      );
    });
  }
}

export interface Rig {
  readonly runtime: App;
  readonly adapter: App;
  readonly client: LinkClient;
  readonly server: LinkServer;
  readonly grpc: GrpcServer;
  readonly control: Line;
  readonly media: Line;
  /** The runtime's end of the only link. */
  runtimeEnd(): LinkEnd;
  stop(): Promise<void>;
}

const clients: Partial<LinkClientOptions> = { domain: "transport-test", peerId: "adapter-1", build: "test" };

/** A pair through lines that can be stalled one by one. */
export async function rigUp(
  options: { server?: Partial<LinkEndOptions>; client?: Partial<LinkClientOptions> } = {},
): Promise<Rig> {
  const runtime = new App();
  const adapter = new App();
  const server = createLinkServer({
    domain: "runtime",
    peerId: "runtime-1",
    build: "test",
    ...options.server,
    onLink: () => appHandlers(runtime),
  });
  const grpc = await startGrpcServer({ domain: "runtime", port: 0, services: [server.service] });
  const control = new Line(grpc.port);
  const media = new Line(grpc.port);
  const address = await control.open();
  const mediaAddress = await media.open();
  const client = createLinkClient(
    { domain: "adapter", linkId: "link-1", ...clients, address, mediaAddress, ...options.client } as LinkClientOptions,
    appHandlers(adapter),
  );
  await client.ready(5_000);
  return {
    runtime,
    adapter,
    client,
    server,
    grpc,
    control,
    media,
    runtimeEnd: () => server.links()[0]!,
    stop: async () => {
      client.close();
      server.close();
      control.close();
      media.close();
      await grpc.stop(200);
    },
  };
}

export function appHandlers(app: App) {
  return {
    onSession: (port: LinkSessionPort) => app.take(port),
    onPairDown: (_incarnation: number, reason: LinkDown) => void app.downs.push(reason),
    onGoAway: (message: LinkGoAway) => void app.goAways.push(message),
    onNotice: (notice: LinkNotice) => void app.notices.push(notice),
  };
}

let events = 0;

/** 20 ms of audio; from the adapter unless it is of a turn. `mark` stands in its first samples, so that order and identity can be checked. */
export function audio(session: string, mark: number, place: { turn?: number; generation?: number } = {}): Envelope {
  const bytes = new Uint8Array(640);
  new DataView(bytes.buffer).setUint32(0, mark);
  const turn = place.turn ?? 0;
  const made = toEnvelope(constantsOf(session), {
    eventId: `${turn === 0 ? "a" : "r"}-${++events}`,
    turn,
    generation: place.generation ?? 0,
    wallMs: Date.now(),
    payload: {
      kind: "audio",
      format: { codec: "pcm_s16le", rateHz: 16_000, channels: 1 },
      bytes,
      durationUs: 20_000,
      end: false,
      segment: -1,
    },
  });
  if (!made.ok) throw new Error(JSON.stringify(made.error));
  return made.value;
}

export function markOf(envelope: Envelope): number {
  if (envelope.payload.case !== "audio") throw new Error("not audio");
  const { data } = envelope.payload.value;
  return new DataView(data.buffer, data.byteOffset).getUint32(0);
}

/** Marks of the audio that arrived, in order. */
export function marks(seen: Seen): number[] {
  return seen.events.flatMap((e) => (e.kind === "event" && e.lane === "data" ? [markOf(e.envelope)] : []));
}

export function signal(
  session: string,
  name: string,
  turn = 0,
  fields: Record<string, string | number> = {},
): LinkPayload {
  const made = toEnvelope(constantsOf(session), {
    eventId: `c-${++events}`,
    turn,
    wallMs: Date.now(),
    payload: {
      kind: "control",
      signal: name,
      emitter: "adapter",
      scope: "session",
      reason: "",
      reasonDetail: "",
      fields,
    },
  });
  if (!made.ok) throw new Error(JSON.stringify(made.error));
  return { kind: "event", envelope: made.value };
}

export function fence(): LinkPayload {
  const value = create(RaiseFenceSchema, { reason: Reason.BARGE_IN, authorityEpoch: 7n });
  return { kind: "overtaking", message: { case: "fence", value } };
}

/** Waits for a condition, looked at after every turn of the event loop. */
export async function until(condition: () => boolean, what: string, timeoutMs = 5_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

export function expectOk<T>(result: { ok: boolean; value?: T; error?: unknown }): T {
  expect(result.ok ? null : result.error).toBe(null);
  return result.value as T;
}
