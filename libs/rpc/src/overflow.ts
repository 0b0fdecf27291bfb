/** Connections past a server's bound are held for a moment and told why, so that their clients know what to do. */
import type { ServerResponse } from "node:http";
import { constants } from "node:http2";
import type { Socket } from "node:net";
import { errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { answerTrailersOnly, type NodeHandler, type NodeResponse, plainAcceptor, tlsAcceptor } from "./acceptor.ts";
import { type RpcError, rpcError, toConnectError } from "./errors.ts";
import { limits } from "./limits.ts";
import type { ServerTls } from "./tls.ts";

export interface OverflowOptions {
  /** Service name in errors. */
  readonly domain: string;
  readonly connectionsMax: number;
  readonly tls?: ServerTls;
}

/** Takes a connection for which there is no place: any call of it is answered `capacity_exhausted`, then it ends. */
export function overflowOf({ domain, connectionsMax, tls }: OverflowOptions): (socket: Socket) => void {
  const error = rpcError(ErrorReason.CAPACITY_EXHAUSTED, {
    domain,
    metadata: { what: "connections", limit: String(connectionsMax) },
    retryAfterMs: limits.RPC_OVERFLOW_MS,
    remedy: "Close connections that are not used, or connect to another instance.",
  });
  const handle: NodeHandler = (request, response) => refuse(request.headers["content-type"] ?? "", response, error);
  const words = Buffer.from(error.message);
  const acceptor = tls === undefined ? plainAcceptor({}, handle, bye) : tlsAcceptor({}, tls, handle, bye);
  /** One that calls nothing is told as its connection ends. */
  function bye(goaway: (code: number, lastStream: number, data: Buffer) => void): void {
    goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, 0, words);
  }
  return (socket) => {
    const late = setTimeout(() => socket.destroy(), limits.RPC_OVERFLOW_MS + 250);
    socket.once("close", () => clearTimeout(late));
    acceptor.accept(socket);
  };
}

function refuse(type: string, response: NodeResponse, error: RpcError): void {
  if (type.startsWith("application/grpc")) return answerTrailersOnly(type, response, toConnectError(error));
  // Both responses take the same arguments; their types do not overlap.
  const plain = response as ServerResponse;
  const retry = { "retry-after": String(Math.ceil(limits.RPC_OVERFLOW_MS / 1_000)) };
  // Of HTTP/1.1; HTTP/2 knows no such header.
  const close = plain.req.httpVersionMajor === 1 ? { connection: "close" } : {};
  plain.writeHead(429, { "content-type": "application/json", ...retry, ...close });
  plain.end(errorToJsonBytes(toConnectError(error), undefined));
}
