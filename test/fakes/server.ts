/** HTTP and WebSocket server under the fakes: calls are counted, ends are told by side, connections can be cut anywhere. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import { type Fake, type FakeAnswer, type FakeCall, FakeState, type Fault, oddPieces } from "./fake.ts";

/** One HTTP exchange, its request read whole. */
export interface FakeExchange {
  readonly request: IncomingMessage;
  readonly url: URL;
  readonly body: Buffer;
  readonly response: ServerResponse;
  readonly call: FakeCall;
  readonly fault: Fault;
  readonly answer: FakeAnswer;
  /** Aborted when the client has gone. */
  readonly gone: AbortSignal;
  violation(text: string): void;
  /** Whole answer as JSON. */
  json(status: number, value: unknown, headers?: Record<string, string>): void;
  /** Writes in pieces of odd lengths, each a chunk of its own. Resolves when they have left; false: the client has gone. */
  write(bytes: Uint8Array | string): Promise<boolean>;
  /** Waits; false: the client went meanwhile. */
  pause(ms: number): Promise<boolean>;
  /** Resolves when the client has gone: nothing more is said and nothing closed. */
  hold(): Promise<void>;
  /** Cuts the connection without an end. */
  cut(): void;
}

/** One WebSocket connection. */
export interface FakeConnection {
  readonly request: IncomingMessage;
  readonly url: URL;
  readonly socket: WebSocket;
  readonly call: FakeCall;
  readonly fault: Fault;
  readonly answer: FakeAnswer;
  readonly gone: AbortSignal;
  violation(text: string): void;
  /** Sends unless the client has gone. */
  send(message: unknown): boolean;
  sendBytes(bytes: Uint8Array): boolean;
  pause(ms: number): Promise<boolean>;
  close(code: number, reason?: string): void;
  cut(): void;
}

export interface FakeHandlers {
  /** Of each request; what it throws is a violation. */
  http?(exchange: FakeExchange): Promise<void> | void;
  /** Before a WebSocket is accepted: a status with body refuses it. `timeout_before` is never accepted, without asking. */
  accept?(about: {
    request: IncomingMessage;
    url: URL;
    fault: Fault;
    call: FakeCall;
  }): { status: number; body?: string; headers?: Record<string, string> } | undefined;
  socket?(connection: FakeConnection): Promise<void> | void;
}

export interface FakeServerOptions {
  readonly key: string;
  readonly answer?: FakeAnswer;
  readonly scheme?: "http" | "ws";
  /** Appended to the base URL, e.g. `/v1`. */
  readonly basePath?: string;
  readonly handlers: FakeHandlers;
}

