/** `npm run sim -- [--from N] [--seeds N] [--seed N] [--trace] [--mutants] [--json]`: exit status 0 only when all is well. */
import { parseArgs } from "node:util";
import { addCoverage, newCoverage, ROWS } from "./coverage.ts";
import { FAULT_KINDS } from "./fault-kinds.ts";
import { runMutants } from "./mutants.ts";
import { runSeed, type SeedResult } from "./run-seed.ts";

const floorPer500 = 50;
const turnsFloor = 20;

const { values } = parseArgs({
  options: {
    from: { type: "string", default: "0" },
    seeds: { type: "string", default: "50" },
    seed: { type: "string" },
    trace: { type: "boolean", default: false },
    "until-failure": { type: "boolean", default: false },
    mutants: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});

function repeat(seed: number): string {
  return `npm run sim -- --seed ${seed} --trace`;
}

function report(result: SeedResult): void {
  for (const { checker, problem } of result.failures.slice(0, 5))
    console.error(`seed ${result.seed}: ${checker}: ${problem}`);
  if (!result.ok) console.error(`repeat: ${repeat(result.seed)}`);
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}

function one(seed: number): void {
  const result = runSeed(seed, { keepLines: values.trace });
  if (values.trace) for (const line of result.lines) console.log(line);
  report(result);
  const { lines: _, ...rest } = result;
  if (values.json) console.log(JSON.stringify(rest));
  else
    console.log(
      `seed ${seed}: ${result.ok ? "ok" : "FAILED"}, ${result.turns} turns, ${result.virtualMinutes.toFixed(2)} virtual minutes, trace ${result.hash}`,
    );
  process.exitCode = result.ok ? 0 : 1;
}

function many(from: number, seeds: number): void {
  const startedMs = performance.now();
  const coverage = newCoverage();
  const failing: { seed: number; failures: SeedResult["failures"]; repeat: string }[] = [];
  const turns: number[] = [];
  const minutes: number[] = [];
  let events = 0;
  for (let seed = from; seed < from + seeds; seed++) {
    const result = runSeed(seed);
    addCoverage(coverage, result.coverage);
    turns.push(result.turns);
    minutes.push(result.virtualMinutes);
    events += result.events;
    if (!result.ok) {
      failing.push({ seed, failures: result.failures, repeat: repeat(seed) });
      report(result);
      if (values["until-failure"]) break;
    }
    const done = seed - from + 1;
    if (done % 25 === 0)
      console.error(
        `${done}/${seeds} seeds, ${failing.length} failing, ${((performance.now() - startedMs) / 1000).toFixed(0)} s`,
      );
  }
  const seconds = (performance.now() - startedMs) / 1000;
  const floor = Math.ceil((floorPer500 * seeds) / 500);
  const short = [
    ...FAULT_KINDS.filter((kind) => (coverage.faults[kind] ?? 0) < floor),
    ...ROWS.filter((row) => coverage.rows[row] < floor),
    ...(Math.min(...turns) < turnsFloor ? [`turns a seed: ${Math.min(...turns)} of ${turnsFloor}`] : []),
  ];
  const ok = failing.length === 0 && short.length === 0;
  const summary = {
    ok,
    from,
    seeds,
    failing,
    seconds: Math.round(seconds * 10) / 10,
    events,
    turnsASeed: { least: Math.min(...turns), median: median(turns) },
    virtualMinutes: { median: Math.round(median(minutes) * 100) / 100 },
    floor,
    belowFloor: short,
    ...coverage,
  };
  if (values.json) console.log(JSON.stringify(summary));
  else table(summary);
  process.exitCode = ok ? 0 : 1;
}

function table(
  summary: { floor: number; faults: Record<string, number>; rows: Record<string, number> } & Record<string, unknown>,
): void {
  const { faults, rows, floor, failing, ...rest } = summary;
  for (const [title, counts] of [
    ["fault", faults],
    ["row", rows],
  ] as const) {
    console.log(`${title.padEnd(24)} count   floor ${floor}`);
    for (const [name, count] of Object.entries(counts)) {
      console.log(`${name.padEnd(24)} ${String(count).padStart(5)}   ${count >= floor ? "reached" : "BELOW"}`);
    }
  }
  console.log(JSON.stringify({ ...rest, failing: (failing as { seed: number }[]).map((f) => f.seed) }));
}

if (values.mutants) {
  const report = runMutants();
  console.log(
    values.json
      ? JSON.stringify(report)
      : report.mutants.map((m) => `${m.caught ? "caught" : "MISSED"} ${m.name}: ${m.detail}`).join("\n"),
  );
  process.exitCode = report.ok ? 0 : 1;
} else if (values.seed !== undefined) one(Number(values.seed));
else many(Number(values.from), Number(values.seeds));
