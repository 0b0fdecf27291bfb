/** What a benchmark is, and how its figures are taken: medians over rounds, CPU time beside wall time, run-queue wait. */
import { readFileSync } from "node:fs";

export interface Row {
  what: string;
  /** Median over the rounds. */
  value: number;
  unit: string;
  /** Tenth and ninetieth percentile of the rounds; the same twice when there was one. */
  low: number;
  high: number;
  /** The most this row may be, in its unit; absent where no bar applies. */
  bar?: number;
}

export interface BenchResult {
  name: string;
  title: string;
  /** Processes, threads and what is simulated. */
  topology: string;
  /** The thing compared with, run in the same process and rounds. */
  compared: string;
  rows: Row[];
  notes: string[];
}

export interface Bench {
  name: string;
  title: string;
  run(): BenchResult | Promise<BenchResult>;
}

export interface Cost {
  /** CPU of this thread, microseconds. */
  threadUs: number;
  /** CPU of all threads: garbage collection and compilation included; microseconds. */
  processUs: number;
  wallUs: number;
  /** Time this thread was ready and did not run, microseconds; 0 where the system does not tell. */
  waitUs: number;
}

/** Nanoseconds the main thread has waited for a core so far (second field of schedstat); 0 where unknown. */
function runQueueWaitNs(): number {
  try {
    return Number(readFileSync("/proc/self/schedstat", "utf8").split(" ")[1] ?? 0);
  } catch {
    return 0;
  }
}

/** Runs `work` and says what it cost. */
export function measure(work: () => void): Cost {
  const waited = runQueueWaitNs();
  const wall = process.hrtime.bigint();
  const all = process.cpuUsage();
  const own = process.threadCpuUsage();
  work();
  const ownAfter = process.threadCpuUsage(own);
  const allAfter = process.cpuUsage(all);
  return {
    threadUs: ownAfter.user + ownAfter.system,
    processUs: allAfter.user + allAfter.system,
    wallUs: Number(process.hrtime.bigint() - wall) / 1_000,
    waitUs: (runQueueWaitNs() - waited) / 1_000,
  };
}

/** The `q` quantile (0 … 1) by nearest rank; 0 of nothing. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? 0;
}

/** One row from the figures of all rounds. */
export function row(what: string, unit: string, values: readonly number[], bar?: number): Row {
  const base = { what, unit, value: quantile(values, 0.5), low: quantile(values, 0.1), high: quantile(values, 0.9) };
  return bar === undefined ? base : { ...base, bar };
}

/** One row for one quantile of all samples; low and high are the least and the most of them. */
export function quantileRow(what: string, unit: string, values: readonly number[], q: number, bar?: number): Row {
  const base = { what, unit, value: quantile(values, q), low: quantile(values, 0), high: quantile(values, 1) };
  return bar === undefined ? base : { ...base, bar };
}

/** Microseconds the main thread has waited for a core so far. */
export function waitedUs(): number {
  return runQueueWaitNs() / 1_000;
}

/** Ends a run that cannot be measured without a forced collection, with what to do. */
export function collectGarbage(): void {
  if (globalThis.gc === undefined)
    throw new Error("memory is measured with --expose-gc: start through `npm run bench`");
  globalThis.gc();
}
