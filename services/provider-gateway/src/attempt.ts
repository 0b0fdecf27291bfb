import type { Clock } from "@rspp/ports/clock";
import type {
  Invocation,
  InvocationChunk,
  InvocationOutcome,
  InvocationSink,
  OutcomeKind,
  Provider,
} from "@rspp/ports/provider";
import type { BatchTerms } from "./batch/batch.ts";

/** A provider as the gateway manages it. */
export interface ManagedProvider extends Provider {
  /** Declared by one whose calls may share a request; the gateway collects them, and `open` is not used (F-051). */
  readonly batch?: BatchTerms;
  /** False while it cannot serve here, e.g. its program is not installed; absent means always. */
  available?(): boolean;
  /** Starts what is slow to start. Resolves when ready; never rejects. */
  warm?(): Promise<void>;
  /** Ends processes and threads. Idempotent. */
  close?(): Promise<void>;
}

/** One invocation's way out: nothing leaves after the outcome, and the outcome leaves once. */
export class Attempt {
  readonly #sink: InvocationSink;
  readonly #cleanUps: (() => void)[] = [];
  #done = false;

  constructor(sink: InvocationSink) {
    this.#sink = sink;
  }

  get done(): boolean {
    return this.#done;
  }

  /** Runs at the outcome, whatever it is; at once when it has been. */
  onEnd(cleanUp: () => void): void {
    if (this.#done) cleanUp();
    else this.#cleanUps.push(cleanUp);
  }

  chunk(chunk: InvocationChunk): void {
    if (!this.#done) this.#sink.chunk(chunk);
  }

  end(kind: OutcomeKind, detail: string, usage?: InvocationOutcome["usage"]): void {
    if (this.#done) return;
    this.#done = true;
    for (const cleanUp of this.#cleanUps.splice(0)) cleanUp();
    this.#sink.outcome(usage ? { kind, detail, usage } : { kind, detail });
  }
}

/**
 * An invocation that ends on the clock's next turn, so that the caller holds it before its outcome arrives.
 */
export function endedInvocation(clock: Clock, sink: InvocationSink, kind: OutcomeKind, detail: string): Invocation {
  const attempt = new Attempt(sink);
  const timer = clock.timerAt(clock.nowNs(), () => attempt.end(kind, detail));
  attempt.onEnd(() => timer.clear());
  return { push: () => {}, finish: () => {}, cancel: () => attempt.end("cancelled", "cancelled") };
}
