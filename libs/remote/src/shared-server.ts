/** The gateway's end of a stream that many invocations share (`ProviderService.InvokeMany`). */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import {
  type InvokeManyRequest,
  type InvokeManyRequestFrame,
  InvokeManyRequestFrameSchema,
  type InvokeManyResponse,
  type InvokeManyResponseFrame,
  InvokeManyResponseFrameSchema,
  InvokeManyResponseSchema,
  type InvokeRequest,
  type InvokeResponse,
} from "@rspp/gen/rspp/provider/v1/provider_service_pb";
import type { Duplex, DuplexHandlers } from "@rspp/rpc/duplex";
import { errorRule, fromWireError, type RpcError, rpcError, toRpcError } from "@rspp/rpc/errors";
import type { CallInfo } from "@rspp/rpc/grpc-server";
import { validate } from "@rspp/wire/validate";
import { invocationLimits as limits } from "./invocation-limits.ts";
import { responseBytes } from "./invocation-messages.ts";
import { SharedOutbox } from "./shared-outbox.ts";

export interface SharedPlace {
  readonly domain: string;
  /** Names in spans, as those of a stream of its own. */
  readonly service: string;
  readonly method: string;
  /** What takes the messages of one invocation. */
  accept(duplex: Duplex<InvokeResponse>): DuplexHandlers<InvokeRequest>;
  /** Once, when the stream is over. */
  closed(stream: SharedAcceptor): void;
}

type Step = NonNullable<MessageInitShape<typeof InvokeManyResponseFrameSchema>["step"]>;

export class SharedAcceptor implements DuplexHandlers<InvokeManyRequest> {
  readonly #place: SharedPlace;
  readonly #info: CallInfo;
  readonly #duplex: Duplex<InvokeManyResponse>;
  readonly #outbox: SharedOutbox<InvokeManyResponseFrame>;
  readonly #calls = new Map<number, AcceptedCall>();
  #last = 0;
  #ending = false;

  constructor(place: SharedPlace, duplex: Duplex<InvokeManyResponse>, info: CallInfo) {
    this.#place = place;
    this.#info = info;
    this.#duplex = duplex;
    this.#outbox = new SharedOutbox<InvokeManyResponseFrame>({
      send: (frames, written) => duplex.write(create(InvokeManyResponseSchema, { frames }), written),
      overflow: () => duplex.fail(rpcError(ErrorReason.CAPACITY_EXHAUSTED, { domain: place.domain })),
    });
    // The caller waits for it before it relies on the stream.
    duplex.write(create(InvokeManyResponseSchema));
  }

  onMessage({ frames }: InvokeManyRequest): void {
    if (frames.length > limits.SHARED_FRAMES_MAX) {
      throw rpcError(ErrorReason.MESSAGE_TOO_LARGE, { domain: this.#place.domain, metadata: { field: "frames" } });
    }
    for (const frame of frames) this.#take(frame);
  }

  onEnd(): void {
    this.#ending = true;
    this.#mayEnd();
  }

  onClosed(): void {
    this.#outbox.close();
    const gone = rpcError(ErrorReason.DEPENDENCY_UNAVAILABLE, { domain: "peer" });
    for (const call of [...this.#calls.values()]) call.close(gone);
    this.#place.closed(this);
  }

  /** The gateway drains: the stream ends with its last invocation. */
  drain(): void {
    this.#ending = true;
    this.#mayEnd();
  }

  #mayEnd(): void {
    if (this.#ending && this.#calls.size === 0) this.#outbox.afterwards(() => this.#duplex.end());
  }

  #take(frame: InvokeManyRequestFrame): void {
    const known = this.#calls.get(frame.call);
    if (known !== undefined) return known.take(frame);
    // What was on its way to a call that is over is nobody's.
    if (frame.call <= this.#last && frame.call > 0) return;
    this.#last = frame.call;
    const { service, method } = this.#place;
    const headers = new Headers(frame.traceparent === "" ? {} : { traceparent: frame.traceparent });
    const span = this.#info.tracer.start({ side: "server", service, method, headers });
    const call: AcceptedCall = new AcceptedCall(frame.call, this.#place.domain, this.#outbox, {
      refused: (error) => this.#info.onError(error),
      gone: (error) => {
        span.end(error === null ? null : errorRule(error.reason).name);
        this.#calls.delete(frame.call);
        this.#mayEnd();
      },
    });
    this.#calls.set(frame.call, call);
    call.handlers = this.#place.accept(call);
    call.take(frame);
  }
}

interface CallEnds {
  /** The call ends with an error of this side. */
  refused(error: RpcError): void;
  gone(error: RpcError | null): void;
}

/** One invocation on it: what a stream of its own would be. What breaks the contract ends it alone. */
class AcceptedCall implements Duplex<InvokeResponse> {
  readonly #number: number;
  readonly #domain: string;
  readonly #outbox: SharedOutbox<InvokeManyResponseFrame>;
  readonly #ends: CallEnds;
  handlers: DuplexHandlers<InvokeRequest> | null = null;
  #ended = false;
  #failure: RpcError | null = null;
  #closed = false;

  constructor(number: number, domain: string, outbox: SharedOutbox<InvokeManyResponseFrame>, ends: CallEnds) {
    this.#number = number;
    this.#domain = domain;
    this.#outbox = outbox;
    this.#ends = ends;
  }

  get closed(): boolean {
    return this.#closed;
  }

  take(frame: InvokeManyRequestFrame): void {
    if (this.#closed || this.#failure !== null) return;
    try {
      const valid = validate(InvokeManyRequestFrameSchema, frame);
      if (!valid.ok) throw fromWireError(valid.error, this.#domain);
      const { step } = frame;
      if (step.case === "message") this.handlers?.onMessage(step.value);
      else if (step.case === "inputClosed") this.handlers?.onEnd?.();
      else this.close(rpcError(ErrorReason.DEPENDENCY_UNAVAILABLE, { domain: "peer" }));
    } catch (failure) {
      this.fail(toRpcError(failure, this.#domain));
    }
  }

  write(message: InvokeResponse, written?: () => void): void {
    if (this.#closed || this.#ended || this.#failure !== null) return written?.();
    this.#outbox.push(this.#number, this.#frame({ case: "message", value: message }), responseBytes(message), written);
  }

  end(): void {
    if (this.#closed || this.#ended || this.#failure !== null) return;
    this.#ended = true;
    this.#outbox.push(this.#number, this.#frame({ case: "closed", value: {} }), 0, () => this.close(null));
  }

  fail(error: RpcError): void {
    if (this.#closed || this.#failure !== null) return;
    this.#failure = error;
    this.#ends.refused(error);
    const { $typeName: _, $unknown: __, ...detail } = error.detail;
    const frame = this.#frame({ case: "closed", value: { error: detail } });
    this.#outbox.drop(this.#number);
    this.#outbox.overtake(this.#number, frame, () => this.close(error));
  }

  close(error: RpcError | null): void {
    if (this.#closed) return;
    this.#closed = true;
    this.handlers?.onClosed?.(error);
    this.#ends.gone(error);
  }

  #frame(step: Step): InvokeManyResponseFrame {
    return create(InvokeManyResponseFrameSchema, { call: this.#number, step });
  }
}
