/**
 * The other side of `ws-server.ts`: callers in a process of their own, speaking frames of the native protocol. Arguments:
 * port, calls, seconds of warming up, seconds measured. Says a line when it is warm, and one of figures.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { AudioCodec } from "@rspp/gen/rspp/event/v1/audio_pb";
import { ClientFrameSchema, ServerFrameSchema } from "@rspp/gen/rspp/transport/v1/websocket_pb";
import { WebSocket } from "ws";
import { quantile } from "./bench.ts";

const [port = "", calls = "10", warmS = "2", runS = "5"] = process.argv.slice(2);
const FRAME_MS = 20;
const RING = 512;
const mulaw = { codec: AudioCodec.MULAW, sampleRateHz: 8_000, channels: 1 };

const latenciesMs: number[] = [];
let measuring = false;
let received = 0;
let sent = 0;
let closed = 0;

/** One caller; the n-th frame of audio that comes back answers the n-th sent, shifted by what converters hold back. */
class Caller {
  readonly socket: WebSocket;
  readonly opened: Promise<void>;
  private readonly sentAt = new Float64Array(RING);
  private sequence = 0;
  private back = 0;
  private heard = 0n;

  constructor(id: string) {
    this.socket = new WebSocket(`ws://127.0.0.1:${port}/v1/session`, ["rspp.v1.proto"], { perMessageDeflate: false });
    this.socket.on("close", () => {
      closed += 1;
    });
    this.socket.on("error", () => undefined);
    this.opened = new Promise((resolve) => {
      this.socket.on("open", () => {
        const open = { protocolVersion: 1, token: id, inputFormat: mulaw, outputFormat: mulaw, client: "bench" };
        this.socket.send(
          toBinary(ClientFrameSchema, create(ClientFrameSchema, { message: { case: "open", value: open } })),
        );
      });
      this.socket.on("message", (data: Buffer) => {
        const at = performance.now();
        const { message, sequence } = fromBinary(ServerFrameSchema, data);
        if (sequence > 0n) this.heard = sequence;
        if (message.case === "opened") return resolve();
        if (message.case !== "event" || message.value.event?.payload.case !== "audio") return;
        const index = this.back;
        this.back += 1;
        if (!measuring) return;
        received += 1;
        latenciesMs.push(at - (this.sentAt[index % RING] ?? at));
      });
    });
  }

  /** Tells what has come, as every client does: the server keeps the rest for a resume. */
  ping(): void {
    const value = { nonce: 1n, lastServerSequence: this.heard };
    this.socket.send(toBinary(ClientFrameSchema, create(ClientFrameSchema, { message: { case: "ping", value } })));
  }

  frame(): void {
    if (this.sequence % 25 === 24) this.ping();
    const data = new Uint8Array(160).fill(0xff);
    this.sentAt[this.sequence % RING] = performance.now();
    this.sequence += 1;
    if (measuring) sent += 1;
    const audio = { sequence: BigInt(this.sequence), data, durationUs: 20_000 };
    this.socket.send(
      toBinary(ClientFrameSchema, create(ClientFrameSchema, { message: { case: "audio", value: audio } })),
    );
  }
}

const callers = Array.from({ length: Number(calls) }, (_, n) => new Caller(`echo-${process.pid}-${n}`));
await Promise.all(callers.map((caller) => caller.opened));

// Callers are spread over the 20 ms; a late timer sends what is due, so that lateness lowers no load.
const GROUPS = 20;
const startMs = performance.now();
const lateMs: number[] = [];
let tick = 0;
const timer = setInterval(() => {
  const due = (performance.now() - startMs) / (FRAME_MS / GROUPS);
  if (measuring) lateMs.push(Math.max(0, (due - tick) * (FRAME_MS / GROUPS)));
  for (; tick < due; tick++) for (let i = tick % GROUPS; i < callers.length; i += GROUPS) callers[i]?.frame();
}, 1);
const pause = (s: number) => new Promise((resolve) => setTimeout(resolve, s * 1_000));
await pause(Number(warmS));
process.stdout.write(`${JSON.stringify({ warm: true })}\n`);
measuring = true;
const cpu = process.cpuUsage();
const from = performance.now();
await pause(Number(runS));
measuring = false;
const used = process.cpuUsage(cpu);
clearInterval(timer);
const figures = {
  calls: callers.length,
  sent,
  received,
  closed,
  p50: quantile(latenciesMs, 0.5),
  p95: quantile(latenciesMs, 0.95),
  p99: quantile(latenciesMs, 0.99),
  lateP99: quantile(lateMs, 0.99),
  cpuPercent: (100 * (used.user + used.system)) / ((performance.now() - from) * 1_000),
};
process.stdout.write(`${JSON.stringify(figures)}\n`);
for (const caller of callers) caller.socket.terminate();
process.exit(0);
