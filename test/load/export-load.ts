/**
 * Sessions that export to the service of `export-server.ts`. Arguments: port, sessions, seconds, records of the backlog.
 * Each session repeats what the kernel recorded of one call at L1, in its own time. Says one line of figures after the calls
 * under way, waits for a line on its standard input, and one more after what had gathered while nobody exported.
 */
import { createInterface } from "node:readline";
import { createSystemClock } from "@rspp/host/system-clock";
import { connectRpc } from "@rspp/rpc/clients";
import { silentLog } from "@rspp/rpc/log";
import { startExporter } from "@rspp/runtime/export/exporter";
import { createMemoryStore } from "@rspp/runtime/spool/memory-store";
import { createSpool, type LineTag, type Spool, type StreamId } from "@rspp/runtime/spool/spool";
import { recordedCall } from "./export-call.ts";
import type { ExportLoadFigures } from "./r-export.ts";

const TICK_MS = 20;
const [port, sessions, seconds, backlog] = process.argv.slice(2).map(Number) as [number, number, number, number];
const call = await recordedCall();
const clock = createSystemClock();
const connection = connectRpc({ baseUrl: `http://127.0.0.1:${port}`, domain: "none", messageBytesMax: 16_777_216 });
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const say = (figures: ExportLoadFigures): void => void process.stdout.write(`${JSON.stringify(figures)}\n`);
const commands = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

function begin(): { spool: Spool; export(): ReturnType<typeof startExporter> } {
  const store = createMemoryStore();
  const spool = createSpool({ store, clock, diskBytesMax: 2 ** 34 });
  const who = { instanceId: "bench", build: "bench" };
  return { spool, export: () => startExporter({ spool, store, connection, clock, log: silentLog, ...who }) };
}

function open(spool: Spool, sessionId: string): StreamId {
  const stream = { tenantId: "bench", sessionId, epoch: 1 };
  const content = { tenantId: "bench", sessionId, epoch: 1, pipeline: "p@1", level: "L1", config: null };
  spool.append(stream, "session", JSON.stringify(content));
  return stream;
}

function line(spool: Spool, stream: StreamId, n: number): void {
  const { tag, json } = call.lines[n % call.lines.length] ?? { tag: "journal", json: "{}" };
  spool.line(stream, tag as LineTag, json);
}

async function underWay(): Promise<ExportLoadFigures> {
  const { spool, export: exporting } = begin();
  const exporter = exporting();
  const streams = Array.from({ length: sessions }, (_, i) => ({ at: open(spool, `call-${i}`), said: i * 37 }));
  const first = streams.map(({ said }) => said);
  const startMs = performance.now();
  const cpu = process.cpuUsage();
  const lagMs: number[] = [];
  const perMs = call.lines.length / call.durationMs;
  let nowMs = startMs;
  while (nowMs - startMs < seconds * 1_000) {
    for (const [i, stream] of streams.entries()) {
      const wanted = (first[i] ?? 0) + Math.floor((nowMs - startMs) * perMs);
      for (; stream.said < wanted; stream.said++) line(spool, stream.at, stream.said);
    }
    lagMs.push(exporter.stats().lagMs);
    await wait(TICK_MS);
    nowMs = performance.now();
  }
  const { exported } = exporter.stats();
  const { user, system } = process.cpuUsage(cpu);
  const offered = streams.reduce((sum, { said }, i) => sum + said - (first[i] ?? 0), sessions);
  await exporter.stop();
  await spool.close();
  return { seconds: (nowMs - startMs) / 1_000, offered, exported, cpuUs: user + system, lagMs };
}

async function catchingUp(): Promise<ExportLoadFigures> {
  const { spool, export: exporting } = begin();
  for (let i = 0; i < sessions; i++) {
    const at = open(spool, `late-${i}`);
    for (let n = 0; n < backlog / sessions; n++) line(spool, at, n + i * 37);
    if (i % 20 === 0) await spool.sync();
  }
  await spool.sync();
  const startMs = performance.now();
  const cpu = process.cpuUsage();
  const exporter = exporting();
  await exporter.idle();
  const { user, system } = process.cpuUsage(cpu);
  const { exported } = exporter.stats();
  const took = (performance.now() - startMs) / 1_000;
  await exporter.stop();
  await spool.close();
  return { seconds: took, offered: exported, exported, cpuUs: user + system, lagMs: [] };
}

say(await underWay());
await commands.next();
say(await catchingUp());
await commands.next();
process.exit(0);
