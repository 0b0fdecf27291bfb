/** Time, chance and sockets of the place this runs in: a browser or Node. */
import { ClientError } from "./errors.ts";
import type { ClientHost, SocketConstructor } from "./types.ts";

export function globalHost(): ClientHost {
  return {
    nowMs: () => performance.now(),
    setTimer: (fire, ms) => setTimeout(fire, ms),
    clearTimer: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
    random: () => Math.random(),
  };
}

/** @throws ClientError where there is no WebSocket and none was given. */
export function globalSocket(): SocketConstructor {
  const found = (globalThis as { WebSocket?: unknown }).WebSocket;
  if (typeof found === "function") return found as SocketConstructor;
  throw new ClientError("usage", "there is no WebSocket here", "Pass options.WebSocket, e.g. that of the package ws");
}
