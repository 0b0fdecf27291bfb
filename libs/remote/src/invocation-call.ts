/** One invocation over the wire, the caller's side: one outcome always, whatever the stream does. */
import { create } from "@bufbuild/protobuf";
import { monoPlusNs, msToNs } from "@rspp/base/brand";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import type { OutputChunk } from "@rspp/gen/rspp/provider/v1/invocation_pb";
import {
  type InvokeRequest,
  InvokeRequestSchema,
  type InvokeResponse,
} from "@rspp/gen/rspp/provider/v1/provider_service_pb";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type {
  Invocation,
  InvocationInput,
  InvocationOpen,
  InvocationOutcome,
  InvocationSink,
  OutcomeKind,
} from "@rspp/ports/provider";
import type { Duplex, DuplexHandlers } from "@rspp/rpc/duplex";
import { errorRule, type RpcError, rpcError } from "@rspp/rpc/errors";
import { reasonToWire } from "@rspp/wire/reason";
import type { InvocationOrigin } from "./invocation-api.ts";
import { CreditAccount, CreditedQueue } from "./invocation-credit.ts";
import { invocationLimits as limits } from "./invocation-limits.ts";
import {
  chunkFromWire,
  inputToWire,
  openToWire,
  outcomeFromWire,
  outputBytes,
  type SizedInput,
} from "./invocation-messages.ts";

export interface CallPlace {
  readonly clock: Clock;
  /** Its place on a shared stream, or a stream of its own. `headers` are the request's own. */
  connect(handlers: DuplexHandlers<InvokeResponse>, headers: Readonly<Record<string, string>>): Duplex<InvokeRequest>;
  readonly origin: InvocationOrigin;
  readonly acceptTimeoutMs: number;
  /** Once, when the stream is over too. `unreachable`: the gateway did not answer. */
  ended(unreachable: boolean): void;
}

type RequestMessage = Parameters<typeof create<typeof InvokeRequestSchema>>[1];

export class RemoteInvocation implements Invocation {
  readonly #clock: Clock;
  readonly #place: CallPlace;
  readonly #request: InvocationOpen;
  readonly #sink: InvocationSink;
  readonly #queue: CreditedQueue<SizedInput["input"]>;
  readonly #account: CreditAccount;
  #duplex: Duplex<InvokeRequest> | null = null;
  #timer: TimerHandle | null = null;
  #release: () => void = () => undefined;
  #done = false;
  #finished = false;
  #accepted = false;
  #sent = 0;
  #seen = 0;
  #deltas = 0;
  #unwrittenBytes = 0;
  #over = false;

