/** What a provider says that answers several one-shot calls with one request of its own (F-051). */
import type { InvocationInput, InvocationOpen, InvocationSink } from "@rspp/ports/provider";

/** One call of a batch, its input complete. */
export interface BatchCall {
  readonly request: InvocationOpen;
  readonly inputs: readonly InvocationInput[];
  /** Its own way out: one outcome; what comes after that, or after its cancel, is refused. */
  readonly sink: InvocationSink;
}

/** A request under way. */
export interface BatchRun {
  /** Nobody wants this one's answer any more; the others' are wanted. Idempotent. */
  cancel(call: BatchCall, reason: string): void;
}

export interface BatchTerms {
  /** Calls in one request at most; 1 is no batching. */
  readonly itemsMax: number;
  /** Milliseconds that the first call waits for others at most. */
  readonly windowMs: number;
  /** Milliseconds until a request is usually answered: no call waits past its attempt's timeout less this. */
  readonly answerMs: number;
  /** Sends one request for all; each call gets its own outcome. Their provider, tenant and settings are the same. */
  run(calls: readonly BatchCall[]): BatchRun;
}
