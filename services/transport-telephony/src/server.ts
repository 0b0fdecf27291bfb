/** The telephone transport (F-085): answers the carrier's webhooks, takes its streams, keeps the table of calls. */
import { randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { createResampler } from "@rspp/audio/resample";
import { asMonoNs, msToNs } from "@rspp/base/brand";
import { err, ok, type Result } from "@rspp/base/result";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type { SessionOpener } from "@rspp/ports/session-opener";
import type { ServerTls } from "@rspp/rpc/tls";
import { createCallerAudio } from "@rspp/transport/audio-in";
import type { AuditEntry } from "@rspp/transport/audit";
import { limits as shared } from "@rspp/transport/limits";
import { createListener, listen, portOf, refuseUpgrade, type UpgradeRefusal } from "@rspp/transport/listener";
import type { SessionCounts } from "@rspp/transport/metrics";
import type { Problem } from "@rspp/transport/problem";
import { SessionDesk } from "@rspp/transport/session-desk";
import type { TokenVerifier } from "@rspp/transport/token-verifier";
import { type WebSocket, WebSocketServer } from "ws";
import { type CallStats, TELEPHONE_FORMAT, TelephoneCall } from "./call.ts";
import { type JitterProfile, jitterProfiles, limits } from "./limits.ts";
import { closeCodes } from "./refusal.ts";
import { CarrierStream, type StreamCounts } from "./stream.ts";
import type { StartMessage } from "./twilio/messages.ts";
import { isSignedByTwilio } from "./twilio/signature.ts";
import { joinParameter } from "./twilio/twiml.ts";
import { answerWebhook, type EndedCall, type RouteForCall, STREAM_PATH, type VoicePolicy } from "./webhooks.ts";

export interface TelephoneTransportOptions {
  readonly clock: Clock;
  readonly verifier: TokenVerifier;
  readonly openSession: SessionOpener;
  /** A route for a call that comes in. */
  readonly route: RouteForCall;
  readonly policy: VoicePolicy;
  /** The account's auth token; null: nothing is signed, and everything is taken (`signature: off`). */
  readonly authToken: (() => Promise<string>) | null;
  readonly host?: string;
  /** 0: any free port. */
  readonly port: number;
  /** Where the carrier reaches this adapter, `https://voice.example.com`; default: host and port. */
  readonly publicUrl?: string;
  readonly tls?: ServerTls;
  readonly connectionsMax?: number;
  readonly sessionsMax?: number;
  readonly resumeWithinMs?: number;
  readonly jitter?: JitterProfile;
  readonly leadMs?: number;
  readonly markEveryMs?: number;
  readonly audit?: (entry: AuditEntry) => void;
}

export interface TelephoneStats extends SessionCounts, StreamCounts {
  streams: number;
  calls: number;
  /** Of all calls, those that are over included. */
  lost: number;
  concealedMs: number;
  clears: number;
}

export interface TelephoneTransport {
  readonly port: number;
  /** Where streams come in. */
  readonly url: string;
  stats(): TelephoneStats;
  call(session: string): CallStats | null;
  sweep(): void;
  drain(): void;
  close(): Promise<void>;
}

/** @throws the listening error of Node, e.g. EADDRINUSE. */
export async function openTelephoneTransport(options: TelephoneTransportOptions): Promise<TelephoneTransport> {
  const transport = new Transport(options);
  await transport.listen();
  return transport;
}

class Transport implements TelephoneTransport {
  readonly #options: TelephoneTransportOptions;
  readonly #http: Server;
  readonly #sockets = new WebSocketServer({
    noServer: true,
    maxPayload: limits.SOCKET_BYTES_MAX,
    perMessageDeflate: false,
  });
  readonly #streams = new Set<CarrierStream>();
  readonly #desk: SessionDesk<TelephoneCall>;
  /** By the carrier's name of the call. */
  readonly #bySid = new Map<string, TelephoneCall>();
  readonly #ended = new Map<string, EndedCall>();
  readonly #totals = {
    messagesIn: 0,
    messagesOut: 0,
    badMessages: 0,
    lateMessages: 0,
    lost: 0,
    concealedMs: 0,
    clears: 0,
  };
  #timer: TimerHandle | null = null;
  #closing = false;
  #onEmpty: () => void = () => {};

  constructor(options: TelephoneTransportOptions) {
    this.#options = options;
    this.#desk = new SessionDesk<TelephoneCall>(options);
    this.#http = createListener(options.tls, limits.CONNECTIONS_MAX);
    this.#http.on("request", (request, response) => void this.#request(request, response));
    this.#http.on("upgrade", (request, socket, head) => void this.#upgrade(request, socket, head));
  }

  get port(): number {
    return portOf(this.#http);
  }

  get url(): string {
    const { host = "127.0.0.1", tls, publicUrl = "" } = this.#options;
    if (publicUrl !== "") return `${publicUrl.replace(/^http/, "ws")}${STREAM_PATH}`;
    const name = host.includes(":") ? `[${host}]` : host;
    return `${tls === undefined ? "ws" : "wss"}://${name}:${this.port}${STREAM_PATH}`;
  }

  async listen(): Promise<void> {
    // Loads the resampler's module, so that no caller waits for it.
    (await createResampler({ inRateHz: 8_000, outRateHz: 16_000 })).close();
    await listen(this.#http, this.#options.port, this.#options.host ?? "127.0.0.1");
    this.#arm();
  }

  stats(): TelephoneStats {
    const sum = { ...this.#totals };
    for (const stream of this.#streams) addCounts(sum, stream);
    const calls = this.#desk.calls();
    for (const call of calls) addCall(sum, call);
    return {
      ...sum,
      streams: this.#streams.size,
      calls: calls.length,
      sessions: calls.length,
      waiting: calls.filter((call) => !call.attached() && !call.line.callerGone()).length,
      resumed: this.#desk.resumed,
      givenUp: this.#desk.givenUp,
      refused: this.#desk.refused(),
    };
  }

  call(session: string): CallStats | null {
    return this.#desk.find(session)?.stats() ?? null;
  }

  sweep(): void {
    for (const stream of [...this.#streams]) stream.tick();
    for (const call of this.#desk.calls()) call.tick();
  }

  drain(): void {
    this.#desk.drain();
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#timer?.clear();
    for (const call of this.#desk.calls()) call.line.shutDown("draining");
    for (const stream of this.#streams) stream.close(closeCodes.goingAway, "draining: connect elsewhere");
    const closed = new Promise<void>((resolve) => this.#http.close(() => resolve()));
    await this.#emptied();
    for (const stream of [...this.#streams]) stream.terminate();
    this.#http.closeAllConnections();
    await closed;
  }

  async #emptied(): Promise<void> {
    if (this.#streams.size === 0) return;
    const { clock } = this.#options;
    let timer: TimerHandle | undefined;
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
      timer = clock.timerAt(asMonoNs(clock.nowNs() + msToNs(limits.CLOSE_GRACE_MS)), resolve);
    });
    timer?.clear();
  }

  #arm(): void {
    const { clock } = this.#options;
    this.#timer = clock.timerAt(asMonoNs(clock.nowNs() + msToNs(limits.SWEEP_MS)), () => {
      this.sweep();
      if (!this.#closing) this.#arm();
    });
  }

  #request(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { route, policy, authToken } = this.#options;
    return answerWebhook(request, response, {
      route,
      policy,
      authToken,
      origin: httpOf(this.url),
      draining: this.#closing,
      waiting: (callSid) => {
        const call = this.#bySid.get(callSid);
        return call === undefined || call.attached() ? null : { url: this.url, resume: call.options.resumeKey };
      },
      ended: (callSid) => this.#ended.get(callSid) ?? null,
      refused: (name) => this.#desk.count(name),
    });
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    // A peer that resets while it is being answered is no fault of ours.
    socket.on("error", () => {});
    const refused = await this.#upgradeRefusal(request);
    if (refused !== null) {
      this.#desk.count(refused.name);
      return refuseUpgrade(socket, refused);
    }
    this.#sockets.handleUpgrade(request, socket, head, (ws) => this.#connected(ws));
  }

  async #upgradeRefusal(request: IncomingMessage): Promise<UpgradeRefusal | null> {
    if ((request.url ?? "/").split("?", 1)[0] !== STREAM_PATH)
      return { status: "404 Not Found", name: "not_found", remedy: `Connect to ${STREAM_PATH}.` };
    const { connectionsMax = limits.CONNECTIONS_MAX, authToken } = this.#options;
    if (this.#closing || this.#streams.size >= Math.min(connectionsMax, limits.CONNECTIONS_MAX)) {
      return { status: "503 Service Unavailable", name: "capacity_exhausted", remedy: "Try again later." };
    }
    if (authToken === null) return null;
    const token = await authToken().catch(() => "");
    const signature = String(request.headers["x-twilio-signature"] ?? "");
    if (token !== "" && isSignedByTwilio(token, signature, this.url, {})) return null;
    const remedy = "X-Twilio-Signature is not of this account and address: check twilio_auth_token and public_url.";
    return { status: "403 Forbidden", name: "permission_denied", remedy };
  }

  #connected(ws: WebSocket): void {
    const stream: CarrierStream = new CarrierStream(ws, {
      clock: this.#options.clock,
      open: (start, from) => this.#open(start, from),
      refused: (why) => {
        this.#desk.count(why.reason);
        this.#desk.audit("refused", stream.call?.line.claims ?? null, why.reason);
      },
      closed: (gone, code) => this.#gone(gone, code),
    });
    this.#streams.add(stream);
  }

  #gone(stream: CarrierStream, code: number): void {
    this.#streams.delete(stream);
    addCounts(this.#totals, stream);
    if (this.#streams.size === 0) this.#onEmpty();
    const { call } = stream;
    if (call?.detach(stream)) this.#desk.audit("waiting", call.line.claims, `closed with ${code}`);
  }

  #open(start: StartMessage, stream: CarrierStream): Promise<Result<TelephoneCall, Problem>> {
    const { resume } = start.parameters;
    return resume === undefined ? this.#openNew(start, stream) : Promise.resolve(this.#resume(start, resume, stream));
  }

  async #openNew(
    { callSid, parameters }: StartMessage,
    stream: CarrierStream,
  ): Promise<Result<TelephoneCall, Problem>> {
    const token = joinParameter(parameters, "token");
    if (token === "") {
      const remedy = 'Put the route\'s token into the stream: <Parameter name="token" value="…"/>.';
      return err({ reason: "token_invalid", remedy });
    }
    const claims = await this.#desk.verify(token);
    if (!claims.ok) return claims;
    const { clock, jitter = "normal", leadMs = 500, markEveryMs = 100 } = this.#options;
    const { resumeWithinMs = 10_000 } = this.#options;
    const opened = await this.#desk.open(
      { claims: claims.value, token, formats: { input: TELEPHONE_FORMAT, output: TELEPHONE_FORMAT } },
      async () =>
        new TelephoneCall({
          clock,
          claims: claims.value,
          audio: await createCallerAudio(TELEPHONE_FORMAT),
          callSid,
          resumeKey: randomBytes(24).toString("base64url"),
          jitterMs: jitterProfiles[jitter],
          leadMs,
          markEveryMs,
          onOver: (call, reason) => this.#over(call, reason),
        }),
      (call, { reconnectMs = resumeWithinMs }) => {
        call.resumeWithinMs = Math.min(resumeWithinMs, reconnectMs, shared.RESUME_WITHIN_MS);
        this.#bySid.set(callSid, call);
        // A stream that went while the session was being opened: it ends as any caller's who hangs up.
        if (!stream.attachTo(call)) call.line.connected();
      },
    );
    if (opened.ok && !opened.value.attached()) opened.value.line.shutDown("caller_hangup");
    return opened;
  }

  /** The carrier opens another stream for a call whose first was cut. */
  #resume({ callSid }: StartMessage, key: string, stream: CarrierStream): Result<TelephoneCall, Problem> {
    const call = this.#bySid.get(callSid);
    const [said, own] = [Buffer.from(key), Buffer.from(call?.options.resumeKey ?? "")];
    if (call === undefined || said.length !== own.length || !timingSafeEqual(said, own)) {
      return err({ reason: "session_not_found", remedy: "The call is over: answer it anew." });
    }
    stream.attachTo(call);
    this.#desk.resumed += 1;
    this.#desk.audit("resumed", call.line.claims, "");
    return ok(call);
  }

  #over(call: TelephoneCall, reason: string): void {
    addCall(this.#totals, call);
    const { callSid } = call.options;
    if (this.#bySid.get(callSid) === call) this.#bySid.delete(callSid);
    const { tenant, session } = call.line.claims;
    // Of callers who have hung up nothing more is asked.
    if (!call.line.callerGone()) this.#ended.set(callSid, { tenant, session, reason });
    const [oldest] = this.#ended.keys();
    if (this.#ended.size > limits.ENDED_MAX && oldest !== undefined) this.#ended.delete(oldest);
    this.#desk.over(call, reason);
  }
}

/** Of the webhooks beside the streams: `https://host[:port]`. */
function httpOf(url: string): string {
  return new URL(url.replace(/^ws/, "http")).origin;
}

function addCounts(sum: StreamCounts, { counts }: CarrierStream): void {
  for (const name of Object.keys(counts) as (keyof StreamCounts)[]) sum[name] += counts[name];
}

function addCall(sum: { lost: number; concealedMs: number; clears: number }, call: TelephoneCall): void {
  const { jitter, output } = call.stats();
  sum.lost += jitter.lost;
  sum.concealedMs += jitter.concealedMs;
  sum.clears += output.clears;
}
