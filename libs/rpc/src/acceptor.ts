/** What takes a socket over: HTTP/1.1 and HTTP/2 on one port, plain or TLS, each connection with its bounds. */
import {
  createServer as createHttp1Server,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from "node:http";
import {
  createServer as createHttp2Server,
  createSecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type Http2Session,
  type ServerHttp2Session,
} from "node:http2";
import type { Socket } from "node:net";
import type { ConnectError } from "@connectrpc/connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { limits } from "./limits.ts";
import { followCertificates, type ServerTls, serverTlsOptions } from "./tls.ts";

export type NodeRequest = IncomingMessage | Http2ServerRequest;
export type NodeResponse = ServerResponse | Http2ServerResponse;
export type NodeHandler = (request: NodeRequest, response: NodeResponse) => void;

/**
 * A gRPC answer that is an error alone. Its headers must end the stream, or grpc-js does not look for the status in them; they
 * do when they are sent by `end` itself.
 */
export function answerTrailersOnly(type: string, response: NodeResponse, error: ConnectError): void {
  response.statusCode = 200;
  for (const [name, value] of setTrailerStatus(new Headers({ "content-type": type }), error)) {
    response.setHeader(name, value);
  }
  response.end();
}

export interface AcceptorOptions {
  readonly streamsPerConnectionMax?: number;
}

/** Told of an HTTP/2 session that ends after a moment whatever runs on it, with what says goodbye to it. */
export type Farewell = (goaway: (code: number, lastStream: number, data: Buffer) => void) => void;

export interface Acceptor {
  accept(socket: Socket): void;
  /** Lets calls that run finish, takes no more. */
  drain(): void;
  destroy(): void;
}

/** The HTTP/2 sessions of a server, each with its bound of streams and an end when it idles. */
class Sessions {
  readonly #all = new Set<Http2Session>();

  add(session: ServerHttp2Session, farewell?: Farewell): void {
    this.#all.add(session);
    if (farewell !== undefined) {
      const timer = setTimeout(() => {
        farewell((code, lastStream, data) => session.goaway(code, lastStream, data));
        session.close();
      }, limits.RPC_OVERFLOW_MS);
      session.once("close", () => clearTimeout(timer));
    }
    let streams = 0;
    session.on("stream", (stream) => {
      streams++;
      stream.once("close", () => {
        streams--;
      });
    });
    // A watch that has nothing to say is no idle connection.
    const look = (): void => {
      if (streams === 0) session.close();
      else session.setTimeout(limits.RPC_IDLE_CONNECTION_MS, look);
    };
    session.setTimeout(limits.RPC_IDLE_CONNECTION_MS, look);
    session.on("error", () => undefined);
    session.once("close", () => this.#all.delete(session));
  }

  close(): void {
    for (const session of this.#all) session.close();
  }

  destroy(): void {
    for (const session of this.#all) session.destroy();
  }
}

function http2Options(options: AcceptorOptions) {
  return {
    settings: {
      maxConcurrentStreams: options.streamsPerConnectionMax ?? limits.RPC_STREAMS_PER_CONNECTION_MAX,
      maxHeaderListSize: limits.RPC_HEADER_BYTES_MAX,
    },
    maxHeaderListPairs: 128,
  };
}

const firstBytesOfHttp2 = "PRI";

/** HTTP/1.1 and HTTP/2 with prior knowledge on one plain port, told apart by their first bytes. */
export function plainAcceptor(options: AcceptorOptions, handle: NodeHandler, farewell?: Farewell): Acceptor {
  const sessions = new Sessions();
  const http2 = createHttp2Server(http2Options(options), handle);
  const http1 = createHttp1Server(
    { maxHeaderSize: limits.RPC_HEADER_BYTES_MAX, requestTimeout: limits.RPC_DEADLINE_MAX_MS },
    handle as RequestListener,
  );
  http1.keepAliveTimeout = limits.RPC_IDLE_CONNECTION_MS;
  http2.on("session", (session) => sessions.add(session, farewell));
  http2.on("sessionError", () => undefined);
  return {
    accept: (socket) => {
      const silent = setTimeout(() => socket.destroy(), limits.RPC_FIRST_BYTES_MS);
      socket.once("close", () => clearTimeout(silent));
      let start: Buffer = Buffer.alloc(0);
      const look = (): void => {
        const chunk: Buffer | null = socket.read();
        if (chunk !== null) start = Buffer.concat([start, chunk]);
        const first = start.toString("latin1", 0, firstBytesOfHttp2.length);
        if (first.length < firstBytesOfHttp2.length && firstBytesOfHttp2.startsWith(first)) {
          // Not put back yet: what is put back is readable at once, and this would never end.
          return void socket.once("readable", look);
        }
        clearTimeout(silent);
        socket.unshift(start);
        (first === firstBytesOfHttp2 ? http2 : http1).emit("connection", socket);
      };
      socket.once("readable", look);
    },
    drain: () => {
      sessions.close();
      http1.closeIdleConnections();
    },
    destroy: () => {
      sessions.destroy();
      http1.closeAllConnections();
    },
  };
}

export function tlsAcceptor(
  options: AcceptorOptions,
  tls: ServerTls,
  handle: NodeHandler,
  farewell?: Farewell,
): Acceptor {
  const sessions = new Sessions();
  const server = createSecureServer(
    {
      ...http2Options(options),
      ...serverTlsOptions(tls),
      allowHTTP1: true,
      handshakeTimeout: limits.RPC_FIRST_BYTES_MS,
    },
    handle,
  );
  server.on("session", (session) => sessions.add(session, farewell));
  server.on("sessionError", () => undefined);
  server.on("tlsClientError", (_failure, socket) => socket.destroy());
  server.on("secureConnection", (socket) => socket.on("error", () => undefined));
  const unfollow = followCertificates(tls, server);
  return {
    accept: (socket) => void server.emit("connection", socket),
    drain: () => sessions.close(),
    destroy: () => {
      unfollow();
      sessions.destroy();
    },
  };
}
