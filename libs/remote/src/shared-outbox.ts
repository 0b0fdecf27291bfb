/** What waits at one end of a stream that many invocations share: in order, in few messages, and open to being overtaken. */
import { invocationLimits as limits } from "./invocation-limits.ts";

interface Waiting<F> {
  readonly call: number;
  readonly frame: F;
  /** Near its size on the wire. */
  readonly bytes: number;
  readonly written: (() => void) | undefined;
}

export interface OutboxPorts<F> {
  send(frames: F[], written: () => void): void;
  /** More waits than credit allows: the peer does not read. */
  overflow(): void;
}

/** Frames of one piece of work share a message: each message costs both ends more than its bytes. */
export class SharedOutbox<F> {
  readonly #ports: OutboxPorts<F>;
  #waiting: Waiting<F>[] = [];
  #inFlightBytes = 0;
  #planned = false;
  #closed = false;
  #afterwards: (() => void) | null = null;

  constructor(ports: OutboxPorts<F>) {
    this.#ports = ports;
  }

  push(call: number, frame: F, bytes: number, written?: () => void): void {
    if (this.#closed) return written?.();
    this.#waiting.push({ call, frame, bytes, written });
    if (this.#waiting.length > limits.SHARED_WAITING_MAX) return this.#ports.overflow();
    this.#plan();
  }

  /** Drops what waits of a call. */
  drop(call: number): readonly F[] {
    const dropped = this.#waiting.filter((one) => one.call === call);
    if (dropped.length > 0) this.#waiting = this.#waiting.filter((one) => one.call !== call);
    for (const one of dropped) one.written?.();
    return dropped.map(({ frame }) => frame);
  }

  /** Before everything that waits. */
  overtake(call: number, frame: F, written?: () => void): void {
    if (this.#closed) return written?.();
    this.#waiting.unshift({ call, frame, bytes: 0, written });
    this.#plan();
  }

  /** Runs once nothing waits. */
  afterwards(run: () => void): void {
    this.#afterwards = run;
    this.#rest();
  }

  /** The stream is over; what waits is told to be gone. */
  close(): void {
    this.#closed = true;
    for (const { written } of this.#waiting.splice(0)) written?.();
  }

  #plan(): void {
    if (this.#planned || this.#inFlightBytes >= limits.SHARED_IN_FLIGHT_BYTES) return;
    this.#planned = true;
    queueMicrotask(() => {
      this.#planned = false;
      this.#pump();
    });
  }

  #pump(): void {
    while (!this.#closed && this.#waiting.length > 0 && this.#inFlightBytes < limits.SHARED_IN_FLIGHT_BYTES) {
      const batch = this.#take();
      // A message without bytes of its own counts too, so that what is under way stays bounded.
      const bytes = batch.reduce((sum, one) => sum + one.bytes, 64);
      this.#inFlightBytes += bytes;
      const done = (): void => {
        this.#inFlightBytes -= bytes;
        for (const { written } of batch) written?.();
        this.#pump();
      };
      this.#ports.send(
        batch.map(({ frame }) => frame),
        done,
      );
    }
    this.#rest();
  }

  #rest(): void {
    if (this.#afterwards === null || this.#waiting.length > 0) return;
    const run = this.#afterwards;
    this.#afterwards = null;
    run();
  }

  #take(): Waiting<F>[] {
    let bytes = 0;
    let count = 0;
    for (const one of this.#waiting) {
      if (count > 0 && (count >= limits.SHARED_FRAMES_MAX || bytes + one.bytes > limits.SHARED_MESSAGE_BYTES)) break;
      bytes += one.bytes;
      count++;
    }
    return this.#waiting.splice(0, count);
  }
}
