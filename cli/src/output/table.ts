/** Aligned columns for people. */
import { padded, paint, widthOf } from "./style.ts";

export interface Column {
  readonly head: string;
  /** Numbers stand at the right. */
  readonly right?: boolean;
}

/** Head line and rows; the last column is not padded. Cells may be coloured. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const widths = columns.map(({ head }, i) => Math.max(widthOf(head), ...rows.map((row) => widthOf(row[i] ?? ""))));
  const line = (cells: readonly string[]): string =>
    columns
      .map(({ right = false }, i) => {
        const cell = cells[i] ?? "";
        return i === columns.length - 1 && !right ? cell : padded(cell, widths[i] ?? 0, right);
      })
      .join("  ")
      .trimEnd();
  return [paint("dim", line(columns.map(({ head }) => head))), ...rows.map(line)];
}

/** `name  value`, one a line, the values under one another. */
export function facts(entries: readonly (readonly [string, string])[]): string[] {
  const shown = entries.filter(([, value]) => value !== "");
  const width = Math.max(0, ...shown.map(([name]) => widthOf(name)));
  return shown.map(([name, value]) => `${paint("dim", padded(name, width))}  ${value}`);
}
