/** Clients of the API servers: a deadline on every call, repeats only where they are safe, errors of the catalogue. */
import type { DescMethod, DescService, Message } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { type Client, Code, ConnectError, createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import { createUniversalHandlerClient, type UniversalHandler } from "@connectrpc/connect/protocol";
import { createTransport } from "@connectrpc/connect/protocol-connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { errorRule, fromConnectError, RpcError } from "./errors.ts";
import { limits } from "./limits.ts";
import { type ClientTls, clientTlsOptions } from "./tls.ts";
import { attachToken } from "./token-interceptor.ts";
import { noTracer, type RpcTracer } from "./tracing.ts";

export interface RpcClientOptions {
  /** e.g. `http://127.0.0.1:7000`; https with `tls`. */
  readonly baseUrl: string;
  /** Who is called, for errors that come without a detail, e.g. `registry`. */
  readonly domain: string;
  readonly tls?: ClientTls;
  /** Of a unary call, all attempts together. */
  readonly deadlineMs?: number;
  readonly token?: () => string | null | Promise<string | null>;
  readonly tracer?: RpcTracer;
  /** 1 for no repeats. */
  readonly attemptsMax?: number;
  readonly messageBytesMax?: number;
  /** 0 to 1, spreads the waits between attempts. */
  random?(): number;
}

export interface RpcConnection {
  /** Failures are {@link RpcError}, of streams too. */
  client<S extends DescService>(service: S): Client<S>;
  readonly transport: Transport;
}

/**
 * Calls the handlers of a server in this process ({@link RpcServer.handlers}), without a socket: the same messages, checks
 * and errors.
 */
export function connectDirect(handlers: readonly UniversalHandler[], options: CallerOptions): RpcConnection {
  const messageBytesMax = options.messageBytesMax ?? limits.RPC_MESSAGE_BYTES_MAX;
  const transport = createTransport({
    httpClient: createUniversalHandlerClient([...handlers]),
    baseUrl: "https://in-process",
    useBinaryFormat: true,
    acceptCompression: [],
    sendCompression: null,
    compressMinBytes: Number.MAX_SAFE_INTEGER,
    readMaxBytes: messageBytesMax,
    writeMaxBytes: messageBytesMax,
    interceptors: interceptorsOf(options),
  });
  return { transport, client: (service) => createClient(service, transport) };
}

/** One HTTP/2 connection for any number of clients; it is opened with the first call and again after a loss. */
export function connectRpc(options: RpcClientOptions): RpcConnection {
  const { baseUrl, tls, messageBytesMax = limits.RPC_MESSAGE_BYTES_MAX } = options;
  const transport = createGrpcTransport({
    baseUrl,
    acceptCompression: [],
    readMaxBytes: messageBytesMax,
    writeMaxBytes: messageBytesMax,
    interceptors: interceptorsOf(options),
    ...(tls === undefined ? {} : { nodeOptions: clientTlsOptions(tls) }),
  });
  return { transport, client: (service) => createClient(service, transport) };
}

type CallerOptions = Omit<RpcClientOptions, "baseUrl" | "tls">;

function interceptorsOf(options: CallerOptions): Interceptor[] {
  const { token } = options;
  return [clientErrors(options), retries(options), ...(token === undefined ? [] : [attachToken(token)])];
}

/** Outermost: one span per call, and every failure as an error of the catalogue behind a ConnectError. */
function clientErrors(options: CallerOptions): Interceptor {
  const { domain, tracer = noTracer } = options;
  return (next) => async (request) => {
    const { typeName: service } = request.service;
    const span = tracer.start({ side: "client", service, method: request.method.name, headers: request.header });
    const fail = (failure: unknown): ConnectError => {
      const error = asRpcError(failure, domain);
      span.end(errorRule(error.reason).name);
      return new ConnectError(error.message, error.code, undefined, undefined, error);
    };
    try {
      const response = await span.run(() => next(request));
      if (response.stream) return { ...response, message: watched(response.message, fail, () => span.end(null)) };
      span.end(null);
      return response;
    } catch (failure) {
      throw fail(failure);
    }
  };
}

async function* watched<T>(messages: AsyncIterable<T>, fail: (failure: unknown) => unknown, done: () => void) {
  let failed = false;
  try {
    yield* messages;
  } catch (failure) {
    failed = true;
    throw fail(failure);
  } finally {
    if (!failed) done();
  }
}

function asRpcError(failure: unknown, domain: string): RpcError {
  if (failure instanceof RpcError) return failure;
  return fromConnectError(ConnectError.from(failure), domain);
}

/** What a client got, with reason, metadata and remedy; for callers that catch. */
export function rpcErrorOf(failure: unknown, domain: string): RpcError {
  return asRpcError(failure, domain);
}

/**
 * A call may be repeated when its contract says so, when it carries a key under which repeats are recognised, or when it only
 * reads, by its name (AIP-131, AIP-132).
 */
export function isIdempotent(method: DescMethod, message: Message): boolean {
  if (method.idempotency !== MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN) return true;
  if ("idempotencyKey" in message && typeof message.idempotencyKey === "string" && message.idempotencyKey !== "") {
    return true;
  }
  return /^(?:Get|List)[A-Z]/.test(method.name);
}

function retries(options: CallerOptions): Interceptor {
  const { domain, deadlineMs = limits.RPC_DEADLINE_DEFAULT_MS, random = Math.random } = options;
  const attemptsMax = Math.min(options.attemptsMax ?? limits.RPC_ATTEMPTS_MAX, limits.RPC_ATTEMPTS_MAX);
  return (next) => async (request) => {
    if (request.stream) return next(request);
    const deadline = AbortSignal.timeout(deadlineMs);
    const signal = AbortSignal.any([request.signal, deadline]);
    const mayRepeat = isIdempotent(request.method, request.message);
    // The server learns the deadline too, so that it stops working for nobody.
    if (!request.header.has("grpc-timeout")) request.header.set("grpc-timeout", `${deadlineMs}m`);
    for (let attempt = 1; ; attempt++) {
      try {
        return await next({ ...request, signal });
      } catch (failure) {
        if (deadline.aborted) throw fromConnectError(new ConnectError("late", Code.DeadlineExceeded), domain);
        const error = asRpcError(failure, domain);
        if (!mayRepeat || !error.retryable || attempt >= attemptsMax || request.signal.aborted) throw error;
        await pause(waitMs(attempt, error, random()), signal);
      }
    }
  };
}

/** Full jitter over a doubling bound, never shorter than the server asked for. */
function waitMs(attempt: number, error: RpcError, spread: number): number {
  const cap = Math.min(limits.RPC_BACKOFF_MAX_MS, limits.RPC_BACKOFF_FIRST_MS * 2 ** (attempt - 1));
  return Math.max(error.detail.retryAfterMs, cap * spread);
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
