/** Callers who interrupt over `/v1/realtime`, in a process of their own. Arguments: port, callers, cuts of each. */
import { WebSocket } from "ws";
import { quantile } from "./bench.ts";

const [port = "", callers = "10", cuts = "20"] = process.argv.slice(2);
const FRAME_MS = 20;
const frameOf = (level: number): string => {
  const audio = Buffer.from(new Int16Array(480).fill(level).buffer).toString("base64");
  return JSON.stringify({ type: "input_audio_buffer.append", audio });
};
const SILENCE = frameOf(0);
/** Not 0: that is speech to the detector of the benchmark. */
const SPEECH = frameOf(1_025);

const silenceMs: number[] = [];
const backMs: number[] = [];
const lateMs: number[] = [];
let afterDone = 0;

interface Event {
  readonly type: string;
  readonly delta?: string;
  readonly response_id?: string;
  readonly response?: { readonly id: string };
}

/** One caller: sends 50 frames a second, plays what comes in order, and stops at once when it is told that it speaks. */
class Caller {
  private readonly socket: WebSocket;
  private saying = 0;
  private responses = 0;
  private playing: { startMs: number; endMs: number }[] = [];
  private cutAtMs = 0;
  private cut: (() => void) | null = null;
  private readonly done = new Set<string>();

  constructor(id: string) {
    const headers = { authorization: `Bearer ${id}` };
    this.socket = new WebSocket(`ws://127.0.0.1:${port}/v1/realtime`, { headers });
    this.socket.on("message", (data) => this.hear(JSON.parse(String(data)) as Event));
  }

  frame(): void {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    if (this.saying > 0 && this.cutAtMs < 0) this.cutAtMs = performance.now();
    this.socket.send(this.saying > 0 ? SPEECH : SILENCE);
    this.saying = Math.max(0, this.saying - 1);
  }

  /** Speaks; resolves when its reply has been heard for a while. */
  async ask(): Promise<void> {
    const before = this.responses;
    this.saying = 5;
    await until(() => this.responses > before && this.playing.length > 0);
    await pause(200 + Math.random() * 400);
  }

  async interrupt(): Promise<void> {
    const cut = new Promise<void>((resolve) => {
      this.cut = resolve;
    });
    const before = this.responses;
    this.cutAtMs = -1;
    this.saying = 5;
    await cut;
    // Those words are a question too.
    await until(() => this.responses > before && this.playing.length > 0);
    await pause(200 + Math.random() * 400);
  }

  end(): void {
    this.socket.close();
  }

  private hear({ type, delta = "", response_id: id = "", response }: Event): void {
    const now = performance.now();
    if (type === "response.created") this.responses += 1;
    if (type === "response.done" && response !== undefined) this.done.add(response.id);
    if (type === "response.output_audio.delta") {
      if (this.done.has(id)) afterDone += 1;
      const startMs = Math.max(now, this.playing.at(-1)?.endMs ?? 0);
      this.playing.push({ startMs, endMs: startMs + Buffer.from(delta, "base64").length / 48 });
      if (this.playing.length > 200) this.playing.shift();
    }
    if (type !== "input_audio_buffer.speech_started" || this.cutAtMs <= 0) return;
    // What had begun is heard to its end.
    const begun = this.playing.findLast(({ startMs }) => startMs <= now);
    silenceMs.push(Math.max(now, begun?.endMs ?? 0) - this.cutAtMs);
    backMs.push(now - this.cutAtMs);
    this.playing = [];
    this.cutAtMs = 0;
    this.cut?.();
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
async function until(done: () => boolean): Promise<void> {
  for (const endMs = performance.now() + 20_000; !done(); await pause(5)) {
    if (performance.now() > endMs) throw new Error("no turn within 20 s");
  }
}

const all = Array.from({ length: Number(callers) }, (_, n) => new Caller(`realtime-${process.pid}-${n}`));
await pause(500);
const startMs = performance.now();
let tick = 0;
const timer = setInterval(() => {
  const due = ((performance.now() - startMs) * all.length) / FRAME_MS;
  lateMs.push(Math.max(0, ((due - tick) * FRAME_MS) / all.length));
  for (; tick < due; tick++) all[tick % all.length]?.frame();
}, 1);
await Promise.all(
  all.map(async (caller) => {
    await caller.ask();
    for (let n = 0; n < Number(cuts); n++) await caller.interrupt();
  }),
);
clearInterval(timer);
const figures = { silenceMs, backMs, afterFlush: afterDone, lateP99: quantile(lateMs, 0.99) };
process.stdout.write(`${JSON.stringify(figures)}\n`);
for (const caller of all) caller.end();
await pause(200);
process.exit(0);
