/**
 * Deduplication over retry, reconnect and failover (F-158): a high-water mark per source for what is numbered, and a
 * bounded window of idempotency keys that keeps each key's original runtime sequence, so that lineage is not lost.
 */
import { DEDUPE_KEYS_MAX, DEDUPE_SOURCES_MAX } from "./limits.ts";

export interface Dedupe {
  /** Highest sequence seen per source; part of the durable state that a successor starts from (kernel.md §8). */
  highWater: Record<string, number>;
  /** Sources in the order they were first seen; when full, the oldest is forgotten. */
  sources: string[];
  /** Idempotency key -> runtime sequence of its first appearance. */
  keys: Record<string, number>;
  /** The remembered keys as a circle once full: `order[next]` is then the oldest. */
  order: string[];
  next: number;
}

export function dedupeCreate(): Dedupe {
  return { highWater: {}, sources: [], keys: {}, order: [], next: 0 };
}

/**
 * Where `sequence` (from 1, rising by one per source) stands: the next one; at or below what was seen; or beyond a hole,
 * in which case it counts as seen and what was skipped will count as duplicate.
 */
export function dedupeSequence(d: Dedupe, source: string, sequence: number): "new" | "duplicate" | "gap" {
  const name = safeName(source);
  const known = Object.hasOwn(d.highWater, name);
  const seen = known ? (d.highWater[name] ?? 0) : 0;
  if (!(sequence > seen)) return "duplicate";
  if (!known) rememberSource(d, name);
  d.highWater[name] = sequence;
  return sequence === seen + 1 ? "new" : "gap";
}

/**
 * The runtime sequence under which `key` first came, if it is still in the window; else null, and the key is remembered
 * with `seq`. The empty key means "none given" and is never a duplicate.
 */
export function dedupeKey(d: Dedupe, key: string, seq: number): number | null {
  if (key === "") return null;
  const name = safeName(key);
  if (Object.hasOwn(d.keys, name)) return d.keys[name] ?? null;
  if (d.order.length < DEDUPE_KEYS_MAX) {
    d.order.push(name);
  } else {
    const oldest = d.order[d.next];
    if (oldest !== undefined) delete d.keys[oldest];
    d.order[d.next] = name;
    d.next = (d.next + 1) % DEDUPE_KEYS_MAX;
  }
  d.keys[name] = seq;
  return null;
}

/** What came under `key` was put off, not done: it may come again. */
export function dedupeForget(d: Dedupe, key: string): void {
  const name = safeName(key);
  if (!Object.hasOwn(d.keys, name)) return;
  delete d.keys[name];
  const at = d.order.indexOf(name);
  if (at !== -1) d.order[at] = "";
}

function rememberSource(d: Dedupe, name: string): void {
  if (d.sources.length >= DEDUPE_SOURCES_MAX) {
    const oldest = d.sources.shift();
    if (oldest !== undefined) delete d.highWater[oldest];
  }
  d.sources.push(name);
}

/** Names come from outside: "__proto__" as a key of a plain object would be swallowed. One-to-one. */
function safeName(name: string): string {
  return name.startsWith("__proto__") ? `${name}_` : name;
}
