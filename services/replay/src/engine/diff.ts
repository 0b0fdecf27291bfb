/**
 * Two runs compared and judged (F-077, F-127, `kernel.md` §12). AUTHORITY always fails. PLAN, OUTCOME and ORDERING fail
 * unless they were declared; so do PROVIDER_CHOICE and PAYLOAD, which are decisions and outputs that changed; TIMING fails past a
 * threshold that was set. A declared divergence that does not occur fails, too. Pure.
 */
import { type Difference, differencesOf } from "./diff-turn.ts";
import { type Declaration, RUN_DIVERGENCE_CLASSES, type RunDivergenceClass } from "./expected.ts";
import { latenciesOf, type RunMode, type RunTimeline } from "./run-timeline.ts";

export const REPORT_SCHEMA = "rspp/divergence-report/v1";

export interface Thresholds {
  /** Differences of time up to this are within tolerance, milliseconds. Default 20. */
  readonly toleranceMs?: number;
  /** A latency of b may be longer than that of a by this, milliseconds; absent: time fails nothing. */
  readonly maxLatencyRegressionMs?: number;
}

export interface Divergence extends Difference {
  /** TIMING: no more than the tolerance; else null. */
  withinTolerance: boolean | null;
  /** By whom it was expected, with the reason; null: nobody. */
  declared: { by: "declaration" | "redaction"; reason: string } | null;
  fails: boolean;
}

export interface LatencySummary {
  metric: string;
  /** Turns in which both runs have it. */
  turns: number;
  aP50Ms: number;
  bP50Ms: number;
  aMaxMs: number;
  bMaxMs: number;
  worstRegressionMs: number;
}

export interface RunSummary {
  mode: RunMode;
  sessionId: string;
  pipeline: string;
  level: string;
  redacted: boolean;
  turns: number;
}

export interface DivergenceReport {
  schema: typeof REPORT_SCHEMA;
  /** Nothing fails. */
  ok: boolean;
  /** `same`: no divergence at all; `explained`: none that fails. */
  verdict: "same" | "explained" | "failed";
  a: RunSummary;
  b: RunSummary;
  counts: Record<RunDivergenceClass, number>;
  divergences: Divergence[];
  /** Declared and not found. */
  unmet: Declaration[];
  latencies: LatencySummary[];
  thresholds: { toleranceMs: number; maxLatencyRegressionMs: number | null };
  /** Divergences past the bound, counted and not listed; those that fail are listed first. */
  left: number;
}

export const TOLERANCE_MS = 20;
const LISTED_MAX = 1_000;

export function diffTimelines(
  a: RunTimeline,
  b: RunTimeline,
  declared: readonly Declaration[] = [],
  thresholds: Thresholds = {},
): DivergenceReport {
  return judge(a, b, differencesOf(a, b), declared, thresholds);
}

/** @param differences found between the two, by `differencesOf` or otherwise. */
export function judge(
  a: RunTimeline,
  b: RunTimeline,
  differences: readonly Difference[],
  declared: readonly Declaration[],
  { toleranceMs = TOLERANCE_MS, maxLatencyRegressionMs }: Thresholds,
): DivergenceReport {
  const redacted = a.redacted || b.redacted;
  const met = new Set<Declaration>();
  const found = differences.map((difference): Divergence => {
    const declaration = declared.filter((one) => covers(one, difference));
    for (const one of declaration) met.add(one);
    const explained = explanationOf(difference, declaration[0], redacted);
    const withinTolerance = difference.deltaMs === null ? null : Math.abs(difference.deltaMs) <= toleranceMs;
    return {
      ...difference,
      withinTolerance,
      declared: explained,
      fails: fails(difference, explained, maxLatencyRegressionMs),
    };
  });
  const unmet = declared.filter((one) => !met.has(one));
  const counts = Object.fromEntries(RUN_DIVERGENCE_CLASSES.map((name) => [name, 0])) as DivergenceReport["counts"];
  for (const one of found) counts[one.class] += 1;
  const ok = unmet.length === 0 && !found.some((one) => one.fails);
  const divergences = [...found.filter((one) => one.fails), ...found.filter((one) => !one.fails)];
  return {
    schema: REPORT_SCHEMA,
    ok,
    verdict: !ok ? "failed" : found.length === 0 ? "same" : "explained",
    a: summaryOf(a),
    b: summaryOf(b),
    counts,
    divergences: divergences.slice(0, LISTED_MAX),
    unmet,
    latencies: latencySummaries(a, b),
    thresholds: { toleranceMs, maxLatencyRegressionMs: maxLatencyRegressionMs ?? null },
    left: Math.max(0, divergences.length - LISTED_MAX),
  };
}

function covers({ class: kind, where }: Declaration, found: Difference): boolean {
  if (kind === "AUTHORITY" || kind !== found.class) return false;
  if (where.turn !== undefined && where.turn !== found.turn) return false;
  if (where.node !== undefined && where.node !== found.node) return false;
  return where.what === undefined || where.what === found.what;
}

function explanationOf(
  { class: kind }: Difference,
  declaration: Declaration | undefined,
  redacted: boolean,
): Divergence["declared"] {
  if (kind === "AUTHORITY") return null;
  if (declaration !== undefined) return { by: "declaration", reason: declaration.reason };
  if (kind !== "PAYLOAD" || !redacted) return null;
  return { by: "redaction", reason: "payloads were redacted before they were recorded" };
}

function fails(
  { class: kind, deltaMs }: Difference,
  explained: Divergence["declared"],
  maxMs: number | undefined,
): boolean {
  if (explained !== null) return false;
  return kind !== "TIMING" || (maxMs !== undefined && (deltaMs ?? 0) > maxMs);
}

function summaryOf({ mode, sessionId, pipeline, level, redacted, turns }: RunTimeline): RunSummary {
  return { mode, sessionId, pipeline, level, redacted, turns: turns.length };
}

function latencySummaries(a: RunTimeline, b: RunTimeline): LatencySummary[] {
  const pairs = new Map<string, [number, number][]>();
  for (const turn of a.turns) {
    const other = b.turns.find((one) => one.turn === turn.turn);
    const after = other === undefined ? {} : latenciesOf(other);
    for (const [metric, before] of Object.entries(latenciesOf(turn))) {
      const value = after[metric];
      if (value !== undefined) pairs.set(metric, [...(pairs.get(metric) ?? []), [before, value]]);
    }
  }
  return [...pairs].map(([metric, values]) => {
    const [left, right] = [0, 1].map((side) => values.map((pair) => pair[side as 0 | 1]).sort((x, y) => x - y));
    const middle = (sorted: number[] = []): number => sorted[Math.ceil(sorted.length / 2) - 1] ?? 0;
    return {
      metric,
      turns: values.length,
      aP50Ms: middle(left),
      bP50Ms: middle(right),
      aMaxMs: left?.at(-1) ?? 0,
      bMaxMs: right?.at(-1) ?? 0,
      worstRegressionMs: Math.max(...values.map(([before, after]) => after - before)),
    };
  });
}
