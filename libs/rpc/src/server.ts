/** API servers: gRPC, gRPC-Web and Connect on one port, over HTTP/1.1 and HTTP/2, plain or TLS (architecture.md, Contracts). */
import type { ServerResponse } from "node:http";
import { constants } from "node:http2";
import { Code, ConnectError, createConnectRouter, type Interceptor } from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import {
  type Acceptor,
  answerTrailersOnly,
  type NodeRequest,
  type NodeResponse,
  plainAcceptor,
  tlsAcceptor,
} from "./acceptor.ts";
import type { CallGuard } from "./call-guard.ts";
import { peerContext } from "./caller.ts";
import { withCode, withErrorDetails } from "./error-body.ts";
import { noSuchRpc, toConnectError } from "./errors.ts";
import { Health, healthRoute } from "./health.ts";
import {
  callInterceptor,
  deadlineInterceptor,
  firstMessageInterceptor,
  shutdownInterceptor,
  validationInterceptor,
} from "./interceptors.ts";
import { limits } from "./limits.ts";
import { type Listener, type ListenOptions, listen, within } from "./listener.ts";
import { type Log, silentLog } from "./log.ts";
import { Reflection, reflectionRoutes } from "./reflection.ts";
import type { RpcRoute } from "./route.ts";
import { certificateNames, type ServerTls } from "./tls.ts";
import { noTracer, type RpcTracer } from "./tracing.ts";

export interface RpcServerOptions extends ListenOptions {
  /** Service name in errors, e.g. `registry`. */
  readonly domain: string;
  readonly routes: readonly RpcRoute[];
  readonly tls?: ServerTls;
  readonly log?: Log;
  readonly tracer?: RpcTracer;
  /** Ready at once unless one is given and says otherwise. */
  readonly health?: Health;
  /** Who may call; all by default, which is for loopback alone. */
  readonly guard?: CallGuard;
  /** Between deadline and validation, after the guard. */
  readonly interceptors?: readonly Interceptor[];
  readonly messageBytesMax?: number;
  readonly streamsPerConnectionMax?: number;
  readonly deadlineDefaultMs?: number;
  readonly deadlineMaxMs?: number;
  /** Plain HTTP paths beside the RPCs, e.g. `/metrics`; true when it answered. */
  readonly http?: (request: NodeRequest, response: NodeResponse) => boolean;
}

export interface RpcServer {
  readonly host: string;
  readonly port: number;
  readonly health: Health;
  readonly connections: () => number;
  /** For callers in this process: {@link connectDirect}. */
  readonly handlers: readonly UniversalHandler[];
  /**
   * Says not ready, takes no new calls, tells streams to end, waits for what runs, then ends it. True when nothing had to
   * be ended.
   */
  stop(graceMs?: number): Promise<boolean>;
}

/**
 * Serves `routes` with health and reflection until stopped.
 * @throws RpcError `config_invalid` when the address cannot be bound.
 */
export async function startRpcServer(options: RpcServerOptions): Promise<RpcServer> {
  const shutdown = new AbortController();
  const services = options.routes.map(({ service }) => service);
  const health = options.health ?? new Health(services.map(({ typeName }) => typeName));
  if (options.health === undefined) health.setReady(true);
  const all = [...options.routes, healthRoute(health), ...reflectionRoutes(new Reflection(services))];
  const running = new Running();
  const handlers = handlersOf(options, all, shutdown.signal);
  const handle = requestHandler(options, handlers, health, running);
  const acceptor =
    options.tls === undefined ? plainAcceptor(options, handle) : tlsAcceptor(options, options.tls, handle);
  const listener = await listen(options.domain, options, acceptor.accept);
  let stopped: Promise<boolean> | undefined;
  return {
    host: listener.host,
    port: listener.port,
    health,
    connections: listener.connections,
    handlers: [...handlers.values()],
    stop: (graceMs = limits.RPC_STOP_GRACE_MS) => {
      stopped ??= stopServer({ listener, acceptor, running, health, shutdown }, graceMs);
      return stopped;
    },
  };
}

/** Requests being answered. */
class Running {
  #count = 0;
  #idle: (() => void)[] = [];

