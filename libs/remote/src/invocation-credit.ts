/**
 * Credit for chunks, the same in both directions: a window that is there from the start, and what the receiver gives back
 * as it is done with chunks. One chunk may always go when nothing is under way, however large.
 */
import { invocationLimits as limits } from "./invocation-limits.ts";

export interface Credit {
  readonly chunks: number;
  readonly bytes: number;
}

/** The sender's side: what has no credit waits in order, bounded. */
export class CreditedQueue<T> {
  readonly #send: (item: T, bytes: number) => void;
  #waiting: { item: T; bytes: number }[] = [];
  #waitingBytes = 0;
  #chunks: number = limits.WINDOW_CHUNKS;
  #bytes: number = limits.WINDOW_BYTES;
  #afterwards: (() => void) | null = null;

  constructor(send: (item: T, bytes: number) => void) {
    this.#send = send;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** False when the queue is full; the item is not taken. */
  offer(item: T, bytes: number): boolean {
    if (this.#waiting.length >= limits.QUEUE_CHUNKS_MAX) return false;
    if (this.#waiting.length > 0 && this.#waitingBytes + bytes > limits.QUEUE_BYTES_MAX) return false;
    this.#waiting.push({ item, bytes });
    this.#waitingBytes += bytes;
    this.#flush();
    return true;
  }

  /** Runs once everything offered before has been sent. */
  afterwards(run: () => void): void {
    this.#afterwards = run;
    this.#flush();
  }

  /** More than the windows of the contract is not kept. */
  grant(credit: Credit): void {
    this.#chunks = Math.min(65_536, this.#chunks + credit.chunks);
    this.#bytes = Math.min(16_777_216, this.#bytes + credit.bytes);
    this.#flush();
  }

  /** Drops what waits. */
  clear(): void {
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#afterwards = null;
  }

  #flush(): void {
    // Each is taken out before it is sent: sending may give credit, or end the invocation, at once.
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const idle = this.#bytes >= limits.WINDOW_BYTES;
      if (this.#chunks < 1 || (next.bytes > this.#bytes && !idle)) return;
      this.#waiting.shift();
      this.#chunks--;
      this.#bytes -= next.bytes;
      this.#waitingBytes -= next.bytes;
      this.#send(next.item, next.bytes);
    }
    if (this.#afterwards === null) return;
    const run = this.#afterwards;
    this.#afterwards = null;
    run();
  }
}

/** The receiver's side: holds the sender to its credit, and gives it back in halves of a window. */
export class CreditAccount {
  readonly #give: (credit: Credit) => void;
  #openChunks = 0;
  #openBytes = 0;
  #doneChunks = 0;
  #doneBytes = 0;

  constructor(give: (credit: Credit) => void) {
    this.#give = give;
  }

  /** False when the sender had no credit for it. */
  received(bytes: number): boolean {
    const fits = this.#openBytes === 0 || this.#openBytes + bytes <= limits.WINDOW_BYTES;
    this.#openChunks++;
    this.#openBytes += bytes;
    return fits && this.#openChunks <= limits.WINDOW_CHUNKS;
  }

  done(bytes: number): void {
    this.#doneChunks++;
    this.#doneBytes += bytes;
    if (this.#doneChunks * 2 < limits.WINDOW_CHUNKS && this.#doneBytes * 2 < limits.WINDOW_BYTES) return;
    const credit = { chunks: this.#doneChunks, bytes: this.#doneBytes };
    this.#openChunks -= credit.chunks;
    this.#openBytes -= credit.bytes;
    this.#doneChunks = 0;
    this.#doneBytes = 0;
    this.#give(credit);
  }
}
