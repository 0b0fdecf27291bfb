import { setTimeout as pause } from "node:timers/promises";
import type { DatabaseOptions } from "./database.ts";
import type { PgServer } from "./pg-server.ts";
import { StoreError } from "./store-error.ts";

const restartsMax = 5;
const restartPauseMs = 200;
const restartWindowMs = 60_000;

/**
 * Starts the embedded server again when it dies by itself (crash, out of memory, kill -9), at most five times a minute.
 * Its address stays the same, so that connections come back by themselves; callers see `unavailable` meanwhile.
 */
export function superviseServer(
  first: PgServer,
  start: () => Promise<PgServer>,
  onServer: DatabaseOptions["onServer"],
): PgServer {
  let current = first;
  let stopping = false;
  let restarting: Promise<void> = Promise.resolve();
  const restartedAtMs: number[] = [];
  const end = Promise.withResolvers<StoreError>();

  const restart = async (): Promise<void> => {
    for (;;) {
      const now = performance.now();
      while (restartedAtMs[0] !== undefined && now - restartedAtMs[0] > restartWindowMs) restartedAtMs.shift();
      if (stopping) return;
      try {
        if (restartedAtMs.length >= restartsMax) throw new Error("it died too often");
        restartedAtMs.push(now);
        current = await start();
        if (current.url !== first.url) throw new Error("it came up at another address");
        return;
      } catch (error) {
        if (restartedAtMs.length >= restartsMax) throw error;
        await pause(restartPauseMs);
      }
    }
  };

  const watch = async (): Promise<void> => {
    const error = await current.gone;
    if (stopping) return end.resolve(error);
    onServer?.({ kind: "died", error });
    restarting = restart();
    try {
      await restarting;
      if (stopping) return end.resolve(error);
      onServer?.({ kind: "back", error });
      void watch();
    } catch (cause) {
      const givenUp = new StoreError(
        "unavailable",
        "The embedded database died and could not be started again",
        error.remedy,
        cause,
      );
      onServer?.({ kind: "given_up", error: givenUp });
      end.resolve(givenUp);
    }
  };
  void watch();

  return {
    ...first,
    pid: () => current.pid(),
    gone: end.promise,
    stop: async () => {
      stopping = true;
      await restarting.catch(() => undefined);
      await current.stop();
    },
  };
}
