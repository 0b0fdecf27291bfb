/** gRPC by hand over HTTP/2: sends whatever bytes it is given, and keeps everything that comes back. */
import { type ClientHttp2Session, connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import { Socket } from "node:net";
import { findTrailerError } from "@connectrpc/connect/protocol-grpc";
import { type ErrorDetail, ErrorDetailSchema, ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";

export interface Answer {
  readonly path: string;
  /** How it ended; `cut` when this side had seen enough. */
  readonly ended: "status" | "reset" | "timeout" | "cut";
  /** gRPC code; -1 without one. */
  readonly code: number;
  readonly http: number;
  /** Words of the status. */
  readonly said: string;
  readonly detail: ErrorDetail | null;
  /** Name in the catalogue; empty without a detail. */
  readonly reason: string;
  readonly fields: readonly string[];
  readonly messages: readonly Uint8Array[];
}

export interface Sent {
  readonly headers?: Readonly<Record<string, string>>;
  /** Default true: the request ends after its bytes. */
  readonly end?: boolean;
  /** Goes away after so many messages of an answer; 0 never. */
  readonly enough?: number;
  /** Reads nothing of the answer. */
  readonly unread?: boolean;
  readonly timeoutMs?: number;
}

/** One length-prefixed message; `says` in place of its true length. */
export function framed(message: Uint8Array, says = message.length): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(says, 1);
  return Buffer.concat([head, message]);
}

export class RawPort {
  /** All that ever came back, details decoded. */
  readonly heard: string[] = [];
  readonly port: number;
  #session: ClientHttp2Session | null = null;

  constructor(port: number) {
    this.port = port;
  }

  close(): void {
    this.#session?.destroy();
    this.#session = null;
    this.heard.length = 0;
  }

  #connected(): ClientHttp2Session {
    const known = this.#session;
    if (known !== null && !known.destroyed && !known.closed) return known;
    // What a client still had to say when it was refused counts against its own session for good.
    const session = connectHttp2(`http://127.0.0.1:${this.port}`, { maxSessionMemory: 1_000 });
    session.on("error", () => undefined);
    this.#session = session;
    return session;
  }

  async call(path: string, bytes: Uint8Array | readonly Uint8Array[], sent: Sent = {}): Promise<Answer> {
    const { headers = {}, end = true, enough = 1, timeoutMs = 10_000, unread = false } = sent;
    const stream = this.#connected().request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc+proto",
      te: "trailers",
      ...headers,
    });
    const all: { head: IncomingHttpHeaders; tail: IncomingHttpHeaders; body: Buffer } = {
      head: {},
      tail: {},
      body: Buffer.alloc(0),
    };
    const ended = await new Promise<Answer["ended"]>((resolve) => {
      const timer = setTimeout(() => done("timeout"), timeoutMs);
      const done = (how: Answer["ended"]): void => {
        clearTimeout(timer);
        resolve(how);
        if (how !== "status") stream.close(8);
      };
      stream.on("response", (got) => {
        all.head = got;
      });
      stream.on("trailers", (got) => {
        all.tail = got;
      });
      if (!unread) {
        stream.on("data", (chunk: Buffer) => {
          all.body = Buffer.concat([all.body, chunk]);
          if (enough > 0 && messagesOf(all.body).length >= enough) done("cut");
        });
      }
      stream.on("end", () => setImmediate(() => done("status")));
      stream.on("error", () => done("reset"));
      stream.on("close", () => done(stream.rstCode === 0 ? "status" : "reset"));
      for (const part of bytes instanceof Uint8Array ? [bytes] : bytes) stream.write(part);
      if (end) stream.end();
    });
    return { path, ...this.#read(ended, all) };
  }

  #read(
    ended: Answer["ended"],
    { head, tail, body }: { head: IncomingHttpHeaders; tail: IncomingHttpHeaders; body: Buffer },
  ): Omit<Answer, "path"> {
    const status = "grpc-status" in tail ? tail : head;
    const bin = status["grpc-status-details-bin"];
    const trailer = new Headers({ "grpc-status": String(status["grpc-status"] ?? "2") });
    if (typeof bin === "string") trailer.set("grpc-status-details-bin", bin);
    const found = typeof bin === "string" ? findTrailerError(trailer) : undefined;
    const detail = found?.findDetails(ErrorDetailSchema)[0] ?? null;
    const said = decodeURIComponent(String(status["grpc-message"] ?? ""));
    const decoded = typeof bin === "string" ? Buffer.from(bin, "base64").toString("latin1") : "";
    this.heard.push(JSON.stringify({ ...head, ...tail }), said, decoded, body.toString("latin1"));
    return {
      ended,
      code: status["grpc-status"] === undefined ? -1 : Number(status["grpc-status"]),
      http: Number(head[":status"] ?? 0),
      said,
      detail,
      reason: detail === null ? "" : (ErrorReason[detail.reason] ?? ""),
      fields: detail?.violations.map(({ field }) => field) ?? [],
      messages: messagesOf(body),
    };
  }
}

function messagesOf(body: Buffer): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (let at = 0; at + 5 <= body.length; ) {
    const to = at + 5 + body.readUInt32BE(at + 1);
    if (to > body.length) break;
    found.push(body.subarray(at + 5, to));
    at = to;
  }
  return found;
}

/** Plain bytes on a socket; gives what came back until it closed, or `ms` went by. */
export function onSocket(port: number, bytes: Uint8Array | string, options: { hangUp?: boolean; ms?: number } = {}) {
  const { hangUp = false, ms = 300 } = options;
  return new Promise<{ text: string; closed: boolean }>((resolve) => {
    const socket = new Socket();
    let text = "";
    let closed = false;
    const timer = setTimeout(() => socket.destroy(), ms);
    socket.on("data", (chunk) => (text += chunk.toString("latin1")));
    socket.on("end", () => {
      closed = true;
    });
    socket.on("error", () => {
      closed = true;
    });
    socket.on("close", () => {
      clearTimeout(timer);
      resolve({ text, closed });
    });
    socket.connect(port, "127.0.0.1", () => {
      socket.write(bytes);
      if (hangUp) setImmediate(() => socket.resetAndDestroy());
    });
  });
}
