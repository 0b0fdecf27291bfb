/**
 * How many calls a provider is asked at once and in a minute, of everybody and of one tenant (F-050, F-137). A call beyond it
 * waits a moment in a bounded queue, with its input held; else it is refused as `overload` with the time to come again.
 */
import { monoPlusNs, msToNs, nsToMs } from "@rspp/base/brand";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type { Invocation, InvocationInput, InvocationOpen, InvocationSink } from "@rspp/ports/provider";
import type { ProviderTerms } from "./terms.ts";

export const admissionLimits = {
  /** Longest wait, and at most half of the call's own time. */
  WAIT_MS_MAX: 500,
  /** Calls that wait for one scope. */
  QUEUED_MAX: 256,
  /** Inputs held of one call, and their size together. */
  INPUTS_MAX: 512,
  SIZE_MAX: 1_048_576,
  /** Scopes remembered; one without calls is forgotten first. */
  SCOPES_MAX: 10_000,
} as const;

interface Scope {
  readonly key: string;
  inFlight: number;
  /** Calls that may begin now; refilled with time, up to a tenth of a minute's. */
  tokens: number;
  refilledMs: number;
  queued: number;
}

/** Why a call may not begin now, and after how long it may. */
interface Refusal {
  readonly why: "concurrency" | "rate";
  readonly afterMs: number;
}

export class Admission {
  readonly #clock: Clock;
  readonly #scopes = new Map<string, Scope>();
  readonly #waiting = new Set<WaitingCall>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls that wait now. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** The call under these terms; `open` where it may begin, at once or after its wait. */
  open(
    request: InvocationOpen,
    sink: InvocationSink,
    terms: readonly ProviderTerms[],
    open: (sink: InvocationSink) => Invocation,
  ): Invocation {
    const bounded = terms.filter((one) => one.concurrencyMax !== undefined || one.ratePerMinute !== undefined);
    if (bounded.length === 0) return open(sink);
    const scopes = bounded.map((one) => [this.#scope(`${request.provider}\n${one.scope}`, one), one] as const);
    const call = new WaitingCall(sink, () => this.#left(call));
    const admit = (): Refusal | undefined => {
      const refusal = scopes.map(([scope, one]) => this.#refusal(scope, one)).find((found) => found !== undefined);
      if (refusal !== undefined) return refusal;
      for (const [scope] of scopes) this.#take(scope);
      call.begin(open, () => {
        for (const [scope] of scopes) this.#release(scope);
      });
      return undefined;
    };
    const refusal = admit();
    if (refusal === undefined) return call;
    const waitMs = Math.min(admissionLimits.WAIT_MS_MAX, Math.max(0, request.attemptTimeoutMs / 2));
    const full = scopes.some(([scope]) => scope.queued >= admissionLimits.QUEUED_MAX);
    if (full || waitMs === 0 || (refusal.why === "rate" && refusal.afterMs > waitMs)) {
      call.timer = this.#clock.timerAt(this.#clock.nowNs(), () => call.refuse(refusal));
      return call;
    }
    for (const [scope] of scopes) scope.queued += 1;
    call.dequeue = () => {
      for (const [scope] of scopes) scope.queued -= 1;
    };
    call.admit = admit;
    this.#waiting.add(call);
    call.timer = this.#at(waitMs, () => call.refuse(admit() ?? null));
    if (refusal.why === "rate") call.retry = this.#at(refusal.afterMs, () => this.#serve());
    return call;
  }

  #at(ms: number, run: () => void): TimerHandle {
    return this.#clock.timerAt(monoPlusNs(this.#clock.nowNs(), msToNs(ms)), run);
  }

  #scope(key: string, { ratePerMinute = 0 }: ProviderTerms): Scope {
    let scope = this.#scopes.get(key);
    if (scope === undefined) {
      scope = { key, inFlight: 0, tokens: burstOf(ratePerMinute), refilledMs: nsToMs(this.#clock.nowNs()), queued: 0 };
      this.#scopes.set(key, scope);
      if (this.#scopes.size > admissionLimits.SCOPES_MAX) this.#forgetOne();
    }
    return scope;
  }

  #forgetOne(): void {
    for (const [key, { inFlight, queued }] of this.#scopes) {
      if (inFlight > 0 || queued > 0) continue;
      this.#scopes.delete(key);
      return;
    }
  }

  #refusal(scope: Scope, { concurrencyMax, ratePerMinute }: ProviderTerms): Refusal | undefined {
    if (concurrencyMax !== undefined && scope.inFlight >= concurrencyMax) return { why: "concurrency", afterMs: 1_000 };
    if (ratePerMinute === undefined) {
      scope.tokens = 1;
      return undefined;
    }
    const nowMs = nsToMs(this.#clock.nowNs());
    const perMs = ratePerMinute / 60_000;
    scope.tokens = Math.min(burstOf(ratePerMinute), scope.tokens + (nowMs - scope.refilledMs) * perMs);
    scope.refilledMs = nowMs;
    // A rounding of the clock must not make a call wait for nothing.
    if (scope.tokens >= 1 - 1e-6) return undefined;
    return { why: "rate", afterMs: Math.ceil((1 - scope.tokens) / perMs) };
  }

  #take(scope: Scope): void {
    scope.inFlight += 1;
    scope.tokens -= 1;
  }

  #release(scope: Scope): void {
    scope.inFlight -= 1;
    this.#serve();
  }

  /** First come, first served; whoever still may not begin goes on waiting. */
  #serve(): void {
    for (const call of [...this.#waiting]) call.admit?.();
  }

  #left(call: WaitingCall): void {
    this.#waiting.delete(call);
  }
}

/** Bursts of a tenth of a minute's calls. */
function burstOf(ratePerMinute: number): number {
  return Math.max(1, ratePerMinute / 10);
}

/** A call that may have to wait: its input is held till then. */
class WaitingCall implements Invocation {
  readonly #sink: InvocationSink;
  readonly #left: () => void;
  #held: (InvocationInput | "finish")[] = [];
  #size = 0;
  #inner: Invocation | undefined;
  #done = false;
  #release: (() => void) | undefined;
  timer: TimerHandle | undefined;
  retry: TimerHandle | undefined;
  admit: (() => Refusal | undefined) | undefined;
  dequeue: (() => void) | undefined;

  constructor(sink: InvocationSink, left: () => void) {
    this.#sink = sink;
    this.#left = left;
  }

  begin(open: (sink: InvocationSink) => Invocation, release: () => void): void {
    this.#unqueue();
    this.#release = release;
    try {
      this.#inner = open({
        chunk: (chunk) => this.#sink.chunk(chunk),
        outcome: (outcome) => {
          this.#letGo();
          this.#sink.outcome(outcome);
        },
      });
    } catch (thrown) {
      this.#letGo();
      throw thrown;
    }
    for (const input of this.#held.splice(0)) {
      if (input === "finish") this.#inner.finish();
      else this.#inner.push(input);
    }
  }

