/**
 * `node test/load/link-soak.ts [--sessions 300] [--links 4] [--seconds 600] [--frame-ms 20] [--heap FILE]`: sessions over links for a long
 * time, an adapter and a runtime in a process each. Every caller's audio flows all the time, a third of the agents speak;
 * one session is read by nobody. Prints a line every ten seconds and a result line; exit status 1 when order broke, audio
 * was lost, or memory grew.
 */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { writeHeapSnapshot } from "node:v8";
import type { Envelope } from "@rspp/gen/rspp/event/v1/event_pb";
import { startGrpcServer } from "@rspp/rpc/grpc-server";
import type { LinkIncoming, LinkSessionHandlers, LinkSessionPort, SessionConstants } from "@rspp/rpc/link-api";
import { createLinkClient } from "@rspp/rpc/link-client";
import { createLinkServer } from "@rspp/rpc/link-server";
import { toEnvelope } from "@rspp/wire/envelope";
import { waitedUs } from "./bench.ts";

const { values } = parseArgs({
  options: {
    role: { type: "string", default: "adapter" },
    sessions: { type: "string", default: "300" },
    links: { type: "string", default: "4" },
    seconds: { type: "string", default: "600" },
    "frame-ms": { type: "string", default: "20" },
    heap: { type: "string" },
  },
});
const sessions = Number(values.sessions);
const links = Number(values.links);
const seconds = Number(values.seconds);
const frameMs = Number(values["frame-ms"]);
const warmUpS = Math.min(60, seconds / 3);
const sampleMs = Math.min(20_000, (seconds * 1_000) / 12);
/** Collected heap and what hangs on it, over the time after the warm-up. */
const heapGrowthMbMax = 4;
const stalled = "s-0";

interface Memory {
  readonly rssMb: number;
  readonly heapMb: number;
  readonly externalMb: number;
  readonly buffersMb: number;
}

function memory(): Memory {
  globalThis.gc?.();
  const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage();
  const mb = (bytes: number): number => Math.round((bytes / 1e6) * 100) / 100;
  return { rssMb: mb(rss), heapMb: mb(heapUsed), externalMb: mb(external), buffersMb: mb(arrayBuffers) };
}

function constantsOf(session: string): SessionConstants {
  const format = { codec: "pcm_s16le", sampleRateHz: 16_000, channels: 1 } as const;
  return { tenant: "acme", session, pipelineVersion: "voice-assistant@1", epoch: 7, ...format };
}

function baseOf(session: string, turn: number): Envelope {
  const format = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 } as const;
  const made = toEnvelope(constantsOf(session), {
    eventId: `${turn === 0 ? "a" : "r"}-1`,
    turn,
    generation: 0,
    wallMs: Date.now(),
    payload: {
      kind: "audio",
      format,
      bytes: new Uint8Array(640),
      durationUs: frameMs * 1_000,
      end: false,
      segment: -1,
    },
  });
  if (!made.ok) throw new Error(JSON.stringify(made.error));
  return made.value;
}

/** Milliseconds on an axis both processes share. */
function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

/** One session as one end sees it: frames out and in, numbered and stamped in their first samples. */
class Side {
  readonly base: Envelope;
  port: LinkSessionPort | null = null;
  sent = 0;
  refused = 0;
  seen = 0;
  outOfOrder = 0;
  lost = 0;
  /** Dropped by the other end with notice, because more waited than may. */
  dropped = 0;
  queuedMax = 0;
  readonly delaysMs: number[];
  readonly #consume: boolean;
  #before = 0;

  constructor(session: string, turn: number, consume: boolean, delaysMs: number[]) {
    this.base = baseOf(session, turn);
    this.delaysMs = delaysMs;
    this.#consume = consume;
  }

  send(): void {
    const { port, base } = this;
    if (port === null || port.ended || base.payload.case !== "audio") return;
    const data = new Uint8Array(32 * frameMs);
    const view = new DataView(data.buffer);
    view.setUint32(0, ++this.sent);
    view.setFloat64(4, nowMs());
    const sent = port.sendMedia({ ...base, payload: { case: "audio", value: { ...base.payload.value, data } } });
    if (!sent.ok) this.refused++;
    this.queuedMax = Math.max(this.queuedMax, port.queuedItems);
  }

