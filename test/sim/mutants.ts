import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const rootDir = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const patchesDir = join(rootDir, "test", "sim", "mutants");
/** Seeds given to each planted bug; one that survives them all is missed. */
const seedsMax = 120;
const rooms = ["libs", "services", "gen", "cli", "test/sim", "package.json", "tsconfig.json"];

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
  const copy = mkdtempSync(join(tmpdir(), "rspp-mutants-"));
  try {
    copySources(copy);
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

/** What git knows of or would add, so that no build output and no node_modules come along. */
function copySources(copy: string): void {
  const listed = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard", ...rooms], {
    cwd: rootDir,
    encoding: "utf8",
    maxBuffer: 64 << 20,
  });
  for (const path of listed.split("\0")) {
    if (path === "" || !existsSync(join(rootDir, path))) continue;
    mkdirSync(dirname(join(copy, path)), { recursive: true });
    cpSync(join(rootDir, path), join(copy, path));
  }
  linkModules(copy);
}

/** Packages from outside are the checkout's; the workspaces' own links must lead into the copy. */
function linkModules(copy: string): void {
  const modules = join(rootDir, "node_modules");
  mkdirSync(join(copy, "node_modules", "@rspp"), { recursive: true });
  for (const name of readdirSync(modules)) {
    if (name !== "@rspp") symlinkSync(join(modules, name), join(copy, "node_modules", name));
  }
  for (const room of ["libs", "services", "gen", "cli"]) {
    const dirs = existsSync(join(copy, room, "package.json"))
      ? [room]
      : readdirSync(join(copy, room)).map((name) => join(room, name));
    for (const dir of dirs) {
      const manifest = join(copy, dir, "package.json");
      if (!existsSync(manifest)) continue;
      const { name } = JSON.parse(readFileSync(manifest, "utf8")) as { name: string };
      if (name.startsWith("@rspp/")) symlinkSync(join(copy, dir), join(copy, "node_modules", name));
    }
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
