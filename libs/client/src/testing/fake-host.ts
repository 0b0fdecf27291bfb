/** Time that moves when it is told to, and sockets without a network; for tests of this room alone. */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type ClientFrame,
  ClientFrameSchema,
  type ServerFrame,
  ServerFrameSchema,
} from "@rspp/gen/rspp/transport/v1/websocket_pb";
import type { ClientHost, SocketLike } from "../types.ts";

export class FakeHost implements ClientHost {
  #nowMs = 0;
  #timers: { atMs: number; fire: () => void }[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  setTimer(fire: () => void, ms: number): unknown {
    const timer = { atMs: this.#nowMs + ms, fire };
    this.#timers.push(timer);
    return timer;
  }

  clearTimer(timer: unknown): void {
    this.#timers = this.#timers.filter((t) => t !== timer);
  }

  random(): number {
    return 0.5;
  }

  waiting(): number {
    return this.#timers.length;
  }

  pass(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (;;) {
      const due = this.#timers.filter((t) => t.atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.clearTimer(due);
      this.#nowMs = Math.max(this.#nowMs, due.atMs);
      due.fire();
    }
    this.#nowMs = endMs;
  }
}

/** One dialled connection; the test is the server. */
export class FakeSocket implements SocketLike {
  static dialled: FakeSocket[] = [];
  binaryType = "";
  bufferedAmount = 0;
  readonly protocol: string;
  readonly sent: ClientFrame["message"][] = [];
  closed = false;
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: ((event: never) => void) | null = null;

  constructor(_url: string, protocols: string[]) {
    this.protocol = protocols[0] ?? "";
    FakeSocket.dialled.push(this);
  }

  static last(): FakeSocket {
    const last = FakeSocket.dialled.at(-1);
    if (last === undefined) throw new Error("nobody has dialled");
    return last;
  }

  send(data: Uint8Array<ArrayBuffer> | string): void {
    if (typeof data !== "string") this.sent.push(fromBinary(ClientFrameSchema, data).message);
  }

  close(): void {
    this.closed = true;
  }

  accept(): void {
    this.onopen?.(undefined as never);
  }

  say(frame: ServerFrame): void {
    this.onmessage?.({ data: toBinary(ServerFrameSchema, frame).buffer });
  }

  drop(code: number, reason = ""): void {
    this.onclose?.({ code, reason });
  }
}
