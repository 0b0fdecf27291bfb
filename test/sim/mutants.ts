import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createCopy, rootDir } from "./copy.ts";

const patchesDir = join(rootDir, "test", "sim", "mutants");
/** Seeds given to each planted bug; one that survives them all is missed. */
const seedsMax = 120;

export interface MutantReport {
  name: string;
  applied: boolean;
  caught: boolean;
  /** By which checker, at which seed. */
  checker: string;
  seed: number;
  detail: string;
}

/** Plants each patch of `mutants/` in a copy of the product and runs seeds there until a checker notices. */
export function runMutants(only?: string): { ok: boolean; mutants: MutantReport[] } {
  const patches = readdirSync(patchesDir).filter(
    (name) => name.endsWith(".patch") && (only === undefined || name.includes(only)),
  );
  const copy = createCopy();
  try {
    const mutants = patches.sort().map((patch) => {
      const report = runMutant(copy, patch);
      console.error(`${report.caught ? "caught" : "MISSED"} ${report.name}: ${report.detail}`);
      return report;
    });
    return { ok: mutants.length > 0 && mutants.every((mutant) => mutant.caught), mutants };
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

function runMutant(copy: string, patch: string): MutantReport {
  const name = patch.replace(/\.patch$/, "");
  const report: MutantReport = { name, applied: false, caught: false, checker: "", seed: -1, detail: "" };
  const file = join(patchesDir, patch);
  const applied = spawnSync("git", ["apply", "-C1", "--whitespace=nowarn", file], { cwd: copy, encoding: "utf8" });
  if (applied.status !== 0)
    return { ...report, detail: `the patch does not apply: ${applied.stderr.trim().slice(0, 300)}` };
  report.applied = true;
  const args = ["test/sim/main.ts", "--seeds", String(seedsMax), "--until-failure", "--json"];
  const run = spawnSync(process.execPath, args, { cwd: copy, encoding: "utf8", timeout: 300_000, maxBuffer: 64 << 20 });
  spawnSync("git", ["apply", "-R", "-C1", "--whitespace=nowarn", file], { cwd: copy });
  const first = firstFailure(run.stdout);
  if (first === null)
    return {
      ...report,
      detail: run.status === 0 ? `survived ${seedsMax} seeds` : `the run broke: ${run.stderr.slice(-300)}`,
    };
  return {
    ...report,
    caught: true,
    ...first,
    detail: `checker ${first.checker}, seed ${first.seed}: ${first.problem}`,
  };
}

function firstFailure(stdout: string): { checker: string; seed: number; problem: string } | null {
  try {
    const { failing } = JSON.parse(stdout) as {
      failing: { seed: number; failures: { checker: string; problem: string }[] }[];
    };
    const first = failing[0];
    const failure = first?.failures[0];
    return first === undefined || failure === undefined ? null : { ...failure, seed: first.seed };
  } catch {
    return null;
  }
}
