/** Bars over time in a row of characters. */

export interface Scale {
  readonly fromNs: number;
  readonly toNs: number;
  readonly width: number;
}

export interface Bar {
  readonly startNs: number;
  /** Null while it is open: the bar runs to the end. */
  readonly endNs: number | null;
  /** First result: what comes before is drawn as waiting. */
  readonly firstNs: number | null;
}

const full = "█";
const waiting = "░";
const openEnd = "›";

/** Column of an instant, 0 to width - 1. */
export function columnOf(atNs: number, { fromNs, toNs, width }: Scale): number {
  const share = toNs === fromNs ? 0 : (atNs - fromNs) / (toNs - fromNs);
  return Math.max(0, Math.min(width - 1, Math.floor(share * width)));
}

/** At least one character, so that what is short is seen. */
export function barRow(bar: Bar, scale: Scale): string {
  const start = columnOf(bar.startNs, scale);
  const last = Math.max(start, bar.endNs === null ? scale.width - 1 : endColumn(bar.endNs, scale));
  const first = bar.firstNs === null ? start : Math.min(columnOf(bar.firstNs, scale), last);
  const cells = waiting.repeat(Math.max(0, first - start)) + full.repeat(last - Math.max(first, start) + 1);
  const shown = bar.endNs === null ? `${cells.slice(0, -1)}${openEnd}` : cells;
  return " ".repeat(start) + shown + " ".repeat(scale.width - 1 - last);
}

/** The column before the one its end falls into, so that bars that follow one another do not overlap. */
function endColumn(endNs: number, scale: Scale): number {
  const { fromNs, toNs, width } = scale;
  const share = toNs === fromNs ? 0 : ((endNs - fromNs) / (toNs - fromNs)) * width;
  return Math.max(0, Math.min(width - 1, Math.ceil(share) - 1));
}

/** One mark per instant. */
export function markRow(instants: readonly number[], scale: Scale, mark = "▲"): string {
  const cells = Array.from({ length: scale.width }, () => " ");
  for (const atNs of instants) cells[columnOf(atNs, scale)] = mark;
  return cells.join("");
}

/** `0 ms      500 ms     1.00 s` under the bars: from, middle and end. */
export function axisRow(scale: Scale, words: (ns: number) => string): string {
  const { fromNs, toNs, width } = scale;
  const [left, middle, right] = [fromNs, (fromNs + toNs) / 2, toNs].map((ns) => words(ns)) as [string, string, string];
  const gap = width - left.length - middle.length - right.length;
  if (gap < 4) return `${left}${" ".repeat(Math.max(1, width - left.length - right.length))}${right}`;
  const before = Math.max(1, Math.floor(width / 2) - left.length - Math.floor(middle.length / 2));
  const after = Math.max(1, width - left.length - before - middle.length - right.length);
  return `${left}${" ".repeat(before)}${middle}${" ".repeat(after)}${right}`;
}
