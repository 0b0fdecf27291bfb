/** The caller's end of a stream that many invocations share (`ProviderService.InvokeMany`). */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import {
  type InvokeManyRequest,
  type InvokeManyRequestFrame,
  InvokeManyRequestFrameSchema,
  InvokeManyRequestSchema,
  type InvokeManyResponse,
  type InvokeManyResponseFrame,
  type InvokeRequest,
  type InvokeResponse,
  ProviderService,
} from "@rspp/gen/rspp/provider/v1/provider_service_pb";
import type { Duplex, DuplexHandlers } from "@rspp/rpc/duplex";
import { RpcError, rpcError } from "@rspp/rpc/errors";
import { type GrpcChannel, openDuplex } from "@rspp/rpc/grpc-client";
import { requestBytes } from "./invocation-messages.ts";
import { SharedOutbox } from "./shared-outbox.ts";

export interface SharedClientOptions {
  readonly channel: GrpcChannel;
  readonly headers: Readonly<Record<string, string>>;
  /** Once, when the gateway serves the stream. */
  ready(): void;
  /** Once, when the stream is over; `null` after an orderly end. Its calls were told before. */
  closed(error: RpcError | null): void;
}

type Step = NonNullable<MessageInitShape<typeof InvokeManyRequestFrameSchema>["step"]>;

/** Opened ahead of what it will carry, so that an invocation costs one message instead of a stream. */
export class SharedStream {
  readonly #options: SharedClientOptions;
  readonly #duplex: Duplex<InvokeManyRequest>;
  readonly #outbox: SharedOutbox<InvokeManyRequestFrame>;
  readonly #calls = new Map<number, SharedCall>();
  #last = 0;
  #ready = false;
  #retired = false;
  #over = false;

  constructor(options: SharedClientOptions) {
    this.#options = options;
    const handlers: DuplexHandlers<InvokeManyResponse> = {
      onMessage: (message) => this.#message(message),
      onEnd: () => this.retire(),
      onClosed: (error) => this.#closed(error),
    };
    this.#duplex = openDuplex(options.channel, ProviderService.method.invokeMany, handlers, {
      headers: options.headers,
    });
    this.#outbox = new SharedOutbox<InvokeManyRequestFrame>({
      send: (frames, written) => this.#duplex.write(create(InvokeManyRequestSchema, { frames }), written),
      overflow: () => this.#duplex.fail(rpcError(ErrorReason.DEPENDENCY_UNAVAILABLE, { domain: "provider-gateway" })),
    });
  }

  /** Takes new invocations. */
  get usable(): boolean {
    return this.#ready && !this.#retired && !this.#over && this.#last < 0xffff_ffff;
  }

  get calls(): number {
    return this.#calls.size;
  }

  /** As a stream of `Invoke` of its own. */
  open(handlers: DuplexHandlers<InvokeResponse>, traceparent: string): Duplex<InvokeRequest> {
    const call = new SharedCall(++this.#last, handlers, traceparent, this.#outbox, (number) => this.#gone(number));
    this.#calls.set(call.number, call);
    return call;
  }

  /** No new invocations; the stream ends with the last of its own. */
  retire(): void {
    if (this.#retired) return;
    this.#retired = true;
    this.#mayEnd();
  }

  #gone(number: number): void {
    this.#calls.delete(number);
    this.#mayEnd();
  }

  #mayEnd(): void {
    if (this.#retired && this.#calls.size === 0) this.#outbox.afterwards(() => this.#duplex.end());
  }

  #message({ frames }: InvokeManyResponse): void {
    if (!this.#ready) {
      this.#ready = true;
      this.#options.ready();
    }
    // What is on its way to a call that was given up is nobody's.
    for (const frame of frames) this.#calls.get(frame.call)?.take(frame);
  }

  #closed(error: RpcError | null): void {
    if (this.#over) return;
    this.#over = true;
    this.#outbox.close();
    // An orderly end that crossed a new call: the gateway drains.
    const lost = error ?? rpcError(ErrorReason.DRAINING, { domain: "provider-gateway" });
    for (const call of [...this.#calls.values()]) call.close(lost);
    this.#options.closed(error);
  }
}

/** One invocation on it: what a stream of its own would be. */
class SharedCall implements Duplex<InvokeRequest> {
  readonly number: number;
  readonly #handlers: DuplexHandlers<InvokeResponse>;
  readonly #outbox: SharedOutbox<InvokeManyRequestFrame>;
  readonly #gone: (number: number) => void;
  readonly #traceparent: string;
  #first: InvokeManyRequestFrame | null = null;
  #ended = false;
  #failed = false;
  #closed = false;

  constructor(
    number: number,
    handlers: DuplexHandlers<InvokeResponse>,
    traceparent: string,
    outbox: SharedOutbox<InvokeManyRequestFrame>,
    gone: (number: number) => void,
  ) {
    this.number = number;
    this.#handlers = handlers;
    this.#traceparent = traceparent;
    this.#outbox = outbox;
    this.#gone = gone;
  }

  get closed(): boolean {
    return this.#closed;
  }

  write(message: InvokeRequest, written?: () => void): void {
    if (this.#closed || this.#ended || this.#failed) return written?.();
    this.#outbox.push(this.number, this.#frame({ case: "message", value: message }), requestBytes(message), written);
  }

  end(): void {
    if (this.#closed || this.#ended || this.#failed) return;
    this.#ended = true;
    this.#outbox.push(this.number, this.#frame({ case: "inputClosed", value: {} }), 0);
  }

  /** Never within the caller's own turn, as a stream's end never is. */
  fail(error: RpcError): void {
    if (this.#closed || this.#failed) return;
    this.#failed = true;
    // A call whose first frame has not left is unknown there; told of it early, the gateway would take older ones for over.
    const unknown = this.#outbox.drop(this.number).some((frame) => frame === this.#first);
    if (!unknown) this.#outbox.overtake(this.number, this.#frame({ case: "reset", value: {} }));
    queueMicrotask(() => this.close(error));
  }

  take({ step }: InvokeManyResponseFrame): void {
    if (this.#closed || this.#failed) return;
    if (step.case === "message") return this.#handlers.onMessage(step.value);
    if (step.case !== "closed") {
      return this.fail(rpcError(ErrorReason.MALFORMED_FRAME, { domain: "provider-gateway" }));
    }
    const { error } = step.value;
    if (error === undefined) this.#handlers.onEnd?.();
    this.close(error === undefined ? null : new RpcError(error));
  }

  close(error: RpcError | null): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#gone(this.number);
    this.#handlers.onClosed?.(error);
  }

  #frame(step: Step): InvokeManyRequestFrame {
    const traceparent = this.#first === null ? this.#traceparent : "";
    const frame = create(InvokeManyRequestFrameSchema, { call: this.number, traceparent, step });
    this.#first ??= frame;
    return frame;
  }
}
