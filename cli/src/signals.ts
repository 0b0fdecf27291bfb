/** Ctrl-C, SIGTERM and a time limit as one signal, so that a command ends in order. */

export interface Interruption {
  readonly signal: AbortSignal;
  release(): void;
}

/** @param afterMs aborted after so long; without it only by a signal. A second signal ends the process at once. */
export function interrupted(afterMs?: number): Interruption {
  const controller = new AbortController();
  const stop = (): void => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort();
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  const timer = afterMs === undefined ? undefined : setTimeout(() => controller.abort(), afterMs);
  return {
    signal: controller.signal,
    release: () => {
      clearTimeout(timer);
      process.off("SIGINT", stop);
      process.off("SIGTERM", stop);
    },
  };
}
