/** grpc-js servers for links and invocations: bidirectional streams with `gen` messages, health and reflection. */

import type { DescMessage, DescMethod, DescService, MessageShape } from "@bufbuild/protobuf";
import {
  type ConnectionInjector,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Server,
  type ServerDuplexStream,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { validate } from "@rspp/wire/validate";
import type { CallGuard, GuardedCall } from "./call-guard.ts";
import type { BidiMethod, Duplex, DuplexHandlers } from "./duplex.ts";
import { errorRule, fromWireError, type RpcError, rpcError, toRpcError } from "./errors.ts";
import { type Decoded, isMalformed, serviceDefinition } from "./grpc-codec.ts";
import { toGrpcStatus } from "./grpc-status.ts";
import { limits } from "./limits.ts";
import { type Listener, type ListenOptions, listen, within } from "./listener.ts";
import { namesOf, type ServerTls, serverCredentials } from "./tls.ts";
import { noTracer, type RpcTracer } from "./tracing.ts";

/** What a handler knows of a call besides its messages. */
export interface CallInfo {
  /** `address:port`. */
  readonly peer: string;
  readonly method: string;
  /** A text header, e.g. `authorization`; undefined when it was not sent. */
  header(name: string): string | undefined;
  /** Names in the client's certificate, under mutual TLS. */
  readonly peerNames: readonly string[];
  /** Ends the connection under the call, whatever else runs on it: for streams that no longer take an orderly end. */
  destroyConnection(): void;
  /** For streams that carry many calls: a span of each, and the log of those that fail alone. */
  readonly tracer: RpcTracer;
  onError(error: RpcError): void;
}

export interface GrpcService {
  readonly service: DescService;
  readonly methods: Readonly<Record<string, GrpcMethod>>;
}

/** A handler bound to the server it runs on. */
export type GrpcMethod = (context: ServerContext) => UntypedServiceImplementation[string];

export interface ServerContext {
  readonly domain: string;
  readonly tracer: RpcTracer;
  readonly guard: CallGuard | undefined;
  listener(): Listener | undefined;
  /** Told of every failure before it is answered; for the log. */
  onError(method: string, error: RpcError): void;
}

export interface GrpcServerOptions extends ListenOptions {
  /** Service name in errors, e.g. `runtime`. */
  readonly domain: string;
  readonly services: readonly GrpcService[];
  readonly tls?: ServerTls;
  readonly messageBytesMax?: number;
  readonly streamsPerConnectionMax?: number;
  readonly tracer?: RpcTracer;
  /** Who may call; all by default, which is for loopback alone. Streams bind sessions by themselves: only services open them. */
  readonly guard?: CallGuard;
  readonly onError?: (method: string, error: RpcError) => void;
}

export interface GrpcServer {
  readonly host: string;
  readonly port: number;
  readonly connections: () => number;
  /** Takes no new calls, waits for the running ones, then ends them. True when none had to be ended. */
  stop(graceMs?: number): Promise<boolean>;
}

/**
 * Serves `services` until stopped.
 * @throws RpcError `config_invalid` when the address cannot be bound.
 */
export async function startGrpcServer(options: GrpcServerOptions): Promise<GrpcServer> {
  const { messageBytesMax = limits.STREAM_MESSAGE_BYTES_MAX } = options;
  const server = new Server({
    "grpc.max_receive_message_length": messageBytesMax,
    "grpc.max_send_message_length": messageBytesMax,
    "grpc.max_concurrent_streams": options.streamsPerConnectionMax ?? limits.RPC_STREAMS_PER_CONNECTION_MAX,
    "grpc.max_connection_idle_ms": limits.RPC_IDLE_CONNECTION_MS,
    // Pings of the server find dead clients; a slow one gets time, since pings queue behind media.
    "grpc.keepalive_time_ms": limits.LINK_MEDIA_PING_MS,
    "grpc.keepalive_timeout_ms": limits.LINK_MEDIA_PING_TIMEOUT_MS,
  });
  let listener: Listener | undefined;
  const onError = options.onError ?? ((): void => undefined);
  const { domain, tracer = noTracer, guard } = options;
  const context: ServerContext = { domain, tracer, guard, listener: () => listener, onError };
  for (const { service, methods } of options.services) {
    const bound = Object.entries(methods).map(([name, method]) => [name, method(context)] as const);
    server.addService(serviceDefinition(service), Object.fromEntries(bound));
  }
  const injector = server.createConnectionInjector(serverCredentials(options.tls));
  listener = await listen(options.domain, options, (socket) => injector.injectConnection(socket));
  return {
    host: listener.host,
    port: listener.port,
    connections: listener.connections,
    stop: stopper(server, injector, listener),
  };
}

function stopper(server: Server, injector: ConnectionInjector, listener: Listener): GrpcServer["stop"] {
  let stopped: Promise<boolean> | undefined;
  const stop = async (graceMs: number): Promise<boolean> => {
    const gone = listener.stopListening();
    // Each session ends when its last call has; the injector ends those that are late by itself.
    injector.drain(graceMs);
    const ended = await within(gone, graceMs);
    server.forceShutdown();
    listener.destroyAll();
    return ended;
  };
  return (graceMs = limits.RPC_STOP_GRACE_MS) => {
    stopped ??= stop(graceMs);
    return stopped;
  };
}

export interface BidiOptions {
  /** protovalidate on every message, as on the Connect stack; off where each part of a message is checked by itself. */
  readonly validate?: boolean;
}

/** A bidirectional method. `accept` sees a call and gives what takes its messages, or throws an RpcError to refuse it. */
export function bidiMethod<I extends DescMessage, O extends DescMessage>(
  method: BidiMethod<I, O>,
  accept: (duplex: Duplex<MessageShape<O>>, info: CallInfo) => DuplexHandlers<MessageShape<I>>,
  options: BidiOptions = {},
): GrpcMethod {
  return (context) =>
    (call: ServerDuplexStream<Decoded<MessageShape<I>>, MessageShape<O>>): void => {
      const duplex = serverDuplex(context, method, call);
      let handlers: DuplexHandlers<MessageShape<I>>;
      try {
        const refused = context.guard?.streamRefusal(guardedCall(method, call)) ?? null;
        if (refused !== null) throw refused;
        handlers = accept(duplex, infoOf(context, method, call));
      } catch (failure) {
        duplex.fail(toRpcError(failure, context.domain));
        return;
      }
      const span = context.tracer.start({
        side: "server",
        service: method.parent.typeName,
        method: method.name,
        headers: headersOf(call),
      });
      const { onMessage, onEnd, onClosed } = handlers;
      const checks = options.validate !== false;
      listenTo(context, call, duplex, {
        onMessage: (message) => {
          const valid = checks ? validate(method.input, message) : null;
          if (valid !== null && !valid.ok) throw fromWireError(valid.error, context.domain);
          onMessage(message);
        },
        onEnd: () => onEnd?.(),
        onClosed: (error) => {
          span.end(error === null ? null : errorRule(error.reason).name);
          onClosed?.(error);
        },
      });
    };
}

/** Text headers alone, for traces. */
function headersOf<In, Out>(call: ServerDuplexStream<In, Out>): Headers {
  const text = Object.entries(call.metadata.getMap()).filter(([, value]) => typeof value === "string");
  return new Headers(text as [string, string][]);
}

interface OwnedDuplex<Out> extends Duplex<Out> {
  /** Why this end failed it; null when it did not. */
  failure: RpcError | null;
  markClosed(): void;
}

function serverDuplex<In, Out>(
  context: ServerContext,
  method: DescMethod,
  call: ServerDuplexStream<In, Out>,
): OwnedDuplex<Out> {
  let closed = false;
  const duplex: OwnedDuplex<Out> = {
    failure: null,
    get closed() {
      return closed;
    },
    write(message, written) {
      if (closed || call.writableEnded) written?.();
      else call.write(message, () => written?.());
    },
    end() {
      if (!closed) call.end();
    },
    fail(error) {
      if (closed || duplex.failure !== null) return;
      duplex.failure = error;
      context.onError(method.name, error);
      call.emit("error", toGrpcStatus(error));
    },
    markClosed() {
      closed = true;
    },
  };
  return duplex;
}

function listenTo<In, Out>(
  context: ServerContext,
  call: ServerDuplexStream<Decoded<In>, Out>,
  duplex: OwnedDuplex<Out>,
  handlers: DuplexHandlers<In>,
): void {
  const close = (error: RpcError | null): void => {
    if (duplex.closed) return;
    duplex.markClosed();
    handlers.onClosed?.(error);
  };
  // Readers never pause: the message goes to its taker at once, which bounds what it keeps (architecture.md, decision 6).
  call.on("data", (message: Decoded<In>) => {
    if (duplex.closed || duplex.failure !== null) return;
    if (isMalformed(message)) {
      duplex.fail(rpcError(ErrorReason.MALFORMED_FRAME, { domain: context.domain }));
      return;
    }
    try {
      handlers.onMessage(message as In);
    } catch (failure) {
      duplex.fail(toRpcError(failure, context.domain));
    }
  });
  call.on("end", () => {
    if (!duplex.closed) handlers.onEnd?.();
  });
  call.on("cancelled", () => close(duplex.failure ?? rpcError(ErrorReason.DEPENDENCY_UNAVAILABLE, { domain: "peer" })));
  call.on("finish", () => close(duplex.failure));
  call.on("error", () => close(duplex.failure));
}

function infoOf<In, Out>(context: ServerContext, method: DescMethod, call: ServerDuplexStream<In, Out>): CallInfo {
  const peer = call.getPeer();
  return {
    peer,
    method: method.name,
    header: (name) => {
      const value = call.metadata.get(name)[0];
      return typeof value === "string" ? value : undefined;
    },
    get peerNames() {
      return namesOf(call.getAuthContext().sslPeerCertificate);
    },
    destroyConnection: () => context.listener()?.socketOf(peer)?.destroy(),
    tracer: context.tracer,
    onError: (error) => context.onError(method.name, error),
  };
}

function guardedCall(method: DescMethod, call: Pick<AnyCall, "metadata" | "getAuthContext">): GuardedCall {
  const [authorization] = call.metadata.get("authorization");
  return {
    method,
    authorization: typeof authorization === "string" ? authorization : null,
    peer: { names: namesOf(call.getAuthContext().sslPeerCertificate), inProcess: false },
  };
}

/** Runs `handle` once it is known who calls, and that he may; at once where nobody is asked. Rejects with an RpcError. */
async function admitted<I extends DescMessage>(
  { guard }: ServerContext,
  method: DescMethod & { input: I },
  call: Pick<AnyCall, "metadata" | "getAuthContext"> & { readonly request: Decoded<MessageShape<I>> },
  handle: () => void,
): Promise<void> {
  if (guard === undefined) return handle();
  const { caller, check } = await guard.admit(guardedCall(method, call));
  const { request } = call;
  if (!isMalformed(request)) check(request);
  handle();
  if (!isMalformed(request)) await guard.changed(method, caller, request);
}

type AnyCall = ServerDuplexStream<unknown, unknown>;

/** A unary method. */
export function unaryMethod<I extends DescMessage, O extends DescMessage>(
  method: DescMethod & { methodKind: "unary"; input: I; output: O },
  handle: (request: MessageShape<I>) => MessageShape<O>,
): GrpcMethod {
  return (context): handleUnaryCall<Decoded<MessageShape<I>>, MessageShape<O>> =>
    (call, callback) => {
      let answer: MessageShape<O> | undefined;
      const work = admitted(context, method, call, () => {
        answer = handle(checked(context, method, call.request));
      });
      work.then(
        () => callback(null, answer),
        (failure: unknown) => {
          const error = toRpcError(failure, context.domain);
          context.onError(method.name, error);
          callback(toGrpcStatus(error));
        },
      );
    };
}

/** A server-streaming method; `handle` gives what stops it when the client is gone. `written` runs once the transport took it. */
export function serverStreamMethod<I extends DescMessage, O extends DescMessage>(
  method: DescMethod & { methodKind: "server_streaming"; input: I; output: O },
  handle: (request: MessageShape<I>, send: (message: MessageShape<O>, written?: () => void) => void) => () => void,
): GrpcMethod {
  return (context): handleServerStreamingCall<Decoded<MessageShape<I>>, MessageShape<O>> =>
    (call) => {
      const work = admitted(context, method, call, () => {
        if (call.cancelled) return;
        const stop = handle(checked(context, method, call.request), (message, written) => {
          call.write(message, () => written?.());
        });
        call.on("cancelled", stop);
      });
      work.catch((failure: unknown) => {
        const error = toRpcError(failure, context.domain);
        context.onError(method.name, error);
        call.emit("error", toGrpcStatus(error));
      });
    };
}

/** @throws RpcError for bytes that are no message, and for one that breaks its contract. */
function checked<I extends DescMessage>(
  context: ServerContext,
  method: DescMethod & { input: I },
  request: Decoded<MessageShape<I>>,
): MessageShape<I> {
  if (isMalformed(request)) throw rpcError(ErrorReason.MALFORMED_FRAME, { domain: context.domain });
  const valid = validate(method.input, request as MessageShape<I>);
  if (!valid.ok) throw fromWireError(valid.error, context.domain);
  return request as MessageShape<I>;
}
