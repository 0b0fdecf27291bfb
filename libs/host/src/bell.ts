/** Wakes the one loop of a watch when there is news, at the latest after a while. */

export interface Bell {
  ring(): void;
  /** Until it rings or `signal` is aborted, at most `withinMs`. */
  wait(withinMs: number): Promise<void>;
  /** It no longer listens to `signal`. */
  close(): void;
}

/** Rung while nobody waits, it is heard at the next wait. */
export function createBell(signal: AbortSignal): Bell {
  let rung = false;
  let wake: (() => void) | undefined;
  const ring = (): void => {
    rung = true;
    wake?.();
  };
  signal.addEventListener("abort", ring);
  return {
    ring,
    wait: async (withinMs: number): Promise<void> => {
      if (!rung && !signal.aborted) {
        let timer: NodeJS.Timeout | undefined;
        await new Promise<void>((resolve) => {
          wake = resolve;
          timer = setTimeout(resolve, withinMs);
        });
        clearTimeout(timer);
        wake = undefined;
      }
      rung = false;
    },
    close: () => signal.removeEventListener("abort", ring),
  };
}
