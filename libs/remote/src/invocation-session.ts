/** One invocation over the wire, the gateway's side: order, credit and exactly one outcome. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { monoPlusNs, msToNs, nsToMs } from "@rspp/base/brand";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type {
  InputChunk,
  InputEnd,
  InvocationCancel,
  InvocationOpen,
  OutputChunk,
} from "@rspp/gen/rspp/provider/v1/invocation_pb";
import type { ProviderDescriptor } from "@rspp/gen/rspp/provider/v1/provider_pb";
import {
  type InvokeRequest,
  type InvokeResponse,
  InvokeResponseSchema,
} from "@rspp/gen/rspp/provider/v1/provider_service_pb";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type { Invocation, InvocationChunk, InvocationOutcome, Modality, ProviderPort } from "@rspp/ports/provider";
import type { Duplex, DuplexHandlers } from "@rspp/rpc/duplex";
import { type RpcError, rpcError } from "@rspp/rpc/errors";
import { outcomeNames } from "@rspp/wire/names";
import { reasonFromWire } from "@rspp/wire/reason";
import { CreditAccount, CreditedQueue } from "./invocation-credit.ts";
import { invocationLimits as limits } from "./invocation-limits.ts";
import { chunkToWire, inputBytes, inputFromWire, modalityToWire, openFromWire } from "./invocation-messages.ts";

export interface SessionPlace {
  readonly domain: string;
  readonly clock: Clock;
  readonly port: ProviderPort;
  describe(): readonly ProviderDescriptor[];
  /** Takes a place among those that run; false when there is none. */
  enter(session: InvocationSession): boolean;
  leave(session: InvocationSession): void;
}

type ResponseInit = MessageInitShape<typeof InvokeResponseSchema>;

export class InvocationSession implements DuplexHandlers<InvokeRequest> {
  readonly #place: SessionPlace;
  readonly #duplex: Duplex<InvokeResponse>;
  readonly #queue: CreditedQueue<OutputChunk>;
  readonly #account: CreditAccount;
  #timer: TimerHandle | null = null;
  #stall: TimerHandle | null = null;
  #opened: { modality: Modality; provider: string; atNs: number } | null = null;
  #invocation: Invocation | null = null;
  #accepted = false;
  #received = 0;
  #conversation = false;
  #inputEnded = false;
  #cancelled = false;
  #outcome: InvocationOutcome | null = null;
  #sent = 0;
  #firstOutputMs = 0;
  #halfClosed = false;
  #over = false;

  constructor(place: SessionPlace, duplex: Duplex<InvokeResponse>) {
    this.#place = place;
    this.#duplex = duplex;
    this.#queue = new CreditedQueue((output, bytes) => this.#sendOutput(output, bytes));
    this.#account = new CreditAccount((credit) => this.#write({ message: { case: "credit", value: credit } }));
    this.#after(limits.OPEN_DEADLINE_MS, () => this.#refuse(this.#outOfOrder("no open message came in time")));
  }