  enter(response: NodeResponse): void {
    this.#count++;
    response.once("close", () => {
      this.#count--;
      if (this.#count === 0) for (const resolve of this.#idle.splice(0)) resolve();
    });
  }

  idle(): Promise<void> {
    return this.#count === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }
}

interface Stopping {
  listener: Listener;
  acceptor: Acceptor;
  running: Running;
  health: Health;
  shutdown: AbortController;
}

async function stopServer(parts: Stopping, graceMs: number): Promise<boolean> {
  const { listener, acceptor, running, health, shutdown } = parts;
  health.setReady(false, ["stopping"]);
  const gone = listener.stopListening();
  acceptor.drain();
  shutdown.abort(new ConnectError("the server stops", Code.Unavailable));
  const ended = await within(running.idle(), graceMs);
  // The last answers have a moment to leave their sockets; idle connections kept alive have nothing to say.
  await new Promise((resolve) => setImmediate(resolve));
  acceptor.drain();
  if (ended) await within(gone, flushMs);
  acceptor.destroy();
  listener.destroyAll();
  return ended;
}

const flushMs = 250;

function requestHandler(
  options: RpcServerOptions,
  handlers: ReadonlyMap<string, UniversalHandler>,
  health: Health,
  running: Running,
): (request: NodeRequest, response: NodeResponse) => void {
  const { domain, log = silentLog } = options;
  return (request, response) => {
    running.enter(response);
    const path = request.url?.split("?", 2)[0] ?? "";
    const handler = handlers.get(path);
    if (handler === undefined) {
      if (!answerProbe(path, health, response) && options.http?.(request, response) !== true) {
        answerUnknown(domain, request, response);
      }
      return;
    }
    answerRpc(handler, request, response).catch(() => {
      // The connection is gone; the call's own interceptor has told why.
      log.debug({ rpc: path }, "rpc answer not delivered");
    });
  };
}

function handlersOf(
  options: RpcServerOptions,
  routes: readonly RpcRoute[],
  shutdownSignal: AbortSignal,
): Map<string, UniversalHandler> {
  const { domain, log = silentLog, tracer = noTracer, interceptors = [] } = options;
  const maxMs = options.deadlineMaxMs ?? limits.RPC_DEADLINE_MAX_MS;
  const defaultMs = Math.min(maxMs, options.deadlineDefaultMs ?? limits.RPC_DEADLINE_DEFAULT_MS);
  const messageBytesMax = options.messageBytesMax ?? limits.RPC_MESSAGE_BYTES_MAX;
  const router = createConnectRouter({
    // Not set, answers of 1 KiB and more would be compressed: CPU for nothing inside a cluster.
    acceptCompression: [],
    readMaxBytes: messageBytesMax,
    writeMaxBytes: messageBytesMax,
    interceptors: [
      callInterceptor({ domain, log, tracer, messageBytesMax }),
      shutdownInterceptor(shutdownSignal),
      deadlineInterceptor({ domain, defaultMs, maxMs }),
      ...(options.guard === undefined ? [] : [options.guard.interceptor()]),
      ...interceptors,
      firstMessageInterceptor(domain),
      validationInterceptor(domain),
    ],
  });
  for (const { register } of routes) register(router);
  return new Map(
    router.handlers.map((handler) => [handler.requestPath, withErrorDetails(handler, { domain, messageBytesMax })]),
  );
}

async function answerRpc(handler: UniversalHandler, request: NodeRequest, response: NodeResponse): Promise<void> {
  leaveUnread(request);
  const context = peerContext(certificateNames(request.socket));
  const answer = await handler(universalRequestFromNodeRequest(request, response, undefined, context));
  await universalResponseToNodeResponse(answer, response);
}

/**
 * A stream whose answer is whole before all of it was read is ended (RFC 9113 §8.1): else it would wait for its reader, who is
 * gone, and keep one of the few places of its connection.
 */
function leaveUnread(request: NodeRequest): void {
  if (!("stream" in request)) return;
  const { stream } = request;
  const look = (): void => {
    if (stream.destroyed || stream.readableEnded) return;
    // The trailers are on their way: they come after the last of the body.
    if (!stream.closed && stream.state.localClose !== 1) return void setTimeout(look, unreadLookMs).unref();
    if (!stream.closed) stream.close(constants.NGHTTP2_NO_ERROR);
    stream.destroy();
  };
  stream.once("finish", () => setImmediate(look));
}

const unreadLookMs = 20;

/** Both responses take the same arguments; their types do not overlap. */
function reply(response: NodeResponse, status: number, headers: Record<string, string>, body = ""): void {
  const plain = response as ServerResponse;
  plain.writeHead(status, headers);
  plain.end(body);
}

/** F-108: alive as long as it answers, ready as long as its dependencies are there. */
function answerProbe(path: string, health: Health, response: NodeResponse): boolean {
  if (path !== "/livez" && path !== "/readyz") return false;
  const well = path === "/livez" || health.ready;
  const body = well ? { status: "ok" } : { status: "not ready", missing: health.why };
  reply(response, well ? 200 : 503, { "content-type": "application/json" }, JSON.stringify(body));
  return true;
}

function answerUnknown(domain: string, request: NodeRequest, response: NodeResponse): void {
  const type = request.headers["content-type"] ?? "";
  if (!type.startsWith("application/grpc")) {
    const text = "No such path. RPCs are POSTed to /<service>/<method>; reflection lists the services.\n";
    return reply(response, 404, { "content-type": "text/plain" }, text);
  }
  answerTrailersOnly(type, response, withCode(toConnectError(noSuchRpc(domain)), Code.Unimplemented));
}
