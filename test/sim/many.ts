import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { CAPABILITIES } from "./capabilities.ts";
import { addCoverage, type Coverage, newCoverage, ROWS } from "./coverage.ts";
import { FAULT_KINDS } from "./fault-kinds.ts";
import { type Failure, runSeed } from "./run-seed.ts";
import { describeShrunk, repeatCommand, shrink } from "./shrink.ts";

/** Of every fault kind and every row, in so many seeds. */
const floorPer2000 = 50;
const turnsFloor = 20;
const seedsAtOnce = 10;
const shrunkMax = 5;

/** What a worker says of one seed; all of it crosses between processes. */
interface Told {
  seed: number;
  ok: boolean;
  failures: Failure[];
  shrunk: string;
  events: number;
  turns: number;
  virtualMinutes: number;
  coverage: Coverage;
}

interface Asked {
  from: number;
  seeds: number;
  shrinking: boolean;
}

export interface ManyOptions {
  from: number;
  seeds: number;
  workers: number;
  untilFailure: boolean;
  /** Failing seeds are made smaller. */
  shrinking: boolean;
  /** Asked before the others, in this process. */
  first: number | null;
}

export interface Summary extends Coverage {
  ok: boolean;
  from: number;
  seeds: number;
  workers: number;
  failing: { seed: number; failures: Failure[]; repeat: string }[];
  seconds: number;
  events: number;
  turnsASeed: { least: number; median: number };
  virtualMinutes: { median: number; sum: number };
  floor: number;
  belowFloor: string[];
}

function tell(seed: number, shrinking: boolean): Told {
  const result = runSeed(seed);
  const { ok, failures, events, turns, virtualMinutes, coverage } = result;
  const shrunk = ok || !shrinking ? null : shrink(result);
  return {
    seed,
    ok,
    failures,
    events,
    turns,
    virtualMinutes,
    coverage,
    shrunk: shrunk === null ? "" : describeShrunk(shrunk),
  };
}

/** What a worker process does: seeds as they are asked for. */
export function work(): void {
  process.on("message", ({ from, seeds, shrinking }: Asked) => {
    for (let seed = from; seed < from + seeds; seed++) process.send?.(tell(seed, shrinking));
    process.send?.("next");
  });
  process.on("disconnect", () => process.exit(0));
  process.send?.("next");
}

/** Seeds in as many processes as asked for; with one, in this one. */
export async function runMany(options: ManyOptions): Promise<Summary> {
  const startedMs = performance.now();
  const seconds = (): number => (performance.now() - startedMs) / 1000;
  const told: Told[] = [];
  let shrunk = 0;
  const take = (one: Told): boolean => {
    told.push(one);
    if (!one.ok) report(one);
    if (one.shrunk !== "") shrunk += 1;
    if (told.length % 100 === 0) {
      const failed = told.filter(({ ok }) => !ok).length;
      console.error(`${told.length}/${options.seeds} seeds, ${failed} failing, ${seconds().toFixed(0)} s`);
    }
    return one.ok || !options.untilFailure;
  };
  const shrinking = (): boolean => options.shrinking && shrunk < shrunkMax;
  if (options.first !== null && !take(tell(options.first, false)) && options.untilFailure)
    return summarise(options, told, seconds());
  if (options.workers <= 1) {
    for (let seed = options.from; seed < options.from + options.seeds; seed++)
      if (!take(tell(seed, shrinking()))) break;
  } else await inWorkers(options, take, shrinking);
  return summarise(options, told, seconds());
}

async function inWorkers(options: ManyOptions, take: (one: Told) => boolean, shrinking: () => boolean): Promise<void> {
  const { from, seeds, workers } = options;
  let next = from;
  let stopped = false;
  const one = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const child: ChildProcess = fork(fileURLToPath(new URL("main.ts", import.meta.url)), ["--worker"]);
      child.on("message", (message: Told | "next") => {
        if (message !== "next") {
          if (!take(message)) stopped = true;
          return;
        }
        const count = Math.min(seedsAtOnce, from + seeds - next);
        if (stopped || count <= 0) return child.disconnect();
        child.send({ from: next, seeds: count, shrinking: shrinking() } satisfies Asked);
        next += count;
      });
      child.on("error", reject);
      child.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`a worker ended with ${code}`))));
    });
  await Promise.all(Array.from({ length: workers }, one));
}

function report({ seed, failures, shrunk }: Told): void {
  for (const { checker, problem } of failures.slice(0, 5)) console.error(`seed ${seed}: ${checker}: ${problem}`);
  console.error(shrunk === "" ? `repeat: ${repeatCommand(seed)}` : shrunk);
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}

const hundredths = (value: number): number => Math.round(value * 100) / 100;

function summarise({ from, seeds, workers }: ManyOptions, told: readonly Told[], seconds: number): Summary {
  const coverage = newCoverage();
  for (const one of told) addCoverage(coverage, one.coverage);
  const turns = told.map((one) => one.turns);
  const minutes = told.map((one) => one.virtualMinutes);
  const least = Math.min(...turns);
  const floor = Math.ceil((floorPer2000 * seeds) / 2_000);
  const belowFloor = [
    ...FAULT_KINDS.filter((kind) => (coverage.faults[kind] ?? 0) < floor),
    ...ROWS.filter((row) => coverage.rows[row] < floor),
    ...CAPABILITIES.filter((capability) => coverage.drawn[capability] < floor),
    ...(least < turnsFloor ? [`turns a seed: ${least} of ${turnsFloor}`] : []),
  ];
  const failing = told
    .filter(({ ok }) => !ok)
    .map(({ seed, failures }) => ({ seed, failures, repeat: repeatCommand(seed) }))
    .sort((a, b) => a.seed - b.seed);
  return {
    ok: failing.length === 0 && belowFloor.length === 0,
    from,
    seeds,
    workers,
    failing,
    seconds: Math.round(seconds * 10) / 10,
    events: told.reduce((sum, one) => sum + one.events, 0),
    turnsASeed: { least, median: median(turns) },
    virtualMinutes: { median: hundredths(median(minutes)), sum: Math.round(minutes.reduce((a, b) => a + b, 0)) },
    floor,
    belowFloor,
    ...coverage,
  };
}