  handlers(): LinkSessionHandlers {
    return { onEvent: (event) => this.#take(event) };
  }

  /** On a new incarnation of its link, where the other end counts anew. */
  rebound(port: LinkSessionPort): void {
    this.port = port;
    this.#before += this.seen;
    this.seen = 0;
  }

  get seenInAll(): number {
    return this.#before + this.seen;
  }

  #take(event: LinkIncoming): void {
    if (event.kind === "gap" || event.kind === "skipped") {
      const frames = event.toSeq - event.fromSeq + 1;
      if (event.kind === "gap") this.lost += frames;
      else this.dropped += frames;
      return;
    }
    if (event.kind !== "event" || event.envelope.payload.case !== "audio") return;
    const { data } = event.envelope.payload.value;
    const view = new DataView(data.buffer, data.byteOffset);
    const mark = view.getUint32(0);
    if (mark <= this.seen) this.outOfOrder++;
    this.seen = mark;
    this.delaysMs.push(nowMs() - view.getFloat64(4));
    if (this.#consume) this.port?.consumed(event.audioUs, event.bytes);
  }
}

interface Report {
  readonly memory: Memory;
  readonly seen: number;
  readonly outOfOrder: number;
  readonly lost: number;
  readonly dropped: number;
  readonly refused: number;
  readonly queuedMax: number;
  readonly delayP50Ms: number;
  readonly delayP99Ms: number;
  readonly delayMaxMs: number;
  readonly notices: number;
  readonly cpuPercent: number;
  /** Share of the time in which the process was ready and had no core. */
  readonly waitedPercent: number;
}

class Reporter {
  readonly delaysMs: number[] = [];
  notices = 0;
  #cpu = process.cpuUsage();
  #atMs = performance.now();
  #waitedUs = waitedUs();

  report(sides: readonly Side[]): Report {
    const flowing = sides.filter((side) => side.port?.constants.session !== stalled);
    const sum = (of: (side: Side) => number): number => flowing.reduce((total, side) => total + of(side), 0);
    const sorted = this.delaysMs.splice(0).sort((a, b) => a - b);
    const at = (share: number): number => sorted[Math.floor((sorted.length - 1) * share)] ?? 0;
    const { user, system } = process.cpuUsage(this.#cpu);
    const tookMs = performance.now() - this.#atMs;
    const waited = waitedUs() - this.#waitedUs;
    this.#cpu = process.cpuUsage();
    this.#atMs = performance.now();
    this.#waitedUs = waitedUs();
    return {
      memory: memory(),
      seen: sum(({ seenInAll }) => seenInAll),
      outOfOrder: sum(({ outOfOrder }) => outOfOrder),
      lost: sum(({ lost }) => lost),
      dropped: sum(({ dropped }) => dropped),
      refused: sum(({ refused }) => refused),
      queuedMax: Math.max(...sides.map(({ queuedMax }) => queuedMax)),
      delayP50Ms: at(0.5),
      delayP99Ms: at(0.99),
      delayMaxMs: at(1),
      notices: this.notices,
      cpuPercent: Math.round((user + system) / 10 / tookMs),
      waitedPercent: Math.round(waited / 10 / tookMs),
    };
  }
}

/**
 * Calls `each` for every frame time. Catches up a little when the loop was late, never for long, so that a starved process
 * still reads, and skips what is older than a second.
 */
function paced(each: (n: number) => void): () => void {
  const startMs = performance.now();
  let n = 0;
  const timer = setInterval(() => {
    n = Math.max(n, Math.floor((performance.now() - startMs - 1_000) / frameMs));
    for (let burst = 0; burst < 3 && performance.now() - startMs >= n * frameMs; burst++) each(n++);
  }, 5);
  return () => clearInterval(timer);
}

async function runtime(): Promise<void> {
  const reporter = new Reporter();
  const sides: Side[] = [];
  const server = createLinkServer({
    domain: "runtime",
    peerId: "runtime-1",
    build: "soak",
    onLink: () => ({
      onSession: (port) => {
        const { session } = port.constants;
        const side = new Side(session, 1, session !== stalled, reporter.delaysMs);
        side.port = port;
        const old = sides.findIndex((other) => other.port?.constants.session === session);
        if (old >= 0) sides.splice(old, 1);
        sides.push(side);
        return side.handlers();
      },
      onNotice: () => void reporter.notices++,
    }),
  });
  const grpc = await startGrpcServer({ domain: "runtime", port: 0, services: [server.service] });
  // A third of the agents speak at a time, two seconds each.
  const stop = paced((n) => {
    const phase = Math.floor(n / 100) % 3;
    for (const [i, side] of sides.entries()) if (i % 3 === phase) side.send();
  });
  process.on("message", (message) => {
    if (message === "report") process.send?.(reporter.report(sides));
    if (typeof message === "string" && message.startsWith("heap ")) writeHeapSnapshot(message.slice(5));
    if (message !== "stop") return;
    stop();
    server.close();
    void grpc.stop(200).then(() => process.disconnect());
  });
  process.send?.({ port: grpc.port });
}

function answer<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null): void => reject(new Error(`the runtime ended with ${code}`));
    child.once("exit", onExit);
    child.once("message", (message) => {
      child.off("exit", onExit);
      resolve(message as T);
    });
  });
}

interface Sample {
  readonly atS: number;
  readonly adapter: Report;
  readonly runtime: Report;
}

