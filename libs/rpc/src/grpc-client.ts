/** grpc-js clients of links and invocations. One channel is one connection of its own, never shared. */

import type { DescMessage, DescMethod, MessageShape } from "@bufbuild/protobuf";
import {
  type ChannelOptions,
  Client,
  type ClientDuplexStream,
  Metadata,
  type StatusObject,
  status,
} from "@grpc/grpc-js";
import { err, ok, type Result } from "@rspp/base/result";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { BidiMethod, Duplex, DuplexHandlers } from "./duplex.ts";
import { type RpcError, rpcError } from "./errors.ts";
import { type Decoded, isMalformed, methodDefinition } from "./grpc-codec.ts";
import { fromGrpcStatus } from "./grpc-status.ts";
import { limits } from "./limits.ts";
import { type ClientTls, channelCredentials } from "./tls.ts";

export interface GrpcChannelOptions {
  /** `host:port`. */
  readonly address: string;
  readonly tls?: ClientTls;
  readonly messageBytesMax?: number;
}

export interface GrpcChannel {
  readonly address: string;
  readonly client: Client;
  /** Ends the connection; streams on it end with an error. */
  close(): void;
}

/** A connection of its own: two channels to one address are two TCP connections (architecture.md, decision 6). */
export function openChannel(options: GrpcChannelOptions): GrpcChannel {
  const { address, tls, messageBytesMax = limits.STREAM_MESSAGE_BYTES_MAX } = options;
  const channelOptions: ChannelOptions = {
    // Both, or the client keeps up to 1 MB per call to repeat it, which hides the back-pressure of the peer.
    "grpc.enable_retries": 0,
    "grpc.per_rpc_retry_buffer_size": 1,
    "grpc.use_local_subchannel_pool": 1,
    "grpc.service_config_disable_resolution": 1,
    "grpc.enable_http_proxy": 0,
    "grpc.max_receive_message_length": messageBytesMax,
    "grpc.max_send_message_length": messageBytesMax,
    "grpc.keepalive_time_ms": limits.LINK_MEDIA_PING_MS,
    "grpc.keepalive_timeout_ms": limits.LINK_MEDIA_PING_TIMEOUT_MS,
    "grpc.initial_reconnect_backoff_ms": limits.LINK_RECONNECT_FIRST_MS,
    "grpc.max_reconnect_backoff_ms": limits.LINK_RECONNECT_MAX_MS,
    ...(tls?.serverName === undefined ? {} : { "grpc.ssl_target_name_override": tls.serverName }),
  };
  const client = new Client(address, channelCredentials(tls), channelOptions);
  return { address, client, close: () => client.close() };
}

export interface OpenDuplexOptions {
  /** Text headers, e.g. `authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** For the whole stream; none for links. */
  readonly deadlineMs?: number;
}

/** Calls a bidirectional method. An unreachable server ends the stream at once with `dependency_unavailable`. */
export function openDuplex<I extends DescMessage, O extends DescMessage>(
  channel: GrpcChannel,
  method: BidiMethod<I, O>,
  handlers: DuplexHandlers<MessageShape<O>>,
  options: OpenDuplexOptions = {},
): Duplex<MessageShape<I>> {
  const { path, requestSerialize, responseDeserialize } = methodDefinition(method);
  const call = channel.client.makeBidiStreamRequest<MessageShape<I>, Decoded<MessageShape<O>>>(
    path,
    requestSerialize,
    responseDeserialize,
    metadataOf(options.headers),
    options.deadlineMs === undefined ? {} : { deadline: Date.now() + options.deadlineMs },
  );
  return clientDuplex(call, channel.address, handlers);
}

/** Calls a unary method once; a failure is a value. */
export function callUnary<I extends DescMessage, O extends DescMessage>(
  channel: GrpcChannel,
  method: DescMethod & { methodKind: "unary"; input: I; output: O },
  request: MessageShape<I>,
  options: OpenDuplexOptions = {},
): Promise<Result<MessageShape<O>, RpcError>> {
  const { path, requestSerialize, responseDeserialize } = methodDefinition(method);
  const domain = channel.address;
  const { deadlineMs = limits.RPC_DEADLINE_DEFAULT_MS } = options;
  return new Promise((resolve) => {
    channel.client.makeUnaryRequest<MessageShape<I>, Decoded<MessageShape<O>>>(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      metadataOf(options.headers),
      { deadline: Date.now() + deadlineMs },
      (failure, answer) => {
        if (failure !== null) resolve(err(fromGrpcStatus(failure, domain)));
        else if (answer === undefined || isMalformed(answer)) {
          resolve(err(rpcError(ErrorReason.MALFORMED_FRAME, { domain })));
        } else resolve(ok(answer as MessageShape<O>));
      },
    );
  });
}

function metadataOf(headers: Readonly<Record<string, string>> = {}): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}

function clientDuplex<In, Out>(
  call: ClientDuplexStream<Out, Decoded<In>>,
  domain: string,
  handlers: DuplexHandlers<In>,
): Duplex<Out> {
  let closed = false;
  let failure: RpcError | null = null;
  const close = (error: RpcError | null): void => {
    if (closed) return;
    closed = true;
    handlers.onClosed?.(error);
  };
  // grpc-js 1.14 starts a call on later microtasks and does not look whether it was cancelled meanwhile: the stream would
  // stay open, unknown to anybody. So a cancel in the turn of the opening waits for the next one.
  let started = false;
  setImmediate(() => {
    started = true;
    if (failure !== null) call.cancel();
  });
  const fail = (error: RpcError): void => {
    if (closed || failure !== null) return;
    failure = error;
    if (started) call.cancel();
  };
  call.on("data", (message: Decoded<In>) => {
    if (closed || failure !== null) return;
    if (isMalformed(message)) {
      fail(rpcError(ErrorReason.MALFORMED_FRAME, { domain }));
      return;
    }
    handlers.onMessage(message as In);
  });
  call.on("end", () => {
    if (!closed) handlers.onEnd?.();
  });
  // The status comes after it and says the same.
  call.on("error", () => undefined);
  call.on("status", (ended: StatusObject) => {
    close(failure ?? (ended.code === status.OK ? null : fromGrpcStatus(ended, domain)));
  });
  return {
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
    fail,
  };
}