  #letGo(): void {
    const release = this.#release;
    this.#release = undefined;
    release?.();
  }

  /** Null: it has begun after all. */
  refuse(refusal: Refusal | null): void {
    if (refusal === null || this.#done || this.#inner !== undefined) return;
    const { why, afterMs } = refusal;
    this.#end("overload", `rate_limited: ${why} of this provider; retry after ${afterMs} ms`);
  }

  push(input: InvocationInput): void {
    if (this.#inner !== undefined) return this.#inner.push(input);
    if (this.#done) return;
    this.#size += sizeOf(input);
    if (this.#held.length >= admissionLimits.INPUTS_MAX || this.#size > admissionLimits.SIZE_MAX)
      return this.#end("overload", "rate_limited: more input came than is held while a call waits");
    this.#held.push(input);
  }

  finish(): void {
    if (this.#inner !== undefined) this.#inner.finish();
    else this.#held.push("finish");
  }

  cancel(reason: string): void {
    if (this.#inner === undefined) return this.#end("cancelled", "cancelled");
    this.#inner.cancel(reason);
    // A provider that is slow to stop holds no place: nobody waits for it any more.
    this.#letGo();
  }

  #end(kind: "overload" | "cancelled", detail: string): void {
    if (this.#done) return;
    this.#done = true;
    this.#held = [];
    this.#unqueue();
    this.#sink.outcome({ kind, detail });
  }

  #unqueue(): void {
    this.timer?.clear();
    this.retry?.clear();
    this.dequeue?.();
    this.dequeue = undefined;
    this.admit = undefined;
    this.#left();
  }
}

function sizeOf(input: InvocationInput): number {
  if (input.kind === "audio") return input.bytes.length;
  if (input.kind === "text") return input.text.length;
  return input.messages.reduce((sum, { text }) => sum + text.length, 0);
}
