/** `npm run bench -- [P1 P4 …] [--json] [--write]`: runs the named benchmarks, or all. Writes only when told to. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { BenchResult } from "./bench.ts";
import { BENCHES } from "./registry.ts";
import { machine, textTable, updatePage } from "./report.ts";

const PAGE = fileURLToPath(new URL("../../docs/benchmarks.md", import.meta.url));

async function main(args: readonly string[]): Promise<number> {
  const flags = args.filter((arg) => arg.startsWith("--"));
  const names = args.filter((arg) => !arg.startsWith("--"));
  const odd = [
    ...flags.filter((flag) => flag !== "--json" && flag !== "--write"),
    ...names.filter((name) => !BENCHES.some((bench) => bench.name === name)),
  ];
  if (odd.length > 0) {
    process.stderr.write(
      `bench: ${odd.join(", ")} is not known; benchmarks: ${BENCHES.map((bench) => bench.name).join(", ")}; flags: --json, --write\n`,
    );
    return 2;
  }
  const results: BenchResult[] = [];
  let failed = false;
  for (const bench of BENCHES) {
    if (names.length > 0 && !names.includes(bench.name)) continue;
    let result: BenchResult;
    try {
      result = await bench.run();
    } catch (error) {
      // The others' figures are not lost with it.
      process.stderr.write(`${bench.name} failed: ${error instanceof Error ? error.message : String(error)}\n`);
      failed = true;
      continue;
    }
    results.push(result);
    if (!flags.includes("--json")) process.stdout.write(`${textTable(result)}\n`);
  }
  const at = machine();
  if (flags.includes("--json")) process.stdout.write(`${JSON.stringify({ machine: at, results })}\n`);
  if (flags.includes("--write")) {
    let page = existsSync(PAGE) ? readFileSync(PAGE, "utf8") : "";
    for (const result of results) page = updatePage(page, result, at);
    writeFileSync(PAGE, page);
  }
  if (failed) return 1;
  return results.some((result) => result.rows.some((row) => row.bar !== undefined && row.value > row.bar)) ? 1 : 0;
}

/** Memory is measured after forced collections; the flag must stand before the script. */
function withGc(): number | null {
  if (globalThis.gc !== undefined) return null;
  const args = ["--expose-gc", ...process.execArgv, fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  return spawnSync(process.execPath, args, { stdio: "inherit" }).status ?? 1;
}

process.exitCode = withGc() ?? (await main(process.argv.slice(2)));
