/** An invocation of a voice that is asked clause by clause, a request each. */
import type { Clock } from "@rspp/ports/clock";
import type { Invocation, InvocationInput, InvocationSink } from "@rspp/ports/provider";
import { Attempt } from "../../attempt.ts";
import { failureOfThrown, SpeechFailure } from "./failure.ts";
import { speechLimits } from "./limits.ts";
import { type SpeechFormat, speechSpecs } from "./settings.ts";
import { type Clause, SpeechOut, speakable } from "./speech-out.ts";

export { speechSpecs };

/** What is needed of a vendor to say one clause. */
export interface ClauseRequest {
  readonly clause: Clause;
  readonly out: SpeechOut;
  /** Aborted when the invocation has ended, however: the request must be closed then. */
  readonly signal: AbortSignal;
  /** Called at the answer's beginning and at each part of it. */
  progress(): void;
}

export interface ClauseSpeechOptions {
  readonly clock: Clock;
  readonly sink: InvocationSink;
  readonly format: SpeechFormat;
  readonly sourceHz: number;
  readonly values: { readonly streaming: boolean; readonly connect_timeout_ms: number; readonly stall_ms: number };
  /** Resolves when the clause's audio is in. Throws SpeechFailure, or what a failed connection throws. */
  speak(request: ClauseRequest): Promise<void>;
  /** What the vendor's own errors mean; default: a failed connection. */
  failure?(error: unknown): SpeechFailure;
}

/**
 * Clauses are said in order, the next asked for when the last is in. Time is real: while a request is under way a virtual
 * clock is held.
 */
export class ClauseSpeech implements Invocation {
  readonly #options: ClauseSpeechOptions;
  readonly #attempt: Attempt;
  readonly #abort = new AbortController();
  readonly #queue: Clause[] = [];
  #out: SpeechOut | undefined;
  #timer: NodeJS.Timeout | undefined;
  #busy = false;
  #finished = false;
  #clauses = 0;
  #characters = 0;

  constructor(options: ClauseSpeechOptions) {
    this.#options = options;
    this.#attempt = new Attempt(options.sink);
    this.#attempt.onEnd(() => {
      clearTimeout(this.#timer);
      this.#queue.length = 0;
      this.#abort.abort();
      if (!this.#busy) this.#out?.close();
    });
  }

  push(input: InvocationInput): void {
    if (input.kind !== "text" || this.#finished || this.#attempt.done) return;
    this.#clauses++;
    const { CLAUSES_MAX, CLAUSE_CHARS_MAX } = speechLimits;
    if (input.text.length > CLAUSE_CHARS_MAX || this.#clauses > CLAUSES_MAX) {
      this.#attempt.end("error", `at most ${CLAUSES_MAX} clauses of ${CLAUSE_CHARS_MAX} characters`);
      return;
    }
    this.#queue.push({ text: input.text, segment: input.segment });
    this.#next();
  }

  finish(): void {
    if (this.#finished || this.#attempt.done) return;
    this.#finished = true;
    if (this.#clauses > 0) return this.#next();
    const { clock } = this.#options;
    const timer = clock.timerAt(clock.nowNs(), () => this.#attempt.end("empty", "finished without text"));
    this.#attempt.onEnd(() => timer.clear());
  }

  cancel(): void {
    this.#attempt.end("cancelled", "cancelled");
  }

  #next(): void {
    if (this.#busy || this.#attempt.done) return;
    const clause = this.#queue.shift();
    if (clause === undefined) {
      const usage = { audioUs: this.#out?.audioUs ?? 0, characters: this.#characters };
      if (this.#finished) this.#attempt.end("success", "", usage);
      return;
    }
    this.#busy = true;
    const release = this.#options.clock.hold();
    this.#speak(clause)
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        this.#busy = false;
        clearTimeout(this.#timer);
        release();
        if (this.#attempt.done) this.#out?.close();
        else this.#next();
      });
  }

  async #speak(clause: Clause): Promise<void> {
    const { values, format, sourceHz } = this.#options;
    const attempt = this.#attempt;
    this.#out ??= await SpeechOut.open({ attempt, format, sourceHz, whole: !values.streaming });
    if (attempt.done) return;
    this.#characters += clause.text.length;
    if (!speakable(clause.text)) return this.#out.silence(clause);
    this.#out.begin(clause);
    this.#arm(values.connect_timeout_ms, "no answer in time (setting `connect_timeout_ms`)");
    const progress = (): void => this.#arm(values.stall_ms, "stalled");
    await this.#options.speak({ clause, out: this.#out, signal: this.#abort.signal, progress });
    if (!attempt.done && !this.#out.end()) attempt.end("empty", "the answer holds no audio");
  }

  #arm(ms: number, detail: string): void {
    clearTimeout(this.#timer);
    if (this.#attempt.done) return;
    this.#timer = setTimeout(() => this.#attempt.end("timeout", detail), ms);
  }

  #fail(error: unknown): void {
    if (this.#attempt.done) return;
    const failure = error instanceof SpeechFailure ? error : (this.#options.failure?.(error) ?? failureOfThrown(error));
    this.#attempt.end(failure.kind, failure.message);
  }
}
