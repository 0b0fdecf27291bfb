/**
 * Circuit breakers of a gateway (F-057, F-136): one per provider, model and region, shared by every session. Failures in a
 * row or a share of failures open it: calls are refused at once and the caller's next candidate is asked. After its pause
 * one call at a time is let through; it closes the circuit or opens it for twice as long.
 */
import { nsToMs } from "@rspp/base/brand";
import { createStream, nextFloat, type RandomStream } from "@rspp/base/random";
import type { Clock } from "@rspp/ports/clock";
import type { Invocation, InvocationOpen, InvocationOutcome, InvocationSink } from "@rspp/ports/provider";
import { endedInvocation } from "../attempt.ts";

export const circuitLimits = {
  /** So many failures without a success between them open it. */
  FAILURES_IN_A_ROW: 5,
  /** Outcomes looked back on for the share of failures, and how many there must be. */
  WINDOW: 20,
  SAMPLES_MIN: 10,
  SHARE_PERMILLE: 500,
  COOL_MS: 1_000,
  COOL_MS_MAX: 30_000,
  /** The pause is shortened or prolonged by up to this share, so that gateways do not probe together. */
  JITTER: 0.2,
  /** Circuits remembered; the one unused longest is forgotten, which closes it. */
  CIRCUITS_MAX: 1_024,
} as const;

export type CircuitPhase = "closed" | "open" | "half_open";

export interface CircuitReport {
  readonly provider: string;
  readonly model: string;
  readonly region: string;
  readonly phase: CircuitPhase;
  readonly failuresInARow: number;
}

/** A call that may be made; told how it ended, once. */
type CircuitPass = (outcome: InvocationOutcome) => void;

interface Circuit {
  readonly provider: string;
  readonly model: string;
  readonly region: string;
  phase: CircuitPhase;
  inARow: number;
  /** The last outcomes, true for a failure. */
  recent: boolean[];
  openUntilMs: number;
  coolMs: number;
  probing: boolean;
}

export type CircuitWatch = (report: CircuitReport) => void;

export class Circuits {
  readonly #clock: Clock;
  readonly #circuits = new Map<string, Circuit>();
  readonly #jitter: RandomStream;
  readonly #watch: CircuitWatch;

  /** @param seed of the jitter; @param watch told of each change of phase. */
  constructor(clock: Clock, seed: string, watch: CircuitWatch = () => {}) {
    this.#clock = clock;
    this.#jitter = createStream(seed, 0, "circuits");
    this.#watch = watch;
  }

  /** The call, where the circuit lets it through; else its end, with the time after which it is worth asking again. */
  open(request: InvocationOpen, sink: InvocationSink, open: (sink: InvocationSink) => Invocation): Invocation {
    const pass = this.#ask(request);
    if (typeof pass === "number") {
      const detail = `circuit_open: ${request.provider} failed too often; retry after ${pass} ms`;
      return endedInvocation(this.#clock, sink, "overload", detail);
    }
    return new CircuitCall(this.#clock, request, sink, pass, open);
  }

  /** Where a circuit is open or is being tried. */
  report(): readonly CircuitReport[] {
    return [...this.#circuits.values()].filter(({ phase }) => phase !== "closed").map(reportOf);
  }

  #ask(request: InvocationOpen): CircuitPass | number {
    const circuit = this.#of(request);
    if (circuit.phase === "closed") return (outcome) => this.#note(circuit, outcome);
    const nowMs = this.#nowMs();
    if (nowMs < circuit.openUntilMs) return Math.ceil(circuit.openUntilMs - nowMs);
    if (circuit.probing) return circuit.coolMs;
    circuit.probing = true;
    this.#turn(circuit, "half_open");
    return (outcome) => this.#probed(circuit, outcome);
  }

  #nowMs(): number {
    return nsToMs(this.#clock.nowNs());
  }

  #note(circuit: Circuit, outcome: InvocationOutcome): void {
    const failed = blamed(outcome);
    if (failed === undefined) return;
    circuit.inARow = failed ? circuit.inARow + 1 : 0;
    circuit.recent.push(failed);
    if (circuit.recent.length > circuitLimits.WINDOW) circuit.recent.shift();
    if (!failed || circuit.phase !== "closed") return;
    const { FAILURES_IN_A_ROW, SAMPLES_MIN, SHARE_PERMILLE } = circuitLimits;
    const share = (circuit.recent.filter(Boolean).length * 1_000) / circuit.recent.length;
    const often = circuit.recent.length >= SAMPLES_MIN && share >= SHARE_PERMILLE;
    const asked = retryAfterMs(outcome.detail);
    if (circuit.inARow < FAILURES_IN_A_ROW && !often && asked === undefined) return;
    this.#open(circuit, asked ?? circuit.coolMs);
  }

  #probed(circuit: Circuit, outcome: InvocationOutcome): void {
    circuit.probing = false;
    const failed = blamed(outcome);
    // A probe that its caller stopped says nothing: the next one may try.
    if (failed === undefined) return;
    if (failed) {
      circuit.inARow += 1;
      circuit.coolMs = Math.min(circuit.coolMs * 2, circuitLimits.COOL_MS_MAX);
      this.#open(circuit, retryAfterMs(outcome.detail) ?? circuit.coolMs);
      return;
    }
    circuit.inARow = 0;
    circuit.recent = [];
    circuit.coolMs = circuitLimits.COOL_MS;
    this.#turn(circuit, "closed");
  }

