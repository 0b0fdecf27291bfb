/** A stream that is opened again whenever it ends, until it is stopped; the waits in between grow and are spread. */
import { asMonoNs, msToNs } from "@rspp/base/brand";
import type { Clock } from "@rspp/ports/clock";
import { limits } from "./limits.ts";

export interface StreamLoopOptions {
  readonly clock: Clock;
  /**
   * Opens the stream and settles when it is over, either way. `alive` is to be called with its first message: the peer is
   * there, and the waits begin at their first length again.
   */
  run(signal: AbortSignal, alive: () => void): Promise<void>;
  /** Told when the peer comes and when a stream has ended, with what it was refused by, if anything. */
  onReachable?(there: boolean, failure: unknown): void;
  /** 0 to 1, spreads the waits. Default Math.random. */
  random?(): number;
}

export interface StreamLoop {
  /** Ends the stream; settles when it has ended. */
  stop(): Promise<void>;
}

export function startStreamLoop(options: StreamLoopOptions): StreamLoop {
  const { clock, random = Math.random } = options;
  const aborted = new AbortController();
  const { signal } = aborted;
  const loop = async (): Promise<void> => {
    let capMs: number = limits.STREAM_BACKOFF_FIRST_MS;
    while (!signal.aborted) {
      const failure = await options
        .run(signal, () => {
          capMs = limits.STREAM_BACKOFF_FIRST_MS;
          if (!signal.aborted) options.onReachable?.(true, null);
        })
        .then(
          () => null,
          (thrown: unknown) => thrown ?? new Error("the stream failed"),
        );
      if (signal.aborted) return;
      options.onReachable?.(false, failure);
      await pause(clock, capMs * (0.5 + random() / 2), signal);
      capMs = Math.min(capMs * 2, limits.STREAM_BACKOFF_MAX_MS);
    }
  };
  const running = loop();
  return {
    stop: () => {
      aborted.abort();
      return running;
    },
  };
}

/** Settles after `ms` by the clock, or at once when one of the signals is aborted. */
export function pause(clock: Clock, ms: number, ...signals: readonly AbortSignal[]): Promise<void> {
  return new Promise((resolve) => {
    if (signals.some(({ aborted }) => aborted)) return resolve();
    // Listeners of its own rather than AbortSignal.any, which long-lived signals would collect.
    const done = (): void => {
      timer.clear();
      for (const signal of signals) signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = clock.timerAt(asMonoNs(clock.nowNs() + msToNs(Math.max(0, ms))), done);
    for (const signal of signals) signal.addEventListener("abort", done);
  });
}
