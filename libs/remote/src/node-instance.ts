/** One instance of an external node over its stream: whatever the other side does, its sink hears one last word. */
import { create } from "@bufbuild/protobuf";
import { monoPlusNs, msToNs } from "@rspp/base/brand";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { NodeEmission } from "@rspp/gen/rspp/node/v1/node_pb";
import {
  type RunRequest,
  RunRequestSchema,
  type RunResponse,
  RunResponseSchema,
} from "@rspp/gen/rspp/node/v1/node_service_pb";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type { NodeBody, NodeHook, NodeInstance, NodeOpen, NodeSink } from "@rspp/ports/node-host";
import type { Duplex, DuplexHandlers } from "@rspp/rpc/duplex";
import { type RpcError, rpcError } from "@rspp/rpc/errors";
import { validate } from "@rspp/wire/validate";
import { nodeLimits as limits } from "./node-limits.ts";
import { bodyBytes, bodyFromWire, eventToWire, hookToWire, openToWire } from "./node-messages.ts";

export interface InstancePlace {
  readonly clock: Clock;
  /** The instance's stream; nothing is told before this has returned. */
  open(handlers: DuplexHandlers<RunResponse>, headers: Readonly<Record<string, string>>): Duplex<RunRequest>;
  /** A place for one more event at the host: `run` is called now, later, or never where this gives false. */
  enter(run: () => void): boolean;
  /** An event has left its place. */
  leave(): void;
  /** Once, when the stream is over too. */
  ended(): void;
}

interface Asked {
  /** It has its place at the host. */
  entered: boolean;
  emissions: number;
  bytes: number;
}

export class RemoteNode implements NodeInstance {
  readonly #place: InstancePlace;
  readonly #request: NodeOpen;
  readonly #sink: NodeSink;
  readonly #asked = new Map<number, Asked>();
  #duplex: Duplex<RunRequest> | null = null;
  #timer: TimerHandle | null = null;
  #ready = false;
  #asksToStop = false;
  #gone = false;
  #over = false;
  #unwrittenBytes = 0;

  constructor(place: InstancePlace, request: NodeOpen, sink: NodeSink) {
    this.#place = place;
    this.#request = request;
    this.#sink = sink;
  }

  /** Opens the stream; the sink is not called before this has returned. */
  start(): void {
    const { hookTimeoutMs } = this.#request.limits;
    const handlers = {
      onMessage: (message: RunResponse): void => this.#message(message),
      onEnd: (): void => this.#lost(this.#asksToStop ? "stopped" : "ended"),
      onClosed: (error: RpcError | null): void => this.#closed(error),
    };
    this.#duplex = this.#place.open(handlers, this.#request.headers ?? {});
    this.#duplex.write(openToWire(this.#request));
    this.#after(hookTimeoutMs, () => this.#giveUp("open_timeout"));
  }

