/** A port that callers' sockets come in at: HTTP or HTTPS with certificates that may change, answers before an upgrade. */
import { createServer, type Server } from "node:http";
import { createServer as createTlsServer, type ServerOptions } from "node:https";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { dialAddress } from "@rspp/host/address";
import { rpcError } from "@rspp/rpc/errors";
import type { ServerTls } from "@rspp/rpc/tls";

const patience = { headersTimeout: 10_000, requestTimeout: 10_000, connectionsCheckingInterval: 5_000 };

/** Serves TLS where it is given; later certificates are for connections still to come (F-120). */
export function createListener(tls: ServerTls | undefined, connectionsMax: number): Server {
  const server = tls === undefined ? createServer(patience) : followed(tls, patience);
  server.maxConnections = connectionsMax;
  return server;
}

/** @throws the listening error of Node, e.g. EADDRINUSE. */
export async function listen(server: Server, port: number, host: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

/** The address that others dial, e.g. `ws://127.0.0.1:7206/v1/session`, where it listens on all of a machine's. */
export function reachable(url: string, host: string, port: number): string {
  return url.replace(/\/\/[^/]*/, `//${dialAddress({ host, port })}`);
}

/** For a port that cannot be listened on: names its key and what to do. */
export function bindError(
  failure: NodeJS.ErrnoException,
  at: { domain: string; key: string; host: string; port: number },
) {
  const { domain, key, host, port } = at;
  const problem = failure.code ?? "unknown";
  const taken = `Another process listens there: stop it, or set another ${key} (0 picks a free one).`;
  const remedy = problem === "EADDRINUSE" ? taken : `Check host and ${key}.`;
  const metadata = { key, host, port: String(port), problem };
  return rpcError(ErrorReason.CONFIG_INVALID, { domain, metadata, remedy, cause: failure });
}

/** Why a socket is not upgraded. */
export interface UpgradeRefusal {
  /** e.g. `404 Not Found`. */
  readonly status: string;
  /** Name in the catalogue. */
  readonly name: string;
  readonly remedy: string;
}

export function refuseUpgrade(socket: Duplex, { status, remedy }: UpgradeRefusal): void {
  const body = `${remedy}\n`;
  const headers = `Connection: close\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(body)}`;
  socket.end(`HTTP/1.1 ${status}\r\n${headers}\r\n\r\n${body}`);
}

function followed({ cert, key, live }: ServerTls, options: ServerOptions): Server {
  const server = createTlsServer({ ...options, cert, key });
  // Callers show tokens, no certificates of theirs.
  const unfollow = live?.onChange(() =>
    server.setSecureContext({ cert: live.now.cert ?? cert, key: live.now.key ?? key }),
  );
  server.once("close", () => unfollow?.());
  return server;
}