async function adapter(): Promise<number> {
  const args = [
    "--role",
    "runtime",
    "--sessions",
    values.sessions,
    "--links",
    values.links,
    "--frame-ms",
    values["frame-ms"],
  ];
  const child = fork(fileURLToPath(import.meta.url), args, { execArgv: ["--expose-gc"] });
  const { port } = await answer<{ port: number }>(child);
  const reporter = new Reporter();
  const downs: string[] = [];
  const sides = Array.from({ length: sessions }, (_, i) => new Side(`s-${i}`, 0, true, reporter.delaysMs));
  const clients = Array.from({ length: links }, (_, link) => {
    const options = { domain: "adapter", linkId: `link-${link}`, peerId: "adapter-1", build: "soak" };
    const bindAll = (): void => {
      for (const [i, side] of sides.entries()) {
        if (i % links !== link) continue;
        const bound = client.end.bind(constantsOf(`s-${i}`), side.handlers());
        if (bound.ok) side.rebound(bound.value);
      }
    };
    const client = createLinkClient(
      { ...options, address: `127.0.0.1:${port}` },
      {
        onSession: () => ({ onEvent: () => undefined }),
        onNotice: () => void reporter.notices++,
        onPairUp: () => setImmediate(bindAll),
        onPairDown: (_incarnation, reason) => void downs.push(reason),
      },
    );
    return client;
  });
  await Promise.all(clients.map((client) => client.ready(10_000)));
  const stop = paced(() => {
    for (const side of sides) side.send();
  });
  const samples: Sample[] = [];
  const startMs = performance.now();
  while (performance.now() - startMs < seconds * 1_000) {
    await new Promise((resolve) => setTimeout(resolve, sampleMs));
    child.send("report");
    const sample = {
      atS: (performance.now() - startMs) / 1_000,
      adapter: reporter.report(sides),
      runtime: await answer<Report>(child),
    };
    samples.push(sample);
    tell(sample);
    if (values.heap !== undefined && (samples.length === 3 || sample.atS >= seconds)) {
      writeHeapSnapshot(`${values.heap}-adapter-${samples.length}.heapsnapshot`);
      child.send(`heap ${values.heap}-runtime-${samples.length}.heapsnapshot`);
    }
  }
  stop();
  const lost = [...downs];
  for (const client of clients) client.close();
  child.send("stop");
  return judge(samples, lost);
}

function tell({ atS, adapter: a, runtime: r }: Sample): void {
  const ends = [
    ["adapter", a],
    ["runtime", r],
  ] as const;
  const words = ends.map(([name, { memory: m, delayP50Ms, delayP99Ms, delayMaxMs, cpuPercent, waitedPercent }]) => {
    const sizes = `rss ${m.rssMb} heap ${m.heapMb} external ${m.externalMb} buffers ${m.buffersMb} MB`;
    return `${name}: ${sizes}, delay p50 ${delayP50Ms.toFixed(1)} p99 ${delayP99Ms.toFixed(1)} max ${delayMaxMs.toFixed(0)} ms, cpu ${cpuPercent}% and ${waitedPercent}% without a core`;
  });
  process.stdout.write(`${atS.toFixed(0).padStart(4)} s  ${words.join(" | ")}\n`);
}

function judge(samples: readonly Sample[], lost: readonly string[]): number {
  const settled = samples.filter(({ atS }) => atS >= warmUpS);
  const last = samples.at(-1);
  if (last === undefined || settled.length < 2) return 1;
  // A process without a core for seconds is silent, and its peers are right to say so.
  const starved = samples.some(({ adapter: a, runtime: r }) => Math.max(a.waitedPercent, r.waitedPercent) > 40);
  const words = lost.map((reason) => `a link was lost: ${reason}`);
  if (starved) process.stdout.write(`starved of CPU at times; ${words.join("; ") || "no link was lost"}\n`);
  const problems: string[] = starved ? [] : words;
  for (const end of ["adapter", "runtime"] as const) {
    const report = last[end];
    const heap = (of: Sample): number => of[end].memory.heapMb + of[end].memory.externalMb;
    const half = Math.ceil(settled.length / 2);
    const mean = (list: readonly Sample[], of: (s: Sample) => number): number =>
      list.reduce((sum, s) => sum + of(s), 0) / Math.max(1, list.length);
    const grown = mean(settled.slice(half), heap) - mean(settled.slice(0, half), heap);
    const rss = settled.map((s) => s[end].memory.rssMb);
    process.stdout.write(
      `${end}: ${report.seen} frames in order, heap and external ${grown >= 0 ? "+" : ""}${grown.toFixed(2)} MB between the halves, ` +
        `rss ${Math.min(...rss)} to ${Math.max(...rss)} MB, the stalled session's queue at most ${report.queuedMax} frames\n`,
    );
    if (report.outOfOrder > 0) problems.push(`${end}: ${report.outOfOrder} frames out of order`);
    if (report.dropped > 0) {
      const words = `${end}: ${report.dropped} frames dropped with notice`;
      if (starved) process.stdout.write(`${words}\n`);
      else problems.push(words);
    }
    if (report.lost > 0) problems.push(`${end}: ${report.lost} frames lost`);
    if (report.refused > 0) problems.push(`${end}: ${report.refused} frames refused`);
    if (grown > heapGrowthMbMax) problems.push(`${end}: memory grew by ${grown.toFixed(1)} MB`);
  }
  const result = problems.length === 0 ? "ok" : problems.join("; ");
  process.stdout.write(`link soak: ${sessions} sessions over ${links} links for ${seconds} s: ${result}\n`);
  return problems.length === 0 ? 0 : 1;
}

if (values.role === "runtime") await runtime();
else process.exitCode = await adapter();
