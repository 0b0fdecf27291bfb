/** The native WebSocket transport (F-030, F-031, F-084, F-086, F-088, F-091): listens, admits, keeps the table of sessions. */
import { createHash, randomBytes } from "node:crypto";
import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import { createResampler } from "@rspp/audio/resample";
import { asMonoNs, msToNs } from "@rspp/base/brand";
import { err, ok, type Result } from "@rspp/base/result";
import type { ClientOpen, SeenByClient } from "@rspp/gen/rspp/transport/v1/websocket_pb";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type { OpenedSession, SessionOpener, SessionSeen, TokenClaims } from "@rspp/ports/session-opener";
import type { ServerTls } from "@rspp/rpc/tls";
import { createCallerAudio } from "@rspp/transport/audio-in";
import type { AuditEntry } from "@rspp/transport/audit";
import { formatFromWire } from "@rspp/transport/formats";
import { limits as shared } from "@rspp/transport/limits";
import { createListener, listen, portOf, refuseUpgrade, type UpgradeRefusal } from "@rspp/transport/listener";
import type { SessionCounts } from "@rspp/transport/metrics";
import { detailName } from "@rspp/transport/problem";
import { SessionDesk } from "@rspp/transport/session-desk";
import type { TokenVerifier } from "@rspp/transport/token-verifier";
import { type WebSocket, WebSocketServer } from "ws";
import { Call, type CallStats, type ClientLink } from "./call.ts";
import { Connection, type ConnectionCounts } from "./connection.ts";
import { SUBPROTOCOLS } from "./frame-codec.ts";
import { limits } from "./limits.ts";
import { REALTIME_PATH, RealtimeEndpoint, type RealtimeRoutes } from "./realtime/endpoint.ts";
import { closeCodes, openRefusal, type Refusal, refusal, refusalOf } from "./refusal.ts";
import { createResumeKeys, type ResumeKeys } from "./resume-keys.ts";

export interface WebSocketTransportOptions {
  clock: Clock;
  verifier: TokenVerifier;
  openSession: SessionOpener;
  /** Default 127.0.0.1. */
  host?: string;
  /** 0: any free port. */
  port: number;
  /** Path of the endpoint; default `/v1/session`. */
  path?: string;
  /** Takes permessage-deflate from clients that offer it, which every browser does (F-031); default false: each frame then waits for it. */
  compression?: boolean;
  /** Serves `wss`; later certificates are for connections still to come (F-120). */
  tls?: ServerTls;
  /** Default CONNECTIONS_MAX, SESSIONS_MAX, RESUME_WITHIN_MS: they may be lowered, not raised. */
  connectionsMax?: number;
  sessionsMax?: number;
  resumeWithinMs?: number;
  /** Of all adapters of the fleet: with it, clients of one that is gone come back to another. Default: of this one alone. */
  resumeSecret?: () => string;
  /** Browsers that may connect, by Origin; default all: the token admits, no cookie does. */
  origins?: readonly string[];
  /** Told of everyone who comes, is refused, cut off, or comes back. */
  audit?: (entry: AuditEntry) => void;
  /** Routes for clients of `/v1/realtime` that show an access token instead of a route's; default none. */
  realtimeRoutes?: RealtimeRoutes;
  warn?: (fields: Readonly<Record<string, string>>, text: string) => void;
}

export interface WebSocketTransportStats extends ConnectionCounts, SessionCounts {
  connections: number;
  unopened: number;
  /** Sessions of other adapters that went on here. */
  adopted: number;
  /** Bytes on the wire, headers and compression included. */
  wireBytesOut: number;
}