  /** The gateway stops. */
  stop(): void {
    if (this.#outcome !== null) return;
    this.#cancelPort("stop");
    this.#end({ kind: "disconnect", detail: "the provider gateway stops" });
  }

  // --- the stream ---

  onMessage({ message }: InvokeRequest): void {
    if (this.#over) return;
    if (message.case === "open") return this.#open(message.value);
    if (this.#opened === null) throw this.#outOfOrder("the first message is open");
    // What crossed the outcome on its way is nobody's, but credit may still let output go.
    if (message.case === "credit") {
      this.#queue.grant(message.value);
      return this.#watchReader();
    }
    if (this.#outcome !== null) return;
    switch (message.case) {
      case "input":
        return this.#input(message.value);
      case "inputEnd":
        return this.#inputEnd(message.value);
      case "cancel":
        return this.#cancel(message.value);
      default:
        throw this.#outOfOrder("a message of a kind nobody knows here");
    }
  }

  onEnd(): void {
    this.#halfClosed = true;
    if (this.#over || this.#outcome !== null || this.#cancelled) return this.#lift();
    if (!this.#inputEnded) return this.#refuse(this.#outOfOrder("end the input, or cancel, before the stream"));
    this.#lift();
  }

  onClosed(): void {
    this.#over = true;
    this.#timer?.clear();
    this.#stall?.clear();
    this.#queue.clear();
    if (this.#opened !== null && this.#outcome === null) this.#cancelPort("connection_lost");
    this.#place.leave(this);
  }

  // --- what the caller says ---

  #open(open: InvocationOpen): void {
    if (this.#opened !== null) throw this.#outOfOrder("a stream is opened once");
    const request = openFromWire(open);
    if (!request.ok) throw this.#invalid(request.error);
    const { modality, provider } = request.value;
    this.#opened = { modality, provider, atNs: this.#place.clock.nowNs() };
    this.#timer?.clear();
    if (!this.#place.enter(this)) {
      this.#end({ kind: "overload", detail: "the provider gateway runs as many invocations as it may" });
      return;
    }
    const total = open.totalTimeoutMs;
    if (total > 0) this.#after(total, () => this.#late(total));
    const served = this.#place.describe().find(({ name }) => name === provider);
    if (served?.available === true && served.modality === modalityToWire(modality)) this.#accept(served);
    this.#invocation = this.#place.port.open(request.value, {
      chunk: (chunk) => this.#chunk(chunk),
      outcome: (outcome) => this.#end(outcome),
    });
  }

  #input(chunk: InputChunk): void {
    const modality = this.#opened?.modality ?? "stt";
    const bytes = inputBytes(chunk);
    if (this.#inputEnded) throw this.#outOfOrder("input after input_end");
    if (this.#cancelled) return;
    if (chunk.sequence !== this.#received + 1) throw this.#outOfOrder("input.sequence counts from 1 without gaps");
    if (!this.#account.received(bytes)) throw rpcError(ErrorReason.CREDIT_EXCEEDED, { domain: this.#place.domain });
    const input = inputFromWire(chunk, modality);
    if (!input.ok) throw this.#invalid(input.error);
    if (this.#conversation) throw this.#outOfOrder("a conversation comes once");
    this.#conversation = input.value.kind === "messages";
    this.#received++;
    this.#invocation?.push(input.value);
    this.#account.done(bytes);
  }

  #inputEnd({ lastSequence }: InputEnd): void {
    if (this.#inputEnded) throw this.#outOfOrder("input ends once");
    if (lastSequence !== this.#received) throw this.#outOfOrder("input_end.last_sequence is the last input's");
    this.#inputEnded = true;
    this.#invocation?.finish();
  }

  #cancel({ reason }: InvocationCancel): void {
    this.#cancelled = true;
    // What waits is dropped: the outcome `cancelled` follows at once.
    this.#queue.clear();
    this.#cancelPort(reasonFromWire(reason));
    this.#end({ kind: "cancelled", detail: "cancelled" });
  }

  // --- what the provider says ---

  #chunk(chunk: InvocationChunk): void {
    if (this.#over || this.#outcome !== null) return;
    const fits = chunkToWire(chunk);
    if (!fits.ok) return this.#giveUp({ kind: "error", detail: fits.error });
    if (!this.#accepted) this.#accept(undefined);
    if (this.#sent === 0 && this.#firstOutputMs === 0) this.#firstOutputMs = Math.max(1, Math.round(this.#ageMs()));
    if (!this.#queue.offer(fits.value.output, fits.value.bytes)) {
      return this.#giveUp({ kind: "overload", detail: "the caller does not take the output fast enough" });
    }
    if (this.#queue.waiting === 1) this.#watchReader();
  }

  #giveUp(outcome: InvocationOutcome): void {
    this.#queue.clear();
    this.#end(outcome);
    this.#cancelPort("provider_failure");
  }

  #late(totalMs: number): void {
    this.#giveUp({ kind: "timeout", detail: `the whole took longer than ${totalMs} ms` });
  }

  /** From each credit anew, as long as output waits. */
  #watchReader(): void {
    this.#stall?.clear();
    this.#stall = null;
    if (this.#queue.waiting === 0) return;
    const { clock, domain } = this.#place;
    this.#stall = clock.timerAt(monoPlusNs(clock.nowNs(), msToNs(limits.STALL_MS)), () => {
      this.#refuse(rpcError(ErrorReason.DEADLINE_EXCEEDED, { domain, metadata: { what: "credit for output" } }));
    });
  }

  /** Once, after what it has put out before. */
  #end(outcome: InvocationOutcome): void {
    if (this.#outcome !== null || this.#over) return;
    this.#outcome = outcome;
    this.#timer?.clear();
    this.#queue.afterwards(() => this.#sendOutcome(outcome));
  }

  // --- out ---

  #accept(served: ProviderDescriptor | undefined): void {
    this.#accepted = true;
    const provider = this.#opened?.provider ?? "";
    const capabilities = served?.capabilities;
    const value = { provider, ...(capabilities === undefined ? {} : { capabilities }) };
    this.#write({ message: { case: "accepted", value } });
  }

  #sendOutput(output: OutputChunk, bytes: number): void {
    output.sequence = ++this.#sent;
    this.#write({ message: { case: "output", value: output } }, () => {
      // Nobody can give credit any more, so what the transport has taken gives it.
      if (this.#halfClosed) this.#queue.grant({ chunks: 1, bytes });
    });
  }

  /** The caller has said its last word, so its credit ends: the transport's takes its place. */
  #lift(): void {
    this.#queue.grant({ chunks: limits.WINDOW_CHUNKS, bytes: limits.WINDOW_BYTES });
  }

  #sendOutcome(outcome: InvocationOutcome): void {
    const { kind, detail, usage } = outcome;
    const count = (n: number | undefined): bigint => BigInt(Math.max(0, Math.round(n ?? 0)));
    const value = {
      kind: outcomeNames.number(kind) ?? 0,
      detail: detail.slice(0, limits.DETAIL_CHARS_MAX),
      lastOutputSequence: this.#sent,
      firstOutputMs: this.#firstOutputMs,
      ...(kind === "success" || kind === "cancelled" ? {} : { error: this.#errorOf(outcome).detail }),
      ...(usage === undefined
        ? {}
        : {
            usage: {
              inputTokens: count(usage.inputTokens),
              outputTokens: count(usage.outputTokens),
              audioUs: count(usage.audioUs),
              characters: count(usage.characters),
            },
          }),
    };
    this.#write({ message: { case: "outcome", value } });
    this.#stall?.clear();
    this.#duplex.end();
  }

  #errorOf({ kind }: InvocationOutcome): RpcError {
    const { domain } = this.#place;
    const provider = this.#opened?.provider ?? "";
    const known = this.#place.describe().some(({ name }) => name === provider);
    const reason = known || kind === "overload" ? reasons[kind] : ErrorReason.PROVIDER_UNKNOWN;
    return rpcError(reason ?? ErrorReason.PROVIDER_ERROR, { domain, metadata: { provider } });
  }

  #write(message: ResponseInit, written?: () => void): void {
    this.#duplex.write(create(InvokeResponseSchema, message), written);
  }

  // --- ends ---

  #cancelPort(reason: string): void {
    const invocation = this.#invocation;
    this.#invocation = null;
    invocation?.cancel(reason);
  }

  /** The caller broke the order or stalls: an error of the stream, and nobody works on. */
  #refuse(error: RpcError): void {
    if (this.#over) return;
    this.#duplex.fail(error);
  }

  #outOfOrder(problem: string): RpcError {
    return rpcError(ErrorReason.OUT_OF_ORDER, { domain: this.#place.domain, metadata: { problem } });
  }

  #invalid(problem: string): RpcError {
    const colon = problem.indexOf(":");
    const [field, message] = colon > 0 ? [problem.slice(0, colon), problem.slice(colon + 1).trim()] : ["open", problem];
    const violations = [{ field, rule: "provider", message }];
    return rpcError(ErrorReason.SCHEMA_VALIDATION_ERROR, { domain: this.#place.domain, violations });
  }

  #ageMs(): number {
    return nsToMs(this.#place.clock.nowNs() - (this.#opened?.atNs ?? 0));
  }

  #after(ms: number, run: () => void): void {
    this.#timer?.clear();
    const { clock } = this.#place;
    this.#timer = clock.timerAt(monoPlusNs(clock.nowNs(), msToNs(ms)), run);
  }
}

const reasons: Readonly<Partial<Record<InvocationOutcome["kind"], ErrorReason>>> = {
  timeout: ErrorReason.PROVIDER_TIMEOUT,
  overload: ErrorReason.PROVIDER_OVERLOAD,
  unauthorized: ErrorReason.PROVIDER_UNAUTHORIZED,
  disconnect: ErrorReason.DEPENDENCY_UNAVAILABLE,
  safety_block: ErrorReason.SAFETY_BLOCK,
};
