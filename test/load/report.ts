/** How results are shown: a table to read, JSON to keep, and the page `docs/benchmarks.md`. */
import { cpus, totalmem } from "node:os";
import type { BenchResult, Row } from "./bench.ts";

export interface Machine {
  date: string;
  cpu: string;
  cores: number;
  memoryGib: number;
  node: string;
}

export function machine(): Machine {
  const all = cpus();
  return {
    date: new Date().toISOString().slice(0, 10),
    cpu: all[0]?.model.trim() ?? "unknown",
    cores: all.length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    node: process.version,
  };
}

const figure = (n: number): string => (n >= 100 ? n.toFixed(0) : n >= 10 ? n.toFixed(1) : n.toFixed(2));

function verdict(row: Row): string {
  if (row.bar === undefined) return "";
  return `${row.value <= row.bar ? "met" : "MISSED"} (≤ ${row.bar})`;
}

export function textTable(result: BenchResult): string {
  const lines = result.rows.map((row) => [
    row.what,
    `${figure(row.value)} ${row.unit}`,
    `${figure(row.low)} … ${figure(row.high)}`,
    verdict(row),
  ]);
  const cells = [["", "median", "low … high", "bar"], ...lines];
  const widths = [0, 1, 2, 3].map((c) => Math.max(...cells.map((line) => line[c]?.length ?? 0)));
  const body = cells.map((line) =>
    line
      .map((cell, c) => cell.padEnd(widths[c] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  const head = [`${result.name}: ${result.title}`, `topology: ${result.topology}`, `compared: ${result.compared}`];
  return [...head, "", ...body, "", ...result.notes.map((note) => `note: ${note}`), ""].join("\n");
}

/** One section of `docs/benchmarks.md`. */
export function section(result: BenchResult, at: Machine): string {
  const rows = result.rows.map(
    (row) =>
      `| ${row.what} | ${figure(row.value)} ${row.unit} | ${figure(row.low)} … ${figure(row.high)} | ${verdict(row)} |`,
  );
  return [
    `## ${result.name}: ${result.title}`,
    "",
    `- Date: ${at.date}; ${at.cores} × ${at.cpu}, ${at.memoryGib} GiB; Node ${at.node}`,
    `- Command: \`npm run bench -- ${result.name}\``,
    `- Topology: ${result.topology}`,
    `- Compared with: ${result.compared}`,
    "",
    "| | median | low … high | bar |",
    "|---|---|---|---|",
    ...rows,
    "",
    ...result.notes.map((note) => `- ${note}`),
    "",
  ].join("\n");
}

const HEAD = `# Benchmarks

Last results of \`npm run bench -- <name> --write\`. Machines are shared and noisy: compare ratios within one run, not
figures of two runs. Nothing here is a timed test; the tests never run a benchmark.

`;

/** The page with this result in place of the last one of the same name; other sections are kept as they are. */
export function updatePage(page: string, result: BenchResult, at: Machine): string {
  const parts = page === "" ? [] : page.split(/^(?=## )/m).slice(1);
  const kept = parts.filter((part) => !part.startsWith(`## ${result.name}:`));
  const sections = [...kept, section(result, at)].map((part) => `${part.trimEnd()}\n`);
  return HEAD + sections.sort((a, b) => (a < b ? -1 : 1)).join("\n");
}
