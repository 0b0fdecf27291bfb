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

/** Fields of the contract in bytes: a caller that makes messages of them would be slower than what it is to load. */
const SAMPLES = Buffer.from([0x12, 0xa0, 0x01, ...Array.from({ length: 160 }, () => 0xff), 0x18, 0xa0, 0x9c, 0x01]);

function audioFrame(sequence: number): Buffer {
  const number: number[] = [];
  let rest = sequence;
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) number.push((rest % 128) | 0x80);
  const length = 2 + number.length + SAMPLES.length;
  return Buffer.concat([Buffer.from([0x12, (length & 0x7f) | 0x80, length >> 7, 0x08, ...number, rest]), SAMPLES]);
}

/** Sequence of a frame that carries an event of the data lane, which is audio here; 0 for any other. */
function audioSequence(data: Buffer): number {
  if (data[0] !== 0x08) return 0;
  let at = 1;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = data[at++] ?? 0;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  const sequence = varint();
  for (const tag of [0x1a, 0x0a]) {
    if (data[at++] !== tag) return 0;
    varint();
  }
  // schema_version, then the lane.
  return data[at] === 0x08 && data[at + 2] === 0x10 && data[at + 3] === 2 ? sequence : 0;
}

/** One caller; the n-th frame of audio that comes back answers the n-th sent, shifted by what converters hold back. */
class Caller {
  readonly socket: WebSocket;
  readonly opened: Promise<void>;
  private readonly sentAt = new Float64Array(RING);
  private sequence = 0;
  private back = 0;
  private heard = 0;

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
        const sequence = audioSequence(data);
        if (sequence === 0) return this.other(data, resolve);
        this.heard = sequence;
        const index = this.back;
        this.back += 1;
        if (!measuring) return;
        received += 1;
        latenciesMs.push(at - (this.sentAt[index % RING] ?? at));
      });
    });
  }

  private other(data: Buffer, opened: () => void): void {
    const { message, sequence } = fromBinary(ServerFrameSchema, data);
    if (sequence > 0n) this.heard = Number(sequence);
    if (message.case === "opened") opened();
  }

  /** Tells what has come, as every client does: the server keeps the rest for a resume. */
  ping(): void {
    const value = { nonce: 1n, lastServerSequence: BigInt(this.heard) };
    this.socket.send(toBinary(ClientFrameSchema, create(ClientFrameSchema, { message: { case: "ping", value } })));
  }

  frame(): void {
    if (this.sequence % 25 === 24) this.ping();
    this.sentAt[this.sequence % RING] = performance.now();
    this.sequence += 1;
    if (measuring) sent += 1;
    this.socket.send(audioFrame(this.sequence));
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
