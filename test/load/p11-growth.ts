/** P11: what a frame costs at 10, 100, 300 and 500 calls (`docs/benchmarks.md`). */
import type { Bench, BenchResult, Row } from "./bench.ts";
import { PINNED } from "./children.ts";
import { runCore } from "./p3-voice-loop.ts";

const STEPS = [10, 100, 300, 500];
const ROUNDS = 3;
const WARM_S = 6;

export const p11: Bench = {
  name: "P11",
  title: "Cost of a frame as calls grow",
  async run(): Promise<BenchResult> {
    const costs = STEPS.map((): number[] => []);
    for (let round = 0; round < ROUNDS; round++) {
      for (const [i, calls] of STEPS.entries()) costs[i]?.push((await runCore("echo", calls, WARM_S)).cpuUsPerFrame);
    }
    const middle = costs.map((of) => [...of].sort((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? 0);
    // At ten calls most of what is counted is the process itself, so growth is told from 100 on.
    const [, base = 1, , most = 0] = middle;
    const rows: Row[] = STEPS.map((calls, i) => ({
      what: `${calls} calls: CPU a frame, all threads`,
      value: middle[i] ?? 0,
      low: Math.min(...(costs[i] ?? [0])),
      high: Math.max(...(costs[i] ?? [0])),
      unit: "µs",
    }));
    const growth = 100 * (most / base - 1);
    rows.push({ what: "500 calls against 100", value: growth, low: growth, high: growth, unit: "%", bar: 25 });
    return {
      name: "P11",
      title: p11.title,
      topology: `one process, ${PINNED.split(",")[0] ?? ""}, callers within it; 50 frames/s a call through the 7-node chain and back; spool on disk at L0`,
      compared: "the same at other numbers of calls, in turns",
      rows,
      notes: [`medians of ${ROUNDS} rounds, each a fresh process of its own`],
    };
  },
};