  constructor(place: CallPlace, request: InvocationOpen, sink: InvocationSink) {
    this.#clock = place.clock;
    this.#place = place;
    this.#request = request;
    this.#sink = sink;
    this.#queue = new CreditedQueue((input, bytes) => {
      this.#write({ message: { case: "input", value: { sequence: ++this.#sent, input } } }, bytes);
    });
    this.#account = new CreditAccount((credit) => this.#write({ message: { case: "credit", value: credit } }));
  }

  /** The outcome never comes before this has returned. */
  start(): void {
    const open = openToWire(this.#request, this.#place.origin);
    if (!open.ok) {
      this.#timer = this.#clock.timerAt(this.#clock.nowNs(), () => {
        this.#end("error", open.error);
        this.#close();
      });
      return;
    }
    const { acceptTimeoutMs } = this.#place;
    const handlers = {
      onMessage: (message: InvokeResponse): void => this.#message(message),
      onEnd: (): void => this.#end("disconnect", "the provider gateway ended the stream without an outcome"),
      onClosed: (error: RpcError | null): void => this.#closed(error),
    };
    this.#duplex = this.#place.connect(handlers, this.#request.headers ?? {});
    this.#duplex.write(open.value);
    this.#after(acceptTimeoutMs, () => {
      this.#end("disconnect", `the provider gateway did not answer within ${acceptTimeoutMs} ms`);
      this.#reset(ErrorReason.DEADLINE_EXCEEDED);
    });
  }

  push(input: InvocationInput): void {
    if (this.#done || this.#finished) return;
    const pieces = inputToWire(input);
    if (!pieces.ok) return this.#giveUp("error", pieces.error);
    if (input.kind === "messages") this.#hold();
    for (const { input: piece, bytes } of pieces.value) {
      if (this.#done) return;
      if (!this.#queue.offer(piece, bytes)) {
        return this.#giveUp("overload", "the provider gateway does not take its input fast enough");
      }
    }
  }

  finish(): void {
    if (this.#done || this.#finished) return;
    this.#finished = true;
    this.#hold();
    this.#queue.afterwards(() => {
      this.#write({ message: { case: "inputEnd", value: { lastSequence: this.#sent } } });
    });
  }

  cancel(reason: string): void {
    if (this.#done) return;
    this.#end("cancelled", "cancelled");
    this.#stop(reasonToWire(reason, "").reason);
  }

  /** Ends it from this side for a fault of this side or of the peer. */
  #giveUp(kind: OutcomeKind, detail: string): void {
    this.#end(kind, detail);
    this.#stop(Reason.PROVIDER_FAILURE);
  }

  /** A cancel overtakes what waits here; what the transport holds is short, or else the stream is reset over it. */
  #stop(reason: Reason): void {
    this.#queue.clear();
    if (this.#unwrittenBytes > limits.CLOGGED_BYTES) return this.#reset(ErrorReason.DEADLINE_EXCEEDED);
    this.#write({ message: { case: "cancel", value: { reason } } });
    this.#close();
  }

  /** No more from here; the peer has a moment for its last words. */
  #close(): void {
    if (this.#duplex === null || this.#duplex.closed) return this.#closed(null);
    this.#duplex.end();
    this.#after(limits.LINGER_MS, () => this.#reset(ErrorReason.DEADLINE_EXCEEDED));
  }

  #reset(reason: ErrorReason): void {
    this.#duplex?.fail(rpcError(reason, { domain: "provider-gateway" }));
  }

  #after(ms: number, run: () => void): void {
    this.#timer?.clear();
    this.#timer = this.#clock.timerAt(monoPlusNs(this.#clock.nowNs(), msToNs(ms)), run);
  }

  /** Real work is under way for a virtual clock. */
  #hold(): void {
    this.#release();
    this.#release = this.#clock.hold();
  }

  #write(message: RequestMessage, bytes = 0): void {
    this.#unwrittenBytes += bytes;
    this.#duplex?.write(create(InvokeRequestSchema, message), () => {
      this.#unwrittenBytes -= bytes;
    });
  }

  #message({ message }: InvokeResponse): void {
    // Late words after a cancel are nobody's.
    if (this.#done) return;
    switch (message.case) {
      case "accepted":
        if (this.#accepted) return this.#broken("it accepted twice");
        this.#accepted = true;
        this.#timer?.clear();
        return;
      case "output":
        return this.#output(message.value);
      case "credit":
        return this.#queue.grant(message.value);
      case "outcome":
        if (message.value.lastOutputSequence !== this.#seen) return this.#broken("output is missing");
        this.#finish(outcomeFromWire(message.value));
        return this.#close();
      default:
        return this.#broken("a message of a kind nobody knows here");
    }
  }

  #output(chunk: OutputChunk): void {
    const bytes = outputBytes(chunk);
    if (!this.#accepted) return this.#broken("output before it accepted");
    if (chunk.sequence !== this.#seen + 1) return this.#broken("output is missing or doubled");
    if (!this.#account.received(bytes)) return this.#broken("more output than it has credit for");
    const taken = chunkFromWire(chunk, this.#deltas);
    if (!taken.ok) return this.#broken(taken.error);
    this.#seen++;
    if (chunk.output.case === "delta") this.#deltas++;
    this.#sink.chunk(taken.value);
    this.#account.done(bytes);
  }

  #broken(what: string): void {
    this.#giveUp("error", `the provider gateway broke the protocol: ${what}`);
  }

  #closed(error: RpcError | null): void {
    if (this.#over) return;
    this.#over = true;
    const unreachable = error !== null && kindOf(error) === "disconnect";
    if (!this.#done) {
      if (error === null) this.#end("disconnect", "the stream to the provider gateway ended without an outcome");
      else this.#end(kindOf(error), detailOf(error));
    }
    this.#timer?.clear();
    this.#place.ended(unreachable);
  }

  #end(kind: OutcomeKind, detail: string): void {
    this.#finish({ kind, detail: detail.slice(0, limits.DETAIL_CHARS_MAX) });
  }

  #finish(outcome: InvocationOutcome): void {
    if (this.#done) return;
    this.#done = true;
    this.#timer?.clear();
    this.#queue.clear();
    this.#release();
    this.#sink.outcome(outcome);
  }
}

const kinds: ReadonlyMap<ErrorReason, OutcomeKind> = new Map([
  [ErrorReason.CAPACITY_EXHAUSTED, "overload"],
  [ErrorReason.RATE_LIMITED, "overload"],
  [ErrorReason.QUOTA_EXCEEDED, "overload"],
  [ErrorReason.DRAINING, "overload"],
  [ErrorReason.UNAUTHENTICATED, "unauthorized"],
  [ErrorReason.TOKEN_EXPIRED, "unauthorized"],
  [ErrorReason.TOKEN_INVALID, "unauthorized"],
  [ErrorReason.PERMISSION_DENIED, "unauthorized"],
  [ErrorReason.DEADLINE_EXCEEDED, "timeout"],
  [ErrorReason.DEPENDENCY_UNAVAILABLE, "disconnect"],
]);

function kindOf({ reason, detail }: RpcError): OutcomeKind {
  // A stream without a deadline that is cancelled from afar: its server went.
  if (detail.metadata.grpc_code === "Canceled") return "disconnect";
  return kinds.get(reason) ?? "error";
}

/** Names alone: the reason, and the first field that was refused. */
function detailOf({ reason, detail }: RpcError): string {
  const first = detail.violations[0];
  const field = first === undefined ? "" : ` at ${first.field} (${first.rule})`;
  return `the provider gateway: ${errorRule(reason).name}${field}`;
}
