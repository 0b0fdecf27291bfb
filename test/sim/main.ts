import { parseArgs } from "node:util";
import { runMany, type Summary, work } from "./many.ts";
import { runMutants } from "./mutants.ts";
import { runSeed } from "./run-seed.ts";
import { describeShrunk, repeatCommand, shrink } from "./shrink.ts";

const { values } = parseArgs({
  options: {
    from: { type: "string", default: "0" },
    seeds: { type: "string", default: "50" },
    workers: { type: "string", default: "1" },
    seed: { type: "string" },
    only: { type: "string" },
    actions: { type: "string" },
    trace: { type: "boolean", default: false },
    shrink: { type: "boolean", default: false },
    "until-failure": { type: "boolean", default: false },
    mutants: { type: "boolean", default: false },
    /** Of the planted bugs, those with this in their name. */
    name: { type: "string", default: "" },
    json: { type: "boolean", default: false },
    /** Failing seeds decide alone, not the floors. */
    safety: { type: "boolean", default: false },
    worker: { type: "boolean", default: false },
    /** A seed that is asked before the others. */
    first: { type: "string" },
  },
});

function one(seed: number): void {
  const only = values.only?.split(",");
  const result = runSeed(seed, {
    keepLines: values.trace,
    only: only === undefined ? null : new Set(only),
    ...(values.actions === undefined ? {} : { actionsMax: Number(values.actions) }),
  });
  for (const line of result.lines) console.log(line);
  for (const { checker, problem } of result.failures.slice(0, 5)) console.error(`seed ${seed}: ${checker}: ${problem}`);
  if (!result.ok) {
    const shrunk = values.shrink ? shrink(result) : null;
    const actions = values.actions === undefined ? undefined : Number(values.actions);
    console.error(shrunk === null ? `repeat: ${repeatCommand(seed, only, actions)}` : describeShrunk(shrunk));
  }
  const { lines: _, injected: __, ...rest } = result;
  if (values.json) console.log(JSON.stringify(rest));
  else
    console.log(
      `seed ${seed}: ${result.ok ? "ok" : "FAILED"}, ${result.turns} turns, ${result.virtualMinutes.toFixed(2)} virtual minutes, trace ${result.hash}`,
    );
  process.exitCode = result.ok ? 0 : 1;
}

function table(summary: Summary): void {
  const { faults, rows, drawn, floor, failing, ...rest } = summary;
  for (const [title, counts] of [
    ["fault", faults],
    ["row", rows],
    ["seeds with", drawn],
  ] as const) {
    console.log(`${title.padEnd(30)} count   floor ${floor}`);
    for (const [name, count] of Object.entries(counts)) {
      console.log(`${name.padEnd(30)} ${String(count).padStart(5)}   ${count >= floor ? "reached" : "BELOW"}`);
    }
  }
  console.log(JSON.stringify({ ...rest, failing: failing.map((f) => f.seed) }));
}

async function many(): Promise<void> {
  const summary = await runMany({
    from: Number(values.from),
    seeds: Number(values.seeds),
    workers: Number(values.workers),
    untilFailure: values["until-failure"],
    shrinking: !values["until-failure"],
    first: values.first === undefined ? null : Number(values.first),
  });
  if (values.json) console.log(JSON.stringify(summary));
  else table(summary);
  const ok = values.safety ? summary.failing.length === 0 : summary.ok;
  process.exitCode = ok ? 0 : 1;
}

async function mutants(): Promise<void> {
  const report = await runMutants(values.name);
  console.log(
    values.json
      ? JSON.stringify(report)
      : report.mutants.map((m) => `${m.caught ? "caught" : "MISSED"} ${m.name}: ${m.detail}`).join("\n"),
  );
  process.exitCode = report.ok ? 0 : 1;
}

if (values.worker) work();
else if (values.mutants) await mutants();
else if (values.seed !== undefined) one(Number(values.seed));
else await many();
