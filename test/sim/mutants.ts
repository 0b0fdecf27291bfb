import { execFile } from "node:child_process";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createCopy, rootDir } from "./copy.ts";

const patchesDir = join(rootDir, "test", "sim", "mutants");
/** The seed that last caught each bug: asked first. Where the generator has changed since, it may not; then all are. */
const knownSeeds = JSON.parse(readFileSync(join(patchesDir, "seeds.json"), "utf8")) as Readonly<Record<string, number>>;
/** Seeds given to each planted bug; one that survives them all is missed. */
const seedsMax = 120;
const runMs = 300_000;
const runsAtOnce = 2;

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
export async function runMutants(only: string): Promise<{ ok: boolean; mutants: MutantReport[] }> {
  const patches = readdirSync(patchesDir).filter((name) => name.endsWith(".patch") && name.includes(only));
  patches.sort();
  const waiting = [...patches];
  const mutants: MutantReport[] = [];
  const one = async (): Promise<void> => {
    const copy = createCopy();
    try {
      for (let patch = waiting.shift(); patch !== undefined; patch = waiting.shift()) {
        const report = await runMutant(copy, patch);
        console.error(`${report.caught ? "caught" : "MISSED"} ${report.name}: ${report.detail}`);
        mutants.push(report);
      }
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  };
  await Promise.all(Array.from({ length: runsAtOnce }, one));
  mutants.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { ok: patches.length > 0 && mutants.every((mutant) => mutant.caught), mutants };
}

async function runMutant(copy: string, patch: string): Promise<MutantReport> {
  const name = patch.replace(/\.patch$/, "");
  const report: MutantReport = { name, applied: false, caught: false, checker: "", seed: -1, detail: "" };
  const apply = ["apply", "-C1", "--whitespace=nowarn", join(patchesDir, patch)];
  const applied = await run("git", apply, copy);
  if (!applied.ok) return { ...report, detail: `the patch does not apply: ${applied.stderr.trim().slice(0, 300)}` };
  report.applied = true;
  const known = knownSeeds[name];
  const first = known === undefined ? [] : ["--first", String(known)];
  const args = ["test/sim/main.ts", "--seeds", String(seedsMax), ...first, "--until-failure", "--safety", "--json"];
  const seeds = await run(process.execPath, args, copy);
  await run("git", [...apply, "-R"], copy);
  const failure = firstFailure(seeds.stdout);
  if (failure === null) {
    const detail = seeds.ok ? `survived ${seedsMax} seeds` : `the run broke: ${seeds.stderr.slice(-300)}`;
    return { ...report, detail };
  }
  const { checker, seed, problem } = failure;
  return { ...report, caught: true, checker, seed, detail: `checker ${checker}, seed ${seed}: ${problem}` };
}

/** What a tool said; the copy keeps what is compiled, since each planted bug changes one file alone. */
function run(tool: string, args: string[], cwd: string): Promise<{ ok: boolean; stdout: string; stderr: string }> {
  const env = { ...process.env, NODE_COMPILE_CACHE: join(cwd, ".compiled") };
  return new Promise((resolve) => {
    execFile(tool, args, { cwd, env, timeout: runMs, maxBuffer: 64 << 20 }, (error, stdout, stderr) =>
      resolve({ ok: error === null, stdout, stderr }),
    );
  });
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