  event(command: number, port: string, body: NodeBody, _monoNs: number): void {
    if (this.#gone || this.#asksToStop) return;
    const message = eventToWire(command, port, body);
    if (!message.ok) return this.#sink.failed(command, message.error);
    const bytes = bodyBytes(body);
    if (this.#unwrittenBytes + bytes > limits.UNWRITTEN_BYTES_MAX) return this.#sink.failed(command, "overload");
    const asked: Asked = { entered: false, emissions: 0, bytes: 0 };
    this.#asked.set(command, asked);
    const taken = this.#place.enter(() => {
      // It may have been given up while it waited for its place.
      if (!this.#asked.has(command)) return this.#place.leave();
      asked.entered = true;
      this.#unwrittenBytes += bytes;
      this.#duplex?.write(message.value, () => {
        this.#unwrittenBytes -= bytes;
      });
    });
    if (taken) return;
    this.#asked.delete(command);
    this.#sink.failed(command, "overload");
  }

  cancel(command: number, reason: string): void {
    if (this.#gone || !this.#asked.has(command)) return;
    this.#write({ message: { case: "cancel", value: { command: BigInt(command), reason: reason.slice(0, 64) } } });
  }

  hook(hook: NodeHook): void {
    if (!this.#gone && !this.#asksToStop) this.#duplex?.write(hookToWire(hook));
  }

  stop(reason: string): void {
    if (this.#gone || this.#asksToStop) return;
    this.#asksToStop = true;
    this.#write({ message: { case: "stop", value: { reason: reason.slice(0, 64) } } });
    this.#after(this.#request.limits.hookTimeoutMs, () => this.#giveUp("stop_timeout"));
  }

  kill(reason: string): void {
    if (this.#gone) return this.#cut(ErrorReason.DEADLINE_EXCEEDED);
    this.#lost(reason);
    this.#cut(ErrorReason.DEADLINE_EXCEEDED);
  }

  #write(message: Parameters<typeof create<typeof RunRequestSchema>>[1]): void {
    this.#duplex?.write(create(RunRequestSchema, message));
  }

  #after(ms: number, run: () => void): void {
    this.#timer?.clear();
    const { clock } = this.#place;
    this.#timer = clock.timerAt(monoPlusNs(clock.nowNs(), msToNs(ms)), run);
  }

  #message(response: RunResponse): void {
    if (this.#gone) return;
    const valid = validate(RunResponseSchema, response);
    if (!valid.ok) return this.#broken(valid.error.violations[0]?.field ?? "message");
    const { message } = valid.value;
    switch (message.case) {
      case "ready":
        if (this.#ready) return this.#broken("ready");
        this.#ready = true;
        this.#timer?.clear();
        return this.#sink.ready();
      case "emission":
        return this.#emission(message.value);
      case "done":
        return this.#answer(message.value.command, (command) => this.#sink.done(command));
      case "failed": {
        const { reason } = message.value;
        return this.#answer(message.value.command, (command) => this.#sink.failed(command, reason));
      }
      case "cancelAcked":
        return this.#answer(message.value.command, (command) => this.#sink.cancelAcked(command));
      case "hotState":
        return this.#sink.hotState(message.value.key, message.value.json === "" ? null : message.value.json);
      case "metric": {
        const { name, value } = message.value;
        return this.#sink.telemetry({ kind: "metric", name, value, unit: "" });
      }
      case "stopped":
        return this.#lost(message.value.reason);
      default:
        return this.#broken("message");
    }
  }

  #emission({ command, index, port, body }: NodeEmission): void {
    const asked = this.#asked.get(Number(command));
    // What crossed a cancel or an answer on its way is nobody's.
    if (asked === undefined) return;
    const given = body === undefined ? null : bodyFromWire(body);
    if (given === null) return this.#broken("emission.body");
    if (index !== asked.emissions) return this.#broken("emission.index");
    asked.emissions += 1;
    asked.bytes += bodyBytes(given);
    if (asked.emissions > limits.EMISSIONS_PER_COMMAND_MAX || asked.bytes > limits.EMITTED_BYTES_PER_COMMAND_MAX)
      return this.#giveUp("emits_too_much");
    this.#sink.emitted(Number(command), index, port, given);
  }

  #answer(command: bigint, tell: (command: number) => void): void {
    const asked = this.#asked.get(Number(command));
    if (asked === undefined) return;
    this.#asked.delete(Number(command));
    if (asked.entered) this.#place.leave();
    tell(Number(command));
  }

  /** The other side does not keep to the contract: named in the error it gets, and ended. */
  #broken(field: string): void {
    const violations = [{ field, rule: "node.protocol", message: "breaks rspp.node.v1" }];
    this.#lost("protocol_broken");
    this.#duplex?.fail(rpcError(ErrorReason.OUT_OF_ORDER, { domain: "runtime", violations }));
  }

  #giveUp(reason: string): void {
    this.#lost(reason);
    this.#cut(ErrorReason.DEADLINE_EXCEEDED);
  }

  #cut(reason: ErrorReason): void {
    this.#duplex?.fail(rpcError(reason, { domain: "runtime" }));
  }

  /** The sink's last word. */
  #lost(reason: string): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#timer?.clear();
    const asked = [...this.#asked.values()];
    this.#asked.clear();
    for (const { entered } of asked) if (entered) this.#place.leave();
    if (this.#duplex?.closed === false) {
      this.#duplex.end();
      this.#after(limits.LINGER_MS, () => this.#cut(ErrorReason.DEADLINE_EXCEEDED));
    }
    this.#sink.stopped(reason);
  }

  #closed(error: RpcError | null): void {
    if (this.#over) return;
    this.#over = true;
    this.#lost(error === null ? "ended" : lostBy(error));
    this.#timer?.clear();
    this.#place.ended();
  }
}

const reasons: ReadonlyMap<ErrorReason, string> = new Map([
  [ErrorReason.CAPACITY_EXHAUSTED, "overload"],
  [ErrorReason.RATE_LIMITED, "overload"],
  [ErrorReason.DRAINING, "overload"],
  [ErrorReason.UNAUTHENTICATED, "unauthorized"],
  [ErrorReason.PERMISSION_DENIED, "unauthorized"],
  [ErrorReason.NOT_FOUND, "unknown_package"],
  [ErrorReason.DEPENDENCY_UNAVAILABLE, "unreachable"],
]);

function lostBy({ reason }: RpcError): string {
  return reasons.get(reason) ?? "crashed";
}