export interface WebSocketTransport {
  readonly port: number;
  /** `ws://host:port/path`. */
  readonly url: string;
  stats(): WebSocketTransportStats;
  /** Without a tenant: whosesoever session has the id. */
  session(id: string, tenant?: string): CallStats | null;
  /** A grant of the lease service: from now on the session believes only this epoch. False when it would lower it. */
  raiseEpoch(session: string, epoch: number, tenant?: string): boolean;
  /** Looks at deadlines now instead of at the next sweep. */
  sweep(): void;
  /** Opens no more sessions; those that are open go on, and their clients may come back. */
  drain(): void;
  /**
   * Sends clients elsewhere whose session may go on there: those to whom nothing is being said, or all. What cannot be handed
   * over stays.
   */
  handOff(which: "quiet" | "all"): void;
  /** Ends all sessions and connections. */
  close(): Promise<void>;
}

/** @throws the listening error of Node, e.g. EADDRINUSE. */
export async function openWebSocketTransport(options: WebSocketTransportOptions): Promise<WebSocketTransport> {
  const transport = new Transport(options);
  await transport.listen();
  return transport;
}

class Transport implements WebSocketTransport {
  readonly #options: WebSocketTransportOptions;
  readonly #http: Server;
  readonly #sockets: WebSocketServer;
  readonly #connections = new Map<Connection, Duplex>();
  /** By the digest of the resume key, so that a look-up tells nothing by its time. */
  readonly #calls = new Map<string, Call>();
  readonly #desk: SessionDesk<Call>;
  readonly #realtime: RealtimeEndpoint;
  readonly #keys: ResumeKeys;
  readonly #totals: ConnectionCounts = { framesIn: 0, framesOut: 0, badFrames: 0, bytesIn: 0, bytesOut: 0, writeNs: 0 };
  #wireBytesOut = 0;
  #timer: TimerHandle | null = null;
  #closing = false;
  #onEmpty: () => void = () => {};
  /** Connections that may not have opened yet; those that have are taken out when they are counted. */
  readonly #fresh = new Set<Connection>();

