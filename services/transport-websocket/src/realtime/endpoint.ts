/**
 * `/v1/realtime` (F-084, F-086): an OpenAI Realtime client finds here what it knows, and a session of the platform behind it.
 * The key is a route's token; with `routes`, also an access token of somebody who may ask for routes.
 */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { err, ok, type Result } from "@rspp/base/result";
import type { Clock } from "@rspp/ports/clock";
import type { SessionOpener, TokenClaims } from "@rspp/ports/session-opener";
import { createCallerAudio } from "@rspp/transport/audio-in";
import type { AuditEntry } from "@rspp/transport/audit";
import type { Problem } from "@rspp/transport/problem";
import { SessionDesk } from "@rspp/transport/session-desk";
import type { TokenVerifier } from "@rspp/transport/token-verifier";
import { WebSocketServer } from "ws";
import type { ConnectionCounts } from "../connection.ts";
import { closeCodes } from "../refusal.ts";
import { RealtimeCall, type RealtimeLink } from "./call.ts";
import { RealtimeConnection } from "./connection.ts";
import { type Credentials, credentialsOf } from "./credentials.ts";
import { realtimeLimits as limits } from "./limits.ts";
import { openRefusal, type RealtimeRefusal } from "./problem.ts";
import { DEFAULT_CONFIG, formatOf } from "./session-config.ts";

export const REALTIME_PATH = "/v1/realtime";

/** A route's token for a model of somebody who shows `key`; refused as the registry refuses it. */
export type RealtimeRoutes = (asked: { key: string; model: string }) => Promise<Result<string, Problem>>;

export interface RealtimeOptions {
  readonly clock: Clock;
  readonly verifier: TokenVerifier;
  readonly openSession: SessionOpener;
  readonly sessionsMax?: number;
  readonly audit?: (entry: AuditEntry) => void;
  readonly routes?: RealtimeRoutes;
  /** Told where a client asks for another model than its token admits to. */
  readonly warn?: (fields: Readonly<Record<string, string>>, text: string) => void;
}

export class RealtimeEndpoint {
  readonly #options: RealtimeOptions;
  readonly #sockets: WebSocketServer;
  readonly #connections = new Set<RealtimeConnection>();
  readonly desk: SessionDesk<RealtimeCall>;
  readonly #totals: ConnectionCounts = { framesIn: 0, framesOut: 0, badFrames: 0, bytesIn: 0, bytesOut: 0, writeNs: 0 };
  #onEmpty: () => void = () => {};

  constructor(options: RealtimeOptions) {
    this.#options = options;
    this.desk = new SessionDesk<RealtimeCall>(options);
    this.#sockets = new WebSocketServer({
      noServer: true,
      maxPayload: limits.EVENT_BYTES_MAX,
      perMessageDeflate: false,
      // Never the one that holds the key.
      handleProtocols: (offered) => [...offered].find((name) => name === "realtime") ?? false,
    });
  }

  /** Takes the socket, whoever it is: a client learns from an event, not from a handshake, what is wrong with its key. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const credentials = credentialsOf(request);
    this.#sockets.handleUpgrade(request, socket, head, (ws) => {
      let claims: TokenClaims | null = null;
      const connection = new RealtimeConnection(ws, {
        clock: this.#options.clock,
        open: (link) =>
          this.#open(credentials, link, (found) => {
            claims = found;
          }),
        refused: ({ problem }) => {
          this.desk.count(problem.code);
          this.desk.audit("refused", claims, problem.code);
        },
        closed: (gone, code) => this.#gone(gone, code),
      });
      this.#connections.add(connection);
    });
  }

  size(): number {
    return this.#connections.size;
  }

  unopened(): number {
    let waiting = 0;
    for (const connection of this.#connections) if (connection.waiting()) waiting += 1;
    return waiting;
  }

  /** Adds what was counted here. */
  addTo(sum: ConnectionCounts): void {
    for (const counts of [this.#totals, ...[...this.#connections].map((one) => one.counts)])
      for (const name of Object.keys(sum) as (keyof ConnectionCounts)[]) sum[name] += counts[name];
  }

  sweep(): void {
    for (const connection of [...this.#connections]) connection.tick();
    for (const call of this.desk.calls()) call.tick();
  }

  /** Ends all sessions, and says so; resolves when the last connection has gone. */
  close(): Promise<void> {
    for (const call of this.desk.calls()) call.line.shutDown("draining");
    for (const connection of this.#connections) connection.close(closeCodes.goingAway, "draining: connect elsewhere");
    if (this.#connections.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onEmpty = resolve;
    });
  }

  terminate(): void {
    for (const connection of [...this.#connections]) connection.terminate();
  }

  async #open(
    credentials: Result<Credentials, RealtimeRefusal>,
    link: RealtimeLink,
    found: (claims: TokenClaims) => void,
  ): Promise<Result<RealtimeCall, RealtimeRefusal>> {
    if (!credentials.ok) return credentials;
    const { key, model } = credentials.value;
    const admitted = await this.#admit(key, model);
    if (!admitted.ok) return err(openRefusal(admitted.error));
    const { token, claims } = admitted.value;
    found(claims);
    if (model !== "" && model !== claims.pipelineVersion && model !== claims.pipelineVersion.split("@", 1)[0]) {
      const fields = { session: claims.session, tenant: claims.tenant, pipeline: claims.pipelineVersion };
      this.#options.warn?.(fields, "a Realtime client asked for another model than its token admits to");
    }
    const format = formatOf(DEFAULT_CONFIG.input);
    const { clock } = this.#options;
    const opened = await this.desk.open(
      { claims, token, formats: { input: format, output: formatOf(DEFAULT_CONFIG.output) } },
      async () => {
        const audio = await createCallerAudio(format);
        const onOver = (call: RealtimeCall, reason: string): void => this.desk.over(call, reason);
        return new RealtimeCall({ clock, claims, audio, link, onOver });
      },
      (call) => call.begin(),
    );
    return opened.ok ? opened : err(openRefusal(opened.error));
  }

  async #admit(key: string, model: string): Promise<Result<{ token: string; claims: TokenClaims }, Problem>> {
    const claims = await this.desk.verify(key);
    if (claims.ok) return ok({ token: key, claims: claims.value });
    const { routes } = this.#options;
    if (routes === undefined || claims.error.reason !== "token_invalid") return claims;
    if (model === "") return err({ reason: "not_found", remedy: "Name the pipeline in ?model=." });
    const token = await routes({ key, model });
    if (!token.ok) return token;
    const routed = await this.desk.verify(token.value);
    return routed.ok ? ok({ token: token.value, claims: routed.value }) : routed;
  }

  #gone(connection: RealtimeConnection, code: number): void {
    this.#connections.delete(connection);
    for (const name of Object.keys(this.#totals) as (keyof ConnectionCounts)[])
      this.#totals[name] += connection.counts[name];
    // 1005: closed without a code, as most clients of this protocol do.
    connection.call?.detach(code === closeCodes.done || code === 1005 || code === closeCodes.goingAway);
    if (this.#connections.size === 0) this.#onEmpty();
  }
}
