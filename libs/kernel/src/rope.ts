/** Text as ranges of payloads. */
import type { TextSpan } from "./event.ts";

export function spansLength(spans: readonly TextSpan[]): number {
  let chars = 0;
  for (const span of spans) chars += span.to - span.from;
  return chars;
}

/** Characters [from, to) of the joined text. */
export function sliceSpans(spans: readonly TextSpan[], from: number, to: number): TextSpan[] {
  const out: TextSpan[] = [];
  let at = 0;
  for (const span of spans) {
    const length = span.to - span.from;
    const lo = Math.max(from - at, 0);
    const hi = Math.min(to - at, length);
    if (hi > lo) out.push({ ref: span.ref, from: span.from + lo, to: span.from + hi });
    at += length;
    if (at >= to) break;
  }
  return out;
}
