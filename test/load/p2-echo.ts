/** P2: mu-law echo over WebSocket through the 7-node graph, as many calls as one core carries (`docs/benchmarks.md`). */
import type { Bench, BenchResult, Row } from "./bench.ts";
import { Child, PINNED, type ServerFigures } from "./children.ts";

const STEPS = [100, 200, 300, 400];
const WARM_S = 4;
const RUN_S = 8;

interface LoadFigures {
  calls: number;
  sent: number;
  received: number;
  closed: number;
  p50: number;
  p95: number;
  p99: number;
  lateP99: number;
  cpuPercent: number;
}

const plain = (what: string, unit: string, value: number, bar?: number): Row => ({
  ...{ what, unit, value, low: value, high: value },
  ...(bar === undefined ? {} : { bar }),
});

export const p2: Bench = {
  name: "P2",
  title: "Mu-law echo over WebSocket, adapter and runtime on one core",
  async run(): Promise<BenchResult> {
    const rows: Row[] = [];
    const notes: string[] = [];
    for (const calls of STEPS) {
      const server = new Child("./ws-server.ts", ["echo"], 0);
      const { port } = await server.next<{ port: number }>();
      const load = new Child("./ws-load.ts", [String(port), String(calls), String(WARM_S), String(RUN_S)], 1);
      // Once it is warm, and once it is over.
      await load.next<{ warm: true }>((WARM_S + 30) * 1_000);
      await server.ask<ServerFigures>();
      const seen = await load.next<LoadFigures>((RUN_S + 30) * 1_000);
      const used = await server.ask<ServerFigures>();
      await load.stop();
      await server.stop();
      const bar = calls === STEPS.at(-1) ? 5 : undefined;
      rows.push(
        plain(`${calls} calls: echo, p50`, "ms", seen.p50),
        plain(`${calls} calls: echo, p99`, "ms", seen.p99, bar),
      );
      rows.push(plain(`${calls} calls: CPU of the platform`, "%", used.cpuPercent));
      const lost = seen.sent - seen.received;
      notes.push(
        `${calls} calls: ${seen.sent} frames sent, ${lost} not back when the time was over, ${seen.closed} calls closed; ` +
          `platform waited ${used.waitedPercent.toFixed(1)} % for its core and holds ${used.rssMb.toFixed(0)} MiB; ` +
          `callers: CPU ${seen.cpuPercent.toFixed(0)} %, timers late p99 ${seen.lateP99.toFixed(1)} ms`,
      );
    }
    return {
      name: "P2",
      title: p2.title,
      topology: `two processes, ${PINNED}; each call 50 frames/s of 8 kHz mu-law, resampled to 16 kHz and back; spool on disk at L0`,
      compared:
        "the same at fewer calls, each in a fresh process; Flowcat about 167 calls at p99 0.61 ms, Pipecat near 40",
      rows,
      notes,
    };
  },
};
