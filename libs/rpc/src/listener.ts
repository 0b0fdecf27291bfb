/** A listening socket with a bound on connections, whose refusals to start say what to do. */
import { createServer, type Server, type Socket } from "node:net";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { type RpcError, rpcError } from "./errors.ts";
import { limits } from "./limits.ts";
import { overflowOf } from "./overflow.ts";
import type { ServerTls } from "./tls.ts";

export interface ListenOptions {
  /** Address to bind; default 127.0.0.1. */
  readonly host?: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** Past it a few are told why they are refused, and the rest is closed as it comes. */
  readonly connectionsMax?: number;
}

export interface Listener {
  readonly host: string;
  readonly port: number;
  connections(): number;
  /** The socket of a peer as `address:port`; undefined when it is gone. */
  socketOf(peer: string): Socket | undefined;
  /** Takes no new connections; resolves when the last one is gone. */
  stopListening(): Promise<void>;
  /** Ends every connection at once. */
  destroyAll(): void;
}

/**
 * @throws RpcError `config_invalid` when the address cannot be bound: taken, not allowed, or not of this machine.
 */
export async function listen(
  domain: string,
  options: ListenOptions & { readonly tls?: ServerTls },
  onConnection: (socket: Socket) => void,
): Promise<Listener> {
  const { host = "127.0.0.1", port, connectionsMax = limits.RPC_CONNECTIONS_MAX } = options;
  const sockets = new Map<string, Socket>();
  const refused = new Set<Socket>();
  const overflow = overflowOf({ domain, connectionsMax, ...(options.tls === undefined ? {} : { tls: options.tls }) });
  const server = createServer({ noDelay: true }, (socket) => {
    // Without a listener a reset would end the process; the protocol above sees the close.
    socket.on("error", () => undefined);
    if (sockets.size >= connectionsMax) {
      refused.add(socket);
      socket.once("close", () => refused.delete(socket));
      return overflow(socket);
    }
    const peer = `${socket.remoteAddress}:${socket.remotePort}`;
    sockets.set(peer, socket);
    socket.once("close", () => sockets.delete(peer));
    onConnection(socket);
  });
  server.maxConnections = connectionsMax + limits.RPC_OVERFLOW_CONNECTIONS_MAX;
  await bind(server, domain, host, port);
  const address = server.address();
  return {
    host,
    port: typeof address === "object" && address !== null ? address.port : port,
    connections: () => sockets.size,
    socketOf: (peer) => sockets.get(peer),
    stopListening: () => new Promise((resolve) => server.close(() => resolve())),
    destroyAll: () => {
      for (const socket of [...sockets.values(), ...refused]) socket.destroy();
    },
  };
}

function bind(server: Server, domain: string, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (failure: NodeJS.ErrnoException) => reject(bindError(failure, domain, host, port)));
    server.listen({ host, port }, () => {
      server.removeAllListeners("error");
      server.on("error", () => undefined);
      resolve();
    });
  });
}

const remedies: Readonly<Record<string, string>> = {
  EADDRINUSE: "Another process listens there: stop it, or set another port (0 picks a free one).",
  EACCES: "This user may not bind that port: set one above 1023.",
  EADDRNOTAVAIL: "This machine has no such address: set the host to one it has, or 0.0.0.0.",
  ENOTFOUND: "The host name has no address: set the host to an IP address of this machine.",
};

function bindError(failure: NodeJS.ErrnoException, domain: string, host: string, port: number): RpcError {
  const problem = failure.code ?? "unknown";
  const remedy = remedies[problem];
  return rpcError(ErrorReason.CONFIG_INVALID, {
    domain,
    metadata: { key: "port", host, port: String(port), problem },
    ...(remedy === undefined ? {} : { remedy }),
    cause: failure,
  });
}

/** False when `ms` went by first. */
export async function within(done: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  const result = await Promise.race([done.then(() => true), late]);
  clearTimeout(timer);
  return result;
}
