/** Keeps a manifest inside the bytes that `turn_open` reserved for it (kernel.md §11). Strings may come from outside. */
import type { EvidenceManifest } from "./evidence.ts";
import {
  EVIDENCE_NONDETERMINISTIC_MAX,
  EVIDENCE_ORDERING_MARKERS_MAX,
  EVIDENCE_STRING_BYTES_MAX,
  INVOCATIONS_PER_TURN_MAX,
} from "./limits.ts";

/** A deep copy with strings and lists at their bounds, and how much had to be cut. */
export function boundManifest(m: EvidenceManifest): { manifest: EvidenceManifest; truncated: number } {
  const cut = { count: 0 };
  const manifest: EvidenceManifest = {
    ...strings(m, cut),
    snapshots: m.snapshots === null ? null : strings(m.snapshots, cut),
    orderingMarkers: items(m.orderingMarkers, EVIDENCE_ORDERING_MARKERS_MAX, cut),
    nondeterministicInputs:
      m.nondeterministicInputs === null ? null : items(m.nondeterministicInputs, EVIDENCE_NONDETERMINISTIC_MAX, cut),
    opened: m.opened === null ? null : { ...m.opened },
    terminal: m.terminal === null ? null : strings(m.terminal, cut),
    closed: m.closed === null ? null : { ...m.closed },
    cancel: m.cancel === null ? null : strings(m.cancel, cut),
    invocations: items(m.invocations, INVOCATIONS_PER_TURN_MAX, cut),
  };
  return { manifest, truncated: cut.count };
}

/** The longest start of `s` that takes at most EVIDENCE_STRING_BYTES_MAX as JSON; a surrogate pair is never split. */
export function boundText(s: string): string {
  if (s.length * 6 <= EVIDENCE_STRING_BYTES_MAX) return s;
  let bytes = 0;
  for (let i = 0; i < s.length; ) {
    const point = s.codePointAt(i) ?? 0;
    bytes += jsonBytes(point);
    if (bytes > EVIDENCE_STRING_BYTES_MAX) return s.slice(0, i);
    i += point > 0xffff ? 2 : 1;
  }
  return s;
}

/** Bytes of one code point inside a JSON string: escapes count as they are written. */
function jsonBytes(point: number): number {
  if (point < 0x20 || (point >= 0xd800 && point <= 0xdfff)) return 6;
  if (point === 0x22 || point === 0x5c) return 2;
  if (point < 0x80) return 1;
  if (point < 0x800) return 2;
  return point > 0xffff ? 4 : 3;
}

function strings<T extends object>(value: T, cut: { count: number }): T {
  const copy = { ...value } as Record<string, unknown>;
  for (const [name, field] of Object.entries(copy)) {
    if (typeof field !== "string") continue;
    const text = boundText(field);
    if (text.length < field.length) cut.count++;
    copy[name] = text;
  }
  return copy as T;
}

/** The first ones stay, since a turn's beginning explains what follows; what is left out is counted. */
function items<T extends object>(list: readonly T[], max: number, cut: { count: number }): T[] {
  if (list.length > max) cut.count += list.length - max;
  return list.slice(0, max).map((item) => strings(item, cut));
}
