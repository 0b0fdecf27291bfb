/** Callers who interrupt, in a process of their own, with the shipped client. Arguments: port, callers, cuts of each. */
import type { Client } from "@rspp/client/client";
import { connect } from "@rspp/client/connect";
import { quantile } from "./bench.ts";

const [port = "", callers = "10", cuts = "20"] = process.argv.slice(2);
const FRAME_MS = 20;
const SILENCE = new Int16Array(320);
/** Its first byte is not 0: that is speech to the detector of the benchmark. */
const SPEECH = new Int16Array(320).fill(1_025);

const silenceMs: number[] = [];
const backMs: number[] = [];
const lateMs: number[] = [];
let afterFlush = 0;

/** One caller: sends 50 frames a second; what it hears is stamped when it begins. */
class Caller {
  client: Client | null = null;
  private saying = 0;
  private turn = 0;
  private endMs = 0;
  private cutAtMs = 0;
  private flushed: (() => void) | null = null;
  private readonly cutTurns = new Set<number>();

  async open(id: string): Promise<void> {
    this.client = await connect(`ws://127.0.0.1:${port}/v1/session`, id, {
      pingMs: 500,
      onAudio: (frame) => {
        if (this.cutTurns.has(frame.turn)) afterFlush += 1;
        this.turn = frame.turn;
        this.endMs = performance.now() + frame.durationUs / 1_000;
      },
    });
    this.client.on("flush", ({ turn }) => {
      const now = performance.now();
      if (this.cutAtMs === 0) return;
      this.cutTurns.add(turn);
      // What had begun is heard to its end.
      silenceMs.push(Math.max(now, this.endMs) - this.cutAtMs);
      backMs.push(now - this.cutAtMs);
      this.cutAtMs = 0;
      this.flushed?.();
    });
  }

  frame(): void {
    if (this.client === null || this.client.state === "closed") return;
    if (this.saying > 0 && this.cutAtMs < 0) this.cutAtMs = performance.now();
    this.client.sendAudio(this.saying > 0 ? SPEECH : SILENCE);
    this.saying = Math.max(0, this.saying - 1);
  }

  /** Speaks; resolves when its reply has been heard for a while. */
  async ask(): Promise<void> {
    const before = this.turn;
    this.saying = 5;
    await until(() => this.turn > before);
    await pause(200 + Math.random() * 400);
  }

  async interrupt(): Promise<void> {
    const flushed = new Promise<void>((resolve) => {
      this.flushed = resolve;
    });
    const before = this.turn;
    this.cutAtMs = -1;
    this.saying = 5;
    await flushed;
    // Those words are a question too.
    await until(() => this.turn > before);
    await pause(200 + Math.random() * 400);
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
async function until(done: () => boolean): Promise<void> {
  for (const endMs = performance.now() + 20_000; !done(); await pause(5)) {
    if (performance.now() > endMs) throw new Error("no turn within 20 s");
  }
}

const all = Array.from({ length: Number(callers) }, () => new Caller());
await Promise.all(all.map((caller, n) => caller.open(`barge-${process.pid}-${n}`)));
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
const figures = { silenceMs, backMs, afterFlush, lateP99: quantile(lateMs, 0.99) };
process.stdout.write(`${JSON.stringify(figures)}\n`);
for (const caller of all) caller.client?.end();
await pause(200);
process.exit(0);
