/** What stands between the wire and every handler of the Connect stack, from the outside in. */
import { randomUUID } from "node:crypto";
import { performance } from "node:perf_hooks";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type Interceptor, type StreamRequest, type UnaryRequest } from "@connectrpc/connect";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { validate } from "@rspp/wire/validate";
import { reachedKey, withCode } from "./error-body.ts";
import { errorRule, fromWireError, noSuchRpc, RpcError, rpcError, toConnectError, toRpcError } from "./errors.ts";
import { limits } from "./limits.ts";
import { describeFailure, describeMessage, type Log } from "./log.ts";
import type { RpcSpan, RpcTracer } from "./tracing.ts";

type AnyRequest = UnaryRequest | StreamRequest;

export interface CallOptions {
  /** Service name in errors, e.g. `registry`. */
  readonly domain: string;
  readonly log: Log;
  readonly tracer: RpcTracer;
  readonly messageBytesMax: number;
}

/** One call: its span, its log line, and errors of the catalogue whatever was thrown. */
export function callInterceptor(options: CallOptions): Interceptor {
  return (next) => async (request) => {
    const call = new Call(options, request);
    request.contextValues.set(reachedKey, true);
    const received = request.stream ? { ...request, message: readable(request.message, options) } : request;
    try {
      const response = await call.span.run(() => next(received));
      if (!response.stream) {
        call.finish(null);
        return response;
      }
      return { ...response, message: call.watch(response.message) };
    } catch (failure) {
      throw call.fail(failure);
    }
  };
}

/** The library calls bytes that it cannot read an internal error, and tells no bound; of a stream they are seen here first. */
async function* readable<T>(messages: AsyncIterable<T>, options: CallOptions): AsyncIterable<T> {
  const { domain, messageBytesMax } = options;
  try {
    yield* messages;
  } catch (failure) {
    if (!(failure instanceof ConnectError)) throw failure;
    if (failure.code === Code.Internal) throw rpcError(ErrorReason.MALFORMED_FRAME, { domain, cause: failure });
    if (failure.code !== Code.ResourceExhausted) throw failure;
    const metadata = { bytes_max: String(messageBytesMax) };
    throw rpcError(ErrorReason.MESSAGE_TOO_LARGE, { domain, metadata, cause: failure });
  }
}

class Call {
  readonly span: RpcSpan;
  readonly #options: CallOptions;
  readonly #name: string;
  readonly #startMs = performance.now();
  #over = false;