  constructor(options: WebSocketTransportOptions) {
    this.#options = options;
    this.#desk = new SessionDesk<Call>(options);
    const { realtimeRoutes } = options;
    this.#realtime = new RealtimeEndpoint({
      ...options,
      ...(realtimeRoutes === undefined ? {} : { routes: realtimeRoutes }),
    });
    const own = randomBytes(24).toString("base64url");
    this.#keys = createResumeKeys(options.resumeSecret ?? (() => own));
    this.#sockets = new WebSocketServer({
      noServer: true,
      maxPayload: limits.SOCKET_BYTES_MAX,
      perMessageDeflate:
        options.compression !== true
          ? false
          : {
              // A small window: audio hardly gains by a large one, and each connection holds its own (48 KiB at 13 and 5).
              threshold: 256,
              serverMaxWindowBits: 13,
              zlibDeflateOptions: { level: 1, memLevel: 5 },
              concurrencyLimit: 8,
            },
      handleProtocols: (offered) => [...offered].find((name) => Object.hasOwn(SUBPROTOCOLS, name)) ?? false,
    });
    this.#http = createListener(options.tls, limits.CONNECTIONS_MAX + limits.UNOPENED_MAX);
    this.#http.on("request", (_request, response) => {
      response.writeHead(426, { "content-type": "text/plain", upgrade: "websocket" });
      response.end("This is a WebSocket endpoint: see docs/websocket-protocol.md and docs/openai-realtime.md\n");
    });
    this.#http.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
  }

  get port(): number {
    return portOf(this.#http);
  }

  get url(): string {
    const { host = "127.0.0.1", tls } = this.#options;
    const name = host.includes(":") ? `[${host}]` : host;
    return `${tls === undefined ? "ws" : "wss"}://${name}:${this.port}${this.#path()}`;
  }

  async listen(): Promise<void> {
    // Loads the resampler's module, so that no caller waits for it.
    (await createResampler({ inRateHz: 8_000, outRateHz: 16_000 })).close();
    await listen(this.#http, this.#options.port, this.#options.host ?? "127.0.0.1");
    this.#arm();
  }

  stats(): WebSocketTransportStats {
    const sum = { ...this.#totals };
    let wire = this.#wireBytesOut;
    for (const [connection, socket] of this.#connections) {
      addCounts(sum, connection.counts);
      wire += writtenBytes(socket);
    }
    this.#realtime.addTo(sum);
    const calls = this.#desk.calls();
    return {
      ...sum,
      connections: this.#size(),
      unopened: this.#unopened(),
      sessions: calls.length + this.#realtime.desk.size(),
      waiting: calls.filter((call) => !call.attached()).length,
      resumed: this.#desk.resumed,
      adopted: this.#desk.adopted,
      givenUp: this.#desk.givenUp + this.#realtime.desk.givenUp,
      refused: added(this.#desk.refused(), this.#realtime.desk.refused()),
      wireBytesOut: wire,
    };
  }

  session(id: string, tenant?: string): CallStats | null {
    return this.#desk.find(id, tenant)?.stats() ?? null;
  }

  raiseEpoch(session: string, epoch: number, tenant?: string): boolean {
    const raised = this.#desk.raiseEpoch(session, epoch, tenant);
    return this.#realtime.desk.raiseEpoch(session, epoch, tenant) || raised;
  }

  sweep(): void {
    for (const connection of [...this.#connections.keys()]) connection.tick();
    for (const call of this.#desk.calls()) call.tick();
    this.#realtime.sweep();
  }

  drain(): void {
    this.#desk.drain();
    this.#realtime.desk.drain();
  }

  handOff(which: "quiet" | "all"): void {
    for (const call of this.#desk.calls()) if (which === "all" || call.quiet()) call.handOff();
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#timer?.clear();
    for (const call of this.#desk.calls()) call.line.shutDown("draining");
    for (const connection of this.#connections.keys())
      connection.close(closeCodes.goingAway, "draining: connect elsewhere");
    const closed = new Promise<void>((resolve) => this.#http.close(() => resolve()));
    // What was said last is to be heard; who does not answer the close frame is cut off.
    await this.#emptied(this.#realtime.close());
    for (const connection of [...this.#connections.keys()]) connection.terminate();
    this.#realtime.terminate();
    this.#http.closeAllConnections();
    await closed;
  }

  async #emptied(realtime: Promise<void>): Promise<void> {
    if (this.#size() === 0) return;
    const { clock } = this.#options;
    let timer: TimerHandle | undefined;
    const late = new Promise<void>((resolve) => {
      timer = clock.timerAt(asMonoNs(clock.nowNs() + msToNs(limits.CLOSE_GRACE_MS)), resolve);
    });
    const own = new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
      if (this.#connections.size === 0) resolve();
    });
    await Promise.race([late, Promise.all([own, realtime])]);
    timer?.clear();
  }

  #size(): number {
    return this.#connections.size + this.#realtime.size();
  }

  #path(): string {
    return this.#options.path ?? "/v1/session";
  }

  #arm(): void {
    const { clock } = this.#options;
    const at = asMonoNs(clock.nowNs() + msToNs(limits.SWEEP_MS));
    this.#timer = clock.timerAt(at, () => {
      this.sweep();
      if (!this.#closing) this.#arm();
    });
  }

  #unopened(): number {
    for (const connection of this.#fresh) if (!connection.waiting()) this.#fresh.delete(connection);
    return this.#fresh.size + this.#realtime.unopened();
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // A peer that resets while it is being answered is no fault of ours.
    socket.on("error", () => {});
    const refused = this.#upgradeRefusal(request);
    if (refused !== null) {
      this.#desk.count(refused.name);
      return refuseUpgrade(socket, refused);
    }
    if (pathOf(request) === REALTIME_PATH) return this.#realtime.upgrade(request, socket, head);
    this.#sockets.handleUpgrade(request, socket, head, (ws) => this.#connected(ws, socket));
  }

  #upgradeRefusal(request: IncomingMessage): UpgradeRefusal | null {
    const realtime = pathOf(request) === REALTIME_PATH;
    const { origins, connectionsMax = limits.CONNECTIONS_MAX } = this.#options;
    if (pathOf(request) !== this.#path() && !realtime)
      return { status: "404 Not Found", name: "not_found", remedy: `Connect to ${this.#path()} or ${REALTIME_PATH}.` };
    const origin = request.headers.origin;
    if (origins !== undefined && origin !== undefined && !origins.includes(origin)) {
      return { status: "403 Forbidden", name: "permission_denied", remedy: "This origin is not in the server's list." };
    }
    const offered = String(request.headers["sec-websocket-protocol"] ?? "").split(",");
    if (!realtime && !offered.some((name) => Object.hasOwn(SUBPROTOCOLS, name.trim()))) {
      const remedy = `Offer one of the subprotocols ${Object.keys(SUBPROTOCOLS).join(", ")}.`;
      return { status: "400 Bad Request", name: "malformed_frame", remedy };
    }
    const full = this.#size() >= Math.min(connectionsMax, limits.CONNECTIONS_MAX);
    if (full || this.#closing || this.#unopened() >= limits.UNOPENED_MAX) {
      return {
        status: "503 Service Unavailable",
        name: "capacity_exhausted",
        remedy: "Try again later, or elsewhere.",
      };
    }
    return null;
  }

  #connected(ws: WebSocket, socket: Duplex): void {
    const encoding = SUBPROTOCOLS[ws.protocol] ?? "binary";
    const connection: Connection = new Connection(ws, socket, encoding, {
      clock: this.#options.clock,
      open: (frame, link) => this.#open(frame, link),
      refused: (why) => {
        const name = detailName(why.detail);
        this.#desk.count(name);
        this.#desk.audit("refused", connection.call?.options.claims ?? null, name);
      },
      closed: (gone, code) => this.#gone(gone, code),
    });
    this.#connections.set(connection, socket);
    this.#fresh.add(connection);
  }

  #gone(connection: Connection, code: number): void {
    const socket = this.#connections.get(connection);
    if (socket !== undefined) this.#wireBytesOut += writtenBytes(socket);
    this.#connections.delete(connection);
    this.#fresh.delete(connection);
    if (this.#connections.size === 0) this.#onEmpty();
    addCounts(this.#totals, connection.counts);
    const { call } = connection;
    if (call === null) return;
    // 1000 is a caller who hung up; anything else is a cut, and may be made good.
    if (code === closeCodes.done) call.line.hangUp("caller_hangup");
    if (call.detach(connection, "connection_lost"))
      this.#desk.audit("waiting", call.options.claims, `closed with ${code}`);
  }

  async #open(frame: ClientOpen, link: ClientLink): Promise<Result<Call, Refusal>> {
    const checked = await this.#desk.verify(frame.token, { lapsed: frame.resume !== undefined });
    if (!checked.ok) return err(openRefusal(checked.error));
    return frame.resume === undefined
      ? this.#openNew(frame, checked.value, link)
      : this.#resume(frame, checked.value, link);
  }

  #openNew(frame: ClientOpen, claims: TokenClaims, link: ClientLink): Promise<Result<Call, Refusal>> {
    return this.#make(frame, claims, this.#keys.make(claims), (call) => {
      link.write(0, call.openedFrame(false));
      call.begin(link);
    });
  }

  /** A session of this adapter: it is opened, and `begin` attaches the client. */
  async #make(
    frame: ClientOpen,
    claims: TokenClaims,
    resumeKey: string,
    begin: (call: Call, opened: OpenedSession) => void,
    adopt?: SessionSeen,
  ): Promise<Result<Call, Refusal>> {
    const input = formatFromWire(frame.inputFormat, "open.input_format", 2);
    if (!input.ok) return err(refusalOf(input.error));
    const output = formatFromWire(frame.outputFormat, "open.output_format", 1);
    if (!output.ok) return err(refusalOf(output.error));
    const { clock } = this.#options;
    const resumeWithinMs = Math.min(this.#options.resumeWithinMs ?? shared.RESUME_WITHIN_MS, shared.RESUME_WITHIN_MS);
    const onOver = (call: Call, reason: string): void => this.#over(call, reason);
    const formats = { input: input.value, output: output.value };
    const opened = await this.#desk.open(
      { claims, token: frame.token, formats, ...(adopt === undefined ? {} : { adopt }) },
      async () => {
        const audio = await createCallerAudio(input.value);
        return new Call({ clock, claims, resumeKey, audio, output: output.value, resumeWithinMs, onOver });
      },
      (call, session) => {
        call.options.resumeWithinMs = Math.min(resumeWithinMs, session.reconnectMs ?? resumeWithinMs);
        this.#calls.set(digest(resumeKey), call);
        begin(call, session);
      },
    );
    if (opened.ok) return opened;
    return err(adopt !== undefined && opened.error.reason === "not_found" ? sessionGone() : openRefusal(opened.error));
  }

  async #resume(frame: ClientOpen, claims: TokenClaims, link: ClientLink): Promise<Result<Call, Refusal>> {
    const key = frame.resume?.resumeKey ?? "";
    const call = this.#calls.get(digest(key));
    if (call === undefined && this.#keys.isOf(claims, key)) return this.#adopt(frame, claims, key, link);
    const gone = sessionGone();
    if (call === undefined) return err(gone);
    const answer = call.resume(claims, Number(frame.resume?.lastServerSequence ?? 0n), link);
    if (answer === "refused") return err(gone);
    if (answer === "too_old") {
      const remedy = "More was missed than is kept: open a new session with a new route.";
      return err(refusal("session_ended", closeCodes.tooOld, { remedy, metadata: { resume: "too_old" } }));
    }
    this.#desk.resumed += 1;
    this.#desk.audit("resumed", claims, "");
    return ok(call);
  }

  /** The session lives, and another adapter had it, which is gone (R4): it goes on here from what its client saw. */
  #adopt({ resume, ...frame }: ClientOpen, claims: TokenClaims, key: string, link: ClientLink) {
    const begin = (call: Call, opened: OpenedSession): void =>
      call.goOn(opened, link, {
        server: Number(resume?.lastServerSequence ?? 0n),
        audio: Number(resume?.seen?.goneAudioSequence ?? 0n),
        signals: Number(resume?.seen?.goneSignalSequence ?? 0n),
      });
    return this.#make(frame, claims, key, begin, seenOf(resume?.seen));
  }

  #over(call: Call, reason: string): void {
    this.#calls.delete(digest(call.options.resumeKey));
    this.#desk.over(call, reason);
  }
}