  #open(circuit: Circuit, coolMs: number): void {
    const factor = 1 + (nextFloat(this.#jitter) * 2 - 1) * circuitLimits.JITTER;
    circuit.openUntilMs = this.#nowMs() + Math.min(coolMs, circuitLimits.COOL_MS_MAX) * factor;
    this.#turn(circuit, "open");
  }

  #turn(circuit: Circuit, phase: CircuitPhase): void {
    circuit.phase = phase;
    this.#watch(reportOf(circuit));
  }

  #of({ provider, settings }: Pick<InvocationOpen, "provider" | "settings">): Circuit {
    const model = typeof settings.model === "string" ? settings.model : "";
    const region = typeof settings.region === "string" ? settings.region : "";
    const key = `${provider}\n${model}\n${region}`;
    let circuit = this.#circuits.get(key);
    if (circuit === undefined) {
      const { COOL_MS: coolMs } = circuitLimits;
      const fresh = { inARow: 0, recent: [], openUntilMs: 0, coolMs, probing: false };
      circuit = { provider, model, region, phase: "closed", ...fresh };
    } else {
      this.#circuits.delete(key);
    }
    this.#circuits.set(key, circuit);
    if (this.#circuits.size > circuitLimits.CIRCUITS_MAX) {
      const [oldest] = this.#circuits.keys();
      if (oldest !== undefined) this.#circuits.delete(oldest);
    }
    return circuit;
  }
}

/** Tells its circuit how the call ended, also where the provider never says so. */
class CircuitCall implements Invocation {
  readonly #clock: Clock;
  readonly #request: InvocationOpen;
  readonly #pass: CircuitPass;
  readonly #inner: Invocation;
  readonly #openedMs: number;
  #answered = false;
  #told = false;

  constructor(
    clock: Clock,
    request: InvocationOpen,
    sink: InvocationSink,
    pass: CircuitPass,
    open: (sink: InvocationSink) => Invocation,
  ) {
    this.#clock = clock;
    this.#request = request;
    this.#pass = pass;
    this.#openedMs = nsToMs(clock.nowNs());
    try {
      this.#inner = open({
        chunk: (chunk) => {
          this.#answered = true;
          sink.chunk(chunk);
        },
        outcome: (outcome) => {
          this.#tell(outcome);
          sink.outcome(outcome);
        },
      });
    } catch (thrown) {
      this.#tell({ kind: "error", detail: "the provider threw an exception" });
      throw thrown;
    }
  }

  push(input: Parameters<Invocation["push"]>[0]): void {
    this.#inner.push(input);
  }

  finish(): void {
    this.#inner.finish();
  }

  cancel(reason: string): void {
    const { attemptTimeoutMs, modality } = this.#request;
    const waitedMs = nsToMs(this.#clock.nowNs()) - this.#openedMs;
    // A caller that gives up after its own patience has seen a timeout; a recogniser answers while it listens.
    const late = modality !== "stt" && attemptTimeoutMs > 0 && !this.#answered && waitedMs >= attemptTimeoutMs;
    this.#tell(late ? { kind: "timeout", detail: "no answer in time" } : { kind: "cancelled", detail: "" });
    this.#inner.cancel(reason);
  }

  #tell(outcome: InvocationOutcome): void {
    if (this.#told) return;
    this.#told = true;
    this.#pass(outcome);
  }
}

const reportOf = ({ provider, model, region, phase, inARow }: Circuit): CircuitReport => ({
  provider,
  model,
  region,
  phase,
  failuresInARow: inARow,
});

/**
 * Whether the provider is to blame; undefined: the outcome says nothing of it. A request that was wrong in itself (settings,
 * caps) must not close a provider to everybody else.
 */
export function blamed({ kind, detail }: InvocationOutcome): boolean | undefined {
  if (kind === "cancelled") return undefined;
  if (kind === "success" || kind === "safety_block") return false;
  if (kind === "empty") return detail.startsWith("silent_audio") ? true : undefined;
  if (kind === "error") return /^(HTTP 5\d\d|malformed|the provider threw)/.test(detail) ? true : undefined;
  return true;
}

/** `rate_limited: … retry after 1200 ms`: what the vendor asked for. */
export function retryAfterMs(detail: string): number | undefined {
  const [, ms] = /^(?:rate_limited|quota):.*retry after (\d{1,9}) ms/.exec(detail) ?? [];
  return ms === undefined ? undefined : Number(ms);
}
