import { monoPlusNs, msToNs } from "@rspp/base/brand";
import { createStream, nextFloat } from "@rspp/base/random";
import type { Clock } from "@rspp/ports/clock";
import type { InvocationOpen, OutcomeKind } from "@rspp/ports/provider";
import type { Attempt } from "../attempt.ts";
import type { SettingValues } from "../settings.ts";

export const faults = [
  "none",
  "timeout",
  /** Stops half way and ends in a timeout of its own. */
  "timeout_midway",
  "overload",
  "rate_limited",
  "server_error",
  "unauthorized",
  "disconnect",
  /** Stops half way, says nothing more and does not end. */
  "stall",
  "garbage",
  /** TTS: frames of silence. Others: as `empty`. */
  "silent_audio",
  "silent",
  "empty",
  "late_data",
  "chunk_after_terminal",
] as const;
export type Fault = (typeof faults)[number];

/** Faults that are one outcome after the first wait. */
const atOnce: Readonly<Partial<Record<Fault, readonly [OutcomeKind, string]>>> = {
  overload: ["overload", "sim: too many requests"],
  rate_limited: ["overload", "rate_limited: sim"],
  server_error: ["error", "HTTP 500"],
  unauthorized: ["unauthorized", "sim: key refused"],
  garbage: ["error", "malformed answer"],
  empty: ["empty", "sim: nothing to say"],
};

/** Settings every `sim` provider understands; times in milliseconds. */
export const simSpecs = {
  /** From the work's start to its first chunk. */
  first_chunk_ms: { type: "number", default: 0, min: 0, max: 600_000 },
  /** Between chunks. */
  chunk_ms: { type: "number", default: 0, min: 0, max: 600_000 },
  /** Added to each wait: uniform in 0..jitter, or exponential with this mean (cut off at ten times). */
  jitter_ms: { type: "number", default: 0, min: 0, max: 60_000 },
  distribution: { type: "string", default: "uniform", oneOf: ["uniform", "exponential"] },
  /** Same seed and invocation id, same waits. */
  seed: { type: "string", default: "rspp" },
  /** False: the answer comes whole, once its last piece would have come. */
  streaming: { type: "boolean", default: true },
  /** How the provider fails; see `faults`. */
  fault: { type: "string", default: "none", oneOf: faults },
} as const;

type SimValues = Omit<SettingValues<typeof simSpecs>, "streaming"> & { readonly streaming?: boolean };

/** Waits drawn from the seed, all on the given clock. */
export class Pace {
  readonly fault: Fault;
  readonly #clock: Clock;
  readonly #attempt: Attempt;
  readonly #values: SimValues;
  readonly #request: InvocationOpen;
  readonly #stream;

  constructor(clock: Clock, attempt: Attempt, request: InvocationOpen, values: SimValues) {
    this.#clock = clock;
    this.#attempt = attempt;
    this.#request = request;
    this.#values = values;
    this.#stream = createStream(values.seed, 0, `sim/${request.invocationId}`);
    this.fault = values.fault as Fault;
  }

  /**
   * Calls `run` after the wait of chunk `index` (0 is the first). Waits end with the invocation, except under the fault
   * `late_data`. With all times zero it runs on the clock's next turn.
   */
  after(index: number, run: () => void): void {
    const base = index === 0 ? this.#firstMs() : this.#values.chunk_ms;
    this.#at(base + this.#jitterMs(), run);
  }

  #at(ms: number, run: () => void): void {
    const timer = this.#clock.timerAt(monoPlusNs(this.#clock.nowNs(), msToNs(ms)), run);
    if (this.fault !== "late_data") this.#attempt.onEnd(() => timer.clear());
  }

  /** Whether it answers piece by piece. */
  get streaming(): boolean {
    return this.#values.streaming ?? true;
  }

  /** As {@link after} for chunk 0 and all of `chunks` that come after it. */
  afterAll(chunks: number, run: () => void): void {
    this.#at(this.#firstMs() + this.#values.chunk_ms * Math.max(0, chunks - 1) + this.#jitterMs(), run);
  }

  /** True when following chunks need no wait of their own. */
  get immediate(): boolean {
    return this.#values.chunk_ms === 0 && this.#values.jitter_ms === 0;
  }

  /**
   * Deals with the faults that leave no chunk at all. Returns true when it did, and the provider has nothing more to do.
   */
  failsAtOnce(): boolean {
    const attempt = this.#attempt;
    if (this.fault === "silent") return true;
    if (this.fault === "timeout") {
      this.timesOut();
      return true;
    }
    const outcome = atOnce[this.fault];
    if (outcome !== undefined) this.after(0, () => attempt.end(...outcome));
    return outcome !== undefined;
  }

  /** Ends in a timeout after the time allowed. */
  timesOut(): void {
    const at = monoPlusNs(this.#clock.nowNs(), msToNs(this.#request.attemptTimeoutMs));
    const timer = this.#clock.timerAt(at, () => this.#attempt.end("timeout", "sim: no answer in time"));
    this.#attempt.onEnd(() => timer.clear());
  }

  /** The faults that strike after the answer began. True when it did something: nothing more is sent. */
  breaksOff(): boolean {
    if (this.fault === "disconnect") this.#attempt.end("disconnect", "sim: connection lost");
    else if (this.fault === "timeout_midway") this.timesOut();
    else if (this.fault !== "stall") return false;
    return true;
  }

  #firstMs(): number {
    // Late data: what comes first comes after the time allowed.
    const late = this.fault === "late_data" ? this.#request.attemptTimeoutMs * 1.25 : 0;
    return this.#values.first_chunk_ms + late;
  }

  #jitterMs(): number {
    const { jitter_ms: jitter, distribution } = this.#values;
    if (jitter === 0) return 0;
    const u = nextFloat(this.#stream);
    return distribution === "uniform" ? u * jitter : Math.min(-Math.log(1 - u), 10) * jitter;
  }
}

/**
 * Sends pieces one after the other with their waits, then calls `done`. Honours the faults that break off half way.
 */
export function sendPaced<T>(
  pace: Pace,
  pieces: readonly T[],
  send: (piece: T, index: number) => void,
  done: () => void,
): void {
  const cut = Math.floor(pieces.length / 2);
  const step = (from: number): void => {
    for (let i = from; ; i++) {
      if (i === cut && pace.breaksOff()) return;
      const piece = pieces[i];
      if (piece === undefined) {
        done();
        return;
      }
      send(piece, i);
      if (!pace.immediate && i + 1 < pieces.length) {
        pace.after(i + 1, () => step(i + 1));
        return;
      }
    }
  };
  pace.after(0, () => step(0));
}
