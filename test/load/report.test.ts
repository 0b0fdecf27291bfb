import { expect, test } from "vitest";
import { type BenchResult, quantile, row } from "./bench.ts";
import { type Machine, textTable, updatePage } from "./report.ts";

const at: Machine = { date: "2026-11-22", cpu: "Some CPU", cores: 2, memoryGib: 8, node: "v24.0.0" };
const result = (name: string, value: number): BenchResult => ({
  name,
  title: `title of ${name}`,
  topology: "one process",
  compared: "nothing",
  rows: [row("cost", "µs", [value], 5)],
  notes: ["a note"],
});

test("a section is replaced by its newer one, others stay, in order of their names", () => {
  let page = updatePage("", result("P4", 1), at);
  page = updatePage(page, result("P1", 2), at);
  page = updatePage(page, result("P4", 9), at);
  expect(page.match(/^## .*$/gm)).toEqual(["## P1: title of P1", "## P4: title of P4"]);
  expect(page).toContain("| cost | 9.00 µs | 9.00 … 9.00 | MISSED (≤ 5) |");
  expect(page).not.toContain("| 1.00 µs |");
  expect(page.match(/^# Benchmarks$/gm)).toHaveLength(1);
  expect(updatePage(page, result("P4", 9), at)).toBe(page);
});

test("the table says whether a bar is met", () => {
  expect(textTable(result("P1", 2))).toContain("met (≤ 5)");
  expect(textTable(result("P1", 6))).toContain("MISSED (≤ 5)");
});

test("quantiles by nearest rank", () => {
  const values = [5, 1, 4, 2, 3];
  expect([0, 0.5, 0.99, 1].map((q) => quantile(values, q))).toEqual([1, 3, 5, 5]);
  expect(quantile([], 0.5)).toBe(0);
});
