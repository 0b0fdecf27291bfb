import type { IncomingMessage } from "node:http";
import { WebSocket } from "ws";
import { type Failure, failureOfStatus, lost } from "./failure.ts";

/** Bytes handed over and not yet taken by the network; a vendor that reads so slowly is given up. */
const backlogBytesMax = 4 * 1024 * 1024;
const messageBytesMax = 4 * 1024 * 1024;
const refusalBytesMax = 16 * 1024;
const overloaded: Failure = { kind: "overload", detail: "the endpoint does not take audio as fast as it comes" };

export interface SocketEvents {
  open(): void;
  /** Text only; a binary message is told as `failed`. */
  message(text: string): void;
  /** The peer closed: code and reason of its close frame, 1006 without one. */
  closed(code: number, reason: string): void;
  failed(failure: Failure): void;
}

/** Reads what a refusal of the upgrade says: true when the account's means are used up. */
export type QuotaReader = (body: string) => boolean;

/** One WebSocket to a vendor. After `end` nothing is told, and the connection is gone at once. */
export class LineSocket {
  readonly #ws: WebSocket;
  readonly #events: SocketEvents;
  #over = false;

  constructor(url: string, headers: Readonly<Record<string, string>>, events: SocketEvents, quota?: QuotaReader) {
    this.#events = events;
    this.#ws = new WebSocket(url, {
      headers: { ...headers },
      perMessageDeflate: false,
      maxPayload: messageBytesMax,
      // A vendor's redirect would carry the key elsewhere.
      followRedirects: false,
    });
    this.#ws.on("open", () => this.#tell(() => events.open()));
    this.#ws.on("message", (data, binary) => {
      this.#tell(() => (binary ? this.#fail({ kind: "error", detail: "malformed: a binary message" }) : undefined));
      this.#tell(() => events.message(data.toString()));
    });
    this.#ws.on("close", (code, reason) => this.#tell(() => events.closed(code, reason.toString())));
    this.#ws.on("error", () => this.#tell(() => this.#fail(lost)));
    this.#ws.on("unexpected-response", (_request, response) => this.#refused(response, quota ?? (() => false)));
  }

  get isOpen(): boolean {
    return !this.#over && this.#ws.readyState === WebSocket.OPEN;
  }

  send(data: string | Uint8Array): void {
    if (!this.isOpen) return;
    this.#ws.send(data, () => {});
    if (this.#ws.bufferedAmount > backlogBytesMax) this.#fail(overloaded);
  }

  /** Says goodbye and lets go at once: what the vendor would still send is not read. */
  end(): void {
    if (this.#over) return;
    this.#over = true;
    const ws = this.#ws;
    if (ws.readyState === WebSocket.OPEN) ws.close(1000);
    ws.terminate();
  }

  #tell(act: () => void): void {
    if (!this.#over) act();
  }

  #fail(failure: Failure): void {
    this.end();
    this.#events.failed(failure);
  }

  #refused(response: IncomingMessage, quota: QuotaReader): void {
    const status = response.statusCode ?? 0;
    let body = "";
    const done = () => this.#tell(() => this.#fail(failureOfStatus(status, quota(body))));
    response.setEncoding("utf8");
    response.on("data", (part: string) => {
      body += part;
      if (body.length > refusalBytesMax) done();
    });
    response.on("end", done);
    response.on("error", done);
  }
}

/** `ws:` for `http:`, `wss:` for `https:`; others stay. */
export function socketUrl(baseUrl: string): string {
  return baseUrl.replace(/^http(s?):/i, "ws$1:").replace(/\/+$/, "");
}

/** `http:` for `ws:`, `https:` for `wss:`; others stay. */
export function httpUrl(baseUrl: string): string {
  return baseUrl.replace(/^ws(s?):/i, "http$1:").replace(/\/+$/, "");
}

/** The JSON object a message holds; undefined for anything else. */
export function jsonObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
