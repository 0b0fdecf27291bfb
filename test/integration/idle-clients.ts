/**
 * Opens connections that say nothing, or only what makes them a connection, from a process of its own, so that its sockets
 * do not count against the server's. Does as its parent says and tells counts back.
 */
import { connect, type Socket } from "node:net";

export interface IdleOrder {
  /** `hello`: what each says first, in base64; `atOnce`: how many are being opened at a time. */
  readonly open?: { readonly port: number; readonly count: number; readonly hello: string; readonly atOnce: number };
  readonly close?: true;
}

export interface IdleCounts {
  readonly connected: number;
  readonly closed: number;
  readonly failed: number;
  readonly held: number;
  /** Those that were told why they were refused. */
  readonly toldWhy: number;
}

const sockets = new Set<Socket>();
let connected = 0;
let closed = 0;
let failed = 0;
let toldWhy = 0;

async function open({ port, count, hello, atOnce }: NonNullable<IdleOrder["open"]>): Promise<void> {
  let left = count;
  const one = async (): Promise<void> => {
    while (left-- > 0) {
      await new Promise<void>((resolve) => {
        const socket = connect({ host: "127.0.0.1", port });
        sockets.add(socket);
        socket.once("connect", () => {
          connected++;
          if (hello !== "") socket.write(Buffer.from(hello, "base64"));
          resolve();
        });
        socket.on("data", (bytes) => {
          if (/capacity_exhausted|HTTP\/1.1 503/.test(bytes.toString("latin1"))) toldWhy++;
        });
        socket.on("error", () => {
          failed++;
          resolve();
        });
        socket.once("close", () => {
          closed++;
          sockets.delete(socket);
          resolve();
        });
      });
    }
  };
  await Promise.all(Array.from({ length: atOnce }, one));
}

function tell(): void {
  process.send?.({ connected, closed, failed, held: sockets.size, toldWhy } satisfies IdleCounts);
}

process.on("message", (order: IdleOrder) => {
  if (order.open !== undefined) void open(order.open).then(tell);
  else if (order.close === true) {
    for (const socket of sockets) socket.destroy();
    setImmediate(tell);
  } else tell();
});
process.on("disconnect", () => process.exit());
