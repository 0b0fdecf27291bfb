/**
 * Mechanical mutants (quality.md R2): small changes of the files that safety rests on, one at a time, each of which the
 * nearest unit tests or a few seeds must notice.
 *
 *     node test/sim/mechanical.ts [--file fence] [--every 12] [--again LOG] [--workers 2] [--json]
 */
import { spawn } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createCopy, rootDir } from "./copy.ts";
import { EQUIVALENT } from "./mechanical-equivalent.ts";
import { type Mutant, mutantsOf } from "./mechanical-operators.ts";

/** Each file with the tests that stand nearest to it. */
const targets: Readonly<Record<string, readonly string[]>> = {
  "libs/kernel/src/fence.ts": ["libs/kernel/src/fence.test.ts"],
  "libs/kernel/src/authority.ts": ["libs/kernel/src/authority.test.ts", "libs/kernel/src/authority-step.test.ts"],
  "libs/kernel/src/session-authority.ts": [
    "libs/kernel/src/authority-step.test.ts",
    "libs/kernel/src/powerless.test.ts",
    "libs/kernel/src/keypad.test.ts",
  ],
  "libs/kernel/src/lanes.ts": ["libs/kernel/src/lanes.test.ts", "libs/kernel/src/step-lanes.test.ts"],
  "libs/kernel/src/identity.ts": ["libs/kernel/src/identity.test.ts"],
  "libs/protocol/src/link-fence.ts": ["libs/protocol/src/link-fence.test.ts", "libs/protocol/src/link.test.ts"],
  "libs/protocol/src/lease-receiver.ts": [
    "libs/protocol/src/lease-receiver.test.ts",
    "libs/protocol/src/lease.test.ts",
  ],
  "libs/protocol/src/lease-holder.ts": ["libs/protocol/src/lease-holder.test.ts", "libs/protocol/src/lease.test.ts"],
  "libs/protocol/src/lease-epoch.ts": ["libs/protocol/src/lease-epoch.test.ts", "libs/protocol/src/lease.test.ts"],
};
const killedFloor = 0.9;
const seedsMax = 12;
/** A mutant that loops for ever is stopped, and counts as killed. */
const testsMs = 90_000;
const seedsMs = 180_000;

interface Verdict {
  mutant: Mutant;
  by: "unit tests" | "seeds" | "time" | "equivalent" | "survived";
}

const { values } = parseArgs({
  options: {
    file: { type: "string", default: "" },
    every: { type: "string", default: "1" },
    workers: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
    list: { type: "boolean", default: false },
    /** Only those that the log of an earlier run names as survivors: tests that were added since are tried on them. */
    again: { type: "string" },
  },
});

function run(copy: string, args: readonly string[], ms: number): Promise<"passed" | "failed" | "time"> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: copy, stdio: "ignore", detached: true });
    const timer = setTimeout(() => {
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      resolve("time");
    }, ms);
    child.on("exit", (code) => {
      clearTimeout(timer);
      resolve(code === 0 ? "passed" : "failed");
    });
  });
}

function equivalent({ file, before, after }: Mutant): boolean {
  return EQUIVALENT.some((known) => known.file === file && known.before === before && known.after === after);
}

async function judge(copy: string, mutant: Mutant): Promise<Verdict> {
  if (equivalent(mutant)) return { mutant, by: "equivalent" };
  const path = join(copy, mutant.file);
  const original = readFileSync(path, "utf8");
  writeFileSync(path, mutant.source);
  try {
    const vitest = join("node_modules", "vitest", "vitest.mjs");
    const tests = [vitest, "run", "--bail", "1", "--no-isolate", "--maxWorkers", "1", ...(targets[mutant.file] ?? [])];
    const tested = await run(copy, tests, testsMs);
    if (tested !== "passed") return { mutant, by: tested === "time" ? "time" : "unit tests" };
    const seeds = ["test/sim/main.ts", "--seeds", String(seedsMax), "--until-failure", "--safety"];
    const simulated = await run(copy, seeds, seedsMs);
    if (simulated !== "passed") return { mutant, by: simulated === "time" ? "time" : "seeds" };
    return { mutant, by: "survived" };
  } finally {
    writeFileSync(path, original);
  }
}

function all(): Mutant[] {
  const every = Number(values.every);
  const again = values.again === undefined ? null : `${readFileSync(values.again, "utf8")}\n`;
  return Object.keys(targets)
    .filter((file) => file.includes(values.file))
    .flatMap((file) => mutantsOf(file, readFileSync(join(rootDir, file), "utf8")))
    .filter((_, i) => i % every === 0)
    .filter(({ before, after }) => again === null || again.includes(`  - ${before}\n  + ${after}\n`));
}

async function main(): Promise<void> {
  const mutants = all();
  const verdicts: Verdict[] = [];
  const copies = Array.from({ length: Number(values.workers) }, createCopy);
  const left = [...mutants];
  const worker = async (copy: string): Promise<void> => {
    for (let mutant = left.shift(); mutant !== undefined; mutant = left.shift()) {
      const verdict = await judge(copy, mutant);
      verdicts.push(verdict);
      const { file, line, operator, before, after } = mutant;
      const place = `${file}:${line} (${operator})`;
      // Named alike, so that `--again` can tell a machine that was busy from a loop without end.
      const told = { survived: "SURVIVED", time: "OUT OF TIME" }[verdict.by as string];
      if (told !== undefined) console.error(`${told} ${place}\n  - ${before}\n  + ${after}`);
      if (verdicts.length % 25 === 0) console.error(`${verdicts.length}/${mutants.length}`);
    }
  };
  try {
    await Promise.all(copies.map(worker));
  } finally {
    for (const copy of copies) rmSync(copy, { recursive: true, force: true });
  }
  tell(verdicts);
}

function tell(verdicts: readonly Verdict[]): void {
  const count = (by: Verdict["by"]): number => verdicts.filter((verdict) => verdict.by === by).length;
  const [survived, same] = [count("survived"), count("equivalent")];
  const meant = verdicts.length - same;
  const killed = meant - survived;
  const share = meant === 0 ? 1 : killed / meant;
  const files = Object.keys(targets).map((file) => {
    const of = verdicts.filter(({ mutant }) => mutant.file === file);
    return { file, mutants: of.length, survived: of.filter(({ by }) => by === "survived").length };
  });
  const summary = {
    ok: share >= killedFloor,
    mutants: verdicts.length,
    killed,
    share: Math.round(share * 1_000) / 1_000,
    byUnitTests: count("unit tests"),
    bySeeds: count("seeds"),
    byTime: count("time"),
    equivalent: same,
    survived,
    files,
  };
  console.log(values.json ? JSON.stringify(summary) : JSON.stringify(summary, null, 1));
  process.exitCode = summary.ok ? 0 : 1;
}

if (values.list)
  for (const { file, line, operator, before, after } of all())
    console.log(`${file}:${line} ${operator}\n  - ${before}\n  + ${after}`);
else await main();