function sessionGone(): Refusal {
  const remedy = "The session is over, or the key is not of this token's session: open a new one with a new route.";
  return refusal("session_not_found", closeCodes.noSession, { remedy });
}

function seenOf(seen: SeenByClient | undefined): SessionSeen {
  if (seen === undefined) return { lastTurn: 0, openTurn: null, muted: false };
  const { lastTurnNumber: lastTurn, openTurnNumber: turn, openTurnGeneration: generation, muted } = seen;
  const flags = { committed: seen.openTurnCommitted, complete: seen.openTurnComplete };
  const open = { turn, generation: Math.max(1, generation), playedUs: Number(seen.openTurnPlayedUs), ...flags };
  return { lastTurn, openTurn: turn === 0 ? null : open, muted };
}

function pathOf({ url = "/" }: IncomingMessage): string | undefined {
  return url.split("?", 1)[0];
}

function added(a: Readonly<Record<string, number>>, b: Readonly<Record<string, number>>): Record<string, number> {
  const sum = { ...a };
  for (const [name, count] of Object.entries(b)) sum[name] = (sum[name] ?? 0) + count;
  return sum;
}

function digest(key: string): string {
  return createHash("sha256").update(key).digest("base64");
}

function writtenBytes(socket: Duplex): number {
  return "bytesWritten" in socket ? Number(socket.bytesWritten) : 0;
}

function addCounts(to: ConnectionCounts, from: ConnectionCounts): void {
  for (const name of Object.keys(to) as (keyof ConnectionCounts)[]) to[name] += from[name];
}