/** Starts a fake on a free port of the loopback interface. */
export async function startFake(options: FakeServerOptions): Promise<Fake & { readonly state: FakeState }> {
  const state = new FakeState(options.answer);
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => {
    exchange(state, options.handlers, request, response).catch((error: unknown) => failed(state, response, error));
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
  });
  const upgrades = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => {
    upgrade(state, options.handlers, upgrades, request, socket, head);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    state,
    baseUrl: `${options.scheme ?? "http"}://127.0.0.1:${port}${options.basePath ?? ""}`,
    key: options.key,
    fault: (kind, calls) => state.fault(kind, calls),
    script: (answer) => state.script(answer),
    violations: state.violations,
    calls: state.calls,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** A client that goes in the middle of its request is no fault of anybody's. */
function failed(state: FakeState, response: ServerResponse, error: unknown): void {
  if (!response.destroyed) state.violation(`the fake's handler failed: ${String(error).slice(0, 200)}`);
  response.destroy();
}

const urlOf = (request: IncomingMessage): URL => new URL(request.url ?? "/", "http://fake");

async function exchange(
  state: FakeState,
  handlers: FakeHandlers,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const call = state.begin({ port: request.socket.remotePort });
  const fault = state.takeFault();
  const { answer } = state;
  const gone = new AbortController();
  let ending = false;
  const ended = (): void => {
    state.end(call, ending || response.writableFinished ? "server" : "client");
    gone.abort();
  };
  response.on("close", ended);
  const parts: Buffer[] = [];
  for await (const part of request) {
    parts.push(part as Buffer);
    call.bytesIn += (part as Buffer).length;
  }
  const pause = pauseOf(gone.signal);
  const all: FakeExchange = {
    request,
    url: urlOf(request),
    body: Buffer.concat(parts),
    response,
    call,
    fault,
    answer,
    gone: gone.signal,
    violation: (text) => state.violation(text),
    json(status, value, headers = {}) {
      response.writeHead(status, { "content-type": "application/json", ...headers });
      response.end(JSON.stringify(value));
    },
    async write(bytes) {
      for (const piece of oddPieces(typeof bytes === "string" ? Buffer.from(bytes, "utf8") : bytes)) {
        if (gone.signal.aborted) return false;
        response.write(piece);
      }
      await new Promise((resolve) => setImmediate(resolve));
      return !gone.signal.aborted;
    },
    pause,
    hold: () => held(gone.signal),
    cut() {
      ending = true;
      // What was written leaves first: a cut in the middle of an answer, not before it.
      setTimeout(() => request.socket.destroy(), 5);
    },
  };
  if (fault === "timeout_before") return all.hold();
  if (handlers.http === undefined) {
    state.violation("an HTTP request where none is served");
    return all.json(404, {});
  }
  await handlers.http(all);
}

function upgrade(
  state: FakeState,
  handlers: FakeHandlers,
  upgrades: WebSocketServer,
  request: IncomingMessage,
  socket: Socket,
  head: Buffer,
): void {
  const call = state.begin();
  const fault = state.takeFault();
  const url = urlOf(request);
  const gone = new AbortController();
  let ending = false;
  socket.on("error", () => {});
  const ended = (): void => {
    state.end(call, ending ? "server" : "client");
    gone.abort();
  };
  socket.on("end", ended);
  socket.on("close", ended);
  if (fault === "timeout_before") return;
  const refused = handlers.accept?.({ request, url, fault, call });
  if (refused !== undefined || handlers.socket === undefined) {
    const { status, body = "", headers = {} } = refused ?? { status: 404 };
    ending = true;
    const lines = Object.entries({
      "content-length": String(Buffer.byteLength(body)),
      connection: "close",
      ...headers,
    });
    socket.end(`HTTP/1.1 ${status} Refused\r\n${lines.map(([n, v]) => `${n}: ${v}\r\n`).join("")}\r\n${body}`);
    return;
  }
  const serverEnds = (): void => {
    ending = true;
  };
  upgrades.handleUpgrade(request, socket, head, (ws) => {
    // A close frame is the client's end: work, and the bill, stop there.
    ws.on("close", ended);
    connected(state, handlers, { request, url, ws, call, fault, gone, ending: serverEnds });
  });
}

interface Accepted {
  readonly request: IncomingMessage;
  readonly url: URL;
  readonly ws: WebSocket;
  readonly call: FakeCall;
  readonly fault: Fault;
  readonly gone: AbortController;
  /** The end that follows is the server's. */
  ending(): void;
}

function connected(state: FakeState, handlers: FakeHandlers, accepted: Accepted): void {
  const { request, url, ws, call, fault, gone, ending } = accepted;
  ws.on("error", () => {});
  ws.on("message", (data: Buffer) => {
    call.bytesIn += data.length;
  });
  const send = (data: string | Uint8Array): boolean => {
    if (gone.signal.aborted || ws.readyState !== ws.OPEN) return false;
    ws.send(data);
    return true;
  };
  const failed = (error: unknown): void => {
    if (!gone.signal.aborted) state.violation(`the fake's handler failed: ${String(error).slice(0, 200)}`);
  };
  const connection: FakeConnection = {
    request,
    url,
    socket: ws,
    call,
    fault,
    answer: state.answer,
    gone: gone.signal,
    violation: (text) => state.violation(text),
    send: (message) => send(typeof message === "string" ? message : JSON.stringify(message)),
    sendBytes: (bytes) => send(bytes),
    pause: pauseOf(gone.signal),
    close(code, reason) {
      ending();
      ws.close(code, reason);
    },
    cut() {
      ending();
      setTimeout(() => request.socket.destroy(), 5);
    },
  };
  try {
    Promise.resolve(handlers.socket?.(connection)).catch(failed);
  } catch (error) {
    failed(error);
  }
}

function pauseOf(gone: AbortSignal): (ms: number) => Promise<boolean> {
  return (ms) =>
    new Promise((resolve) => {
      if (gone.aborted) return resolve(false);
      const timer = setTimeout(() => {
        gone.removeEventListener("abort", stop);
        resolve(true);
      }, ms);
      const stop = (): void => {
        clearTimeout(timer);
        resolve(false);
      };
      gone.addEventListener("abort", stop, { once: true });
    });
}

function held(gone: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (gone.aborted) resolve();
    else gone.addEventListener("abort", () => resolve(), { once: true });
  });
}