  constructor(options: CallOptions, request: AnyRequest) {
    this.#options = options;
    this.#name = `${request.service.typeName}/${request.method.name}`;
    const { typeName: service } = request.service;
    this.span = options.tracer.start({ side: "server", service, method: request.method.name, headers: request.header });
    if (!request.stream && options.log.isLevelEnabled("debug")) {
      const fields = { rpc: this.#name, request: describeMessage(request.method.input, request.message) };
      options.log.debug(fields, "rpc received");
    }
  }

  async *watch<T>(messages: AsyncIterable<T>): AsyncIterable<T> {
    try {
      yield* messages;
      this.finish(null);
    } catch (failure) {
      throw this.fail(failure);
    } finally {
      // The client went away while a message was on its way to it.
      this.finish(null);
    }
  }

  fail(failure: unknown): ConnectError {
    if (failure instanceof ConnectError && failure.code === Code.Canceled) {
      this.finish(null);
      return failure;
    }
    if (
      failure instanceof ConnectError &&
      failure.code === Code.Unimplemented &&
      !(failure.cause instanceof RpcError)
    ) {
      return this.#elsewhere();
    }
    const known = toRpcError(failure, this.#options.domain, randomUUID());
    this.finish(known);
    return toConnectError(known);
  }

  /** A service may have calls that another port of it serves. */
  #elsewhere(): ConnectError {
    const known = noSuchRpc(this.#options.domain);
    this.finish(known);
    return withCode(toConnectError(known), Code.Unimplemented);
  }

  finish(error: RpcError | null): void {
    if (this.#over) return;
    this.#over = true;
    const reason = error === null ? null : errorRule(error.reason).name;
    this.span.end(reason);
    const fields = { rpc: this.#name, duration_ms: Math.round((performance.now() - this.#startMs) * 1000) / 1000 };
    if (error === null) this.#options.log.debug(fields, "rpc finished");
    else {
      const facts = {
        ...fields,
        grpc_code: Code[error.code],
        metadata: error.detail.metadata,
        ...describeFailure(error),
      };
      if (error.code === Code.Internal) this.#options.log.error(facts, "rpc failed");
      else this.#options.log.info(facts, "rpc refused");
    }
  }
}

export interface DeadlineOptions {
  readonly domain: string;
  /** For calls that ask for none. */
  readonly defaultMs: number;
  /** For all calls but streams; a later deadline of the caller is cut to it. */
  readonly maxMs: number;
}

/** Every unary call ends by its deadline, whether or not its handler looks at the signal. */
export function deadlineInterceptor(options: DeadlineOptions): Interceptor {
  return (next) => (request) => {
    if (request.stream) return next(request);
    const asked = request.header.has("grpc-timeout") || request.header.has("connect-timeout-ms");
    const deadline = AbortSignal.timeout(asked ? options.maxMs : options.defaultMs);
    const signal = AbortSignal.any([request.signal, deadline]);
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        const late = deadline.aborted || isDeadline(request.signal.reason);
        const error = rpcError(ErrorReason.DEADLINE_EXCEEDED, { domain: options.domain });
        reject(late ? error : new ConnectError("the caller went away", Code.Canceled));
      };
      signal.addEventListener("abort", onAbort, { once: true });
      next({ ...request, signal })
        .then(resolve, reject)
        .finally(() => signal.removeEventListener("abort", onAbort));
    });
  };
}

function isDeadline(reason: unknown): boolean {
  return reason instanceof ConnectError && reason.code === Code.DeadlineExceeded;
}

/** A caller who opens a stream to send says something in time; a stream that nothing came by costs no place for ever. */
export function firstMessageInterceptor(domain: string): Interceptor {
  return (next) => (request) => {
    const sends = request.method.methodKind === "bidi_streaming" || request.method.methodKind === "client_streaming";
    return next(request.stream && sends ? { ...request, message: begun(request.message, domain) } : request);
  };
}

async function* begun<T>(messages: AsyncIterable<T>, domain: string): AsyncIterable<T> {
  const reading = messages[Symbol.asyncIterator]();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const silent = () => rpcError(ErrorReason.OUT_OF_ORDER, { domain, metadata: { expected: "a first message" } });
    timer = setTimeout(() => reject(silent()), limits.RPC_FIRST_MESSAGE_MS);
  });
  // The first read is lost with the stream when it comes too late.
  const first = reading.next();
  first.catch(() => undefined);
  const one = await Promise.race([first, late]).finally(() => clearTimeout(timer));
  if (one.done === true) return;
  yield one.value;
  yield* { [Symbol.asyncIterator]: () => reading };
}

/** Streams end when the server stops; calls that run may finish. */
export function shutdownInterceptor(shutdown: AbortSignal): Interceptor {
  return (next) => (request) =>
    next(request.stream ? { ...request, signal: AbortSignal.any([request.signal, shutdown]) } : request);
}

/** protovalidate on every request, the messages of streams included: INVALID_ARGUMENT that names the field. */
export function validationInterceptor(domain: string): Interceptor {
  return (next) => (request) => {
    const schema: DescMessage = request.method.input;
    if (request.stream) return next({ ...request, message: checked(schema, request.message, domain) });
    check(schema, request.message, domain);
    return next(request);
  };
}

async function* checked<D extends DescMessage>(schema: D, messages: AsyncIterable<MessageShape<D>>, domain: string) {
  for await (const message of messages) {
    check(schema, message, domain);
    yield message;
  }
}

function check<D extends DescMessage>(schema: D, message: MessageShape<D>, domain: string): void {
  const valid = validate(schema, message);
  if (!valid.ok) throw fromWireError(valid.error, domain);
}
