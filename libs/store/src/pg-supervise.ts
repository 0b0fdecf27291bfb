import { setTimeout as pause } from "node:timers/promises";
import type { PgServer } from "./pg-server.ts";
import { messageOf, StoreError } from "./store-error.ts";

/** `down`: it could not be started again several times; it is still tried, less often. */
export interface ServerEvent {
  readonly kind: "died" | "down" | "back";
  readonly error: StoreError;
}

export interface Supervised extends PgServer {
  /** Why there is no server at the moment; undefined while there is one. */
  trouble(): StoreError | undefined;
}

/** Restarts in a minute before they slow down: a crash loop must not eat the machine. */
const quickRestartsMax = 5;
const quickPauseMs = 200;
const slowPauseMs = 5_000;
const windowMs = 60_000;

/**
 * Starts the embedded server again when it dies by itself (crash, out of memory, full disk, kill -9), for as long as it
 * takes: space is freed, memory comes back. Its address stays the same, so that connections come back by themselves.
 */
export function superviseServer(
  first: PgServer,
  start: () => Promise<PgServer>,
  onServer: (event: ServerEvent) => void = () => undefined,
): Supervised {
  const stopping = new AbortController();
  const recent: number[] = [];
  let current = first;
  let trouble: StoreError | undefined;

  const restart = async (): Promise<void> => {
    for (let failures = 0; !stopping.signal.aborted; failures++) {
      const now = performance.now();
      while (recent[0] !== undefined && now - recent[0] > windowMs) recent.shift();
      const slow = recent.length >= quickRestartsMax;
      if (slow || failures > 0) await rest(slow ? slowPauseMs : quickPauseMs, stopping.signal);
      if (stopping.signal.aborted) return;
      recent.push(performance.now());
      try {
        current = await start();
        trouble = undefined;
        return;
      } catch (error) {
        trouble = error instanceof StoreError ? error : notStarted(error);
        if (failures + 1 === quickRestartsMax) onServer({ kind: "down", error: trouble });
      }
    }
  };

  const watch = async (): Promise<StoreError> => {
    for (;;) {
      const error = await current.gone;
      if (stopping.signal.aborted) return error;
      trouble = error;
      onServer({ kind: "died", error });
      await restart();
      if (stopping.signal.aborted) {
        await current.stop(); // it came up while we were stopping, or is long gone
        return error;
      }
      onServer({ kind: "back", error });
    }
  };
  const gone = watch();

  return {
    ...first,
    pid: () => current.pid(),
    gone,
    trouble: () => trouble,
    stop: async () => {
      stopping.abort();
      if (trouble === undefined) await current.stop();
      await gone;
    },
  };
}

function rest(ms: number, signal: AbortSignal): Promise<void> {
  return pause(ms, undefined, { signal }).catch(() => undefined);
}

function notStarted(cause: unknown): StoreError {
  return new StoreError(
    "unavailable",
    `The embedded database cannot be started (${messageOf(cause)})`,
    "Look at its log; it is tried again every few seconds",
    cause,
  );
}
