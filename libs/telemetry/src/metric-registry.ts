/**
 * What is counted, as plain numbers: an addition where it happens, everything else when somebody reads. The Prometheus page
 * and the OTLP export are both made of {@link MetricRegistry.collect}, so that one thing has one name in both.
 */
import { invariant } from "@rspp/base/invariant";
import { Histogram } from "./histogram.ts";

export interface MetricDefinition {
  /** Prometheus conventions: `rspp_`, base unit last, `_total` on counters. */
  readonly name: string;
  readonly help: string;
  /** `s`, `By`, `1` or a word in braces (UCUM), as OTLP wants it; of a histogram always `s`. */
  readonly unit: string;
  /** Names of its labels: nodes, providers, reasons; never sessions, turns or anything else without a bound. */
  readonly labels?: readonly string[];
}

export class Counter {
  value = 0;
  add(count = 1): void {
    this.value += count;
  }
}

export class Gauge {
  value = 0;
  set(value: number): void {
    this.value = value;
  }
  add(value: number): void {
    this.value += value;
  }
}

export type Labels = Readonly<Record<string, string>>;
export type MetricKind = "counter" | "gauge" | "histogram";

/** One metric with all its series. */
export interface MetricFamily<T> {
  readonly definition: MetricDefinition;
  /** The series with these label values, in the order of the definition; kept by who records often. */
  with(...values: readonly string[]): T;
  series(): readonly { readonly labels: Labels; readonly value: T }[];
  /** Forgets what it was told, e.g. before gauges of what is there now are set. */
  clear(): void;
}

export type Metric =
  | { readonly kind: "counter"; readonly family: MetricFamily<Counter> }
  | { readonly kind: "gauge"; readonly family: MetricFamily<Gauge> }
  | { readonly kind: "histogram"; readonly family: MetricFamily<Histogram>; readonly boundsSeconds: readonly number[] };

/** Series of one metric; what comes on top is counted together under `other`. */
export const SERIES_MAX = 256;
const LABEL_CHARS_MAX = 128;
const OTHER = "other";

/** From half a millisecond to a minute; the safety gates (120 ms, 150 ms, 1.5 s, 2 s) are bounds, so that alerts are exact. */
export const LATENCY_BOUNDS_SECONDS: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.12, 0.15, 0.25, 0.5, 1, 1.5, 2, 2.5, 5, 10, 30, 60,
];

export class MetricRegistry {
  /** When counting began, milliseconds since 1970 UTC. */
  readonly sinceMs: number = Date.now();
  private readonly metrics = new Map<string, Metric>();
  private readonly before: (() => void)[] = [];

  counter(definition: MetricDefinition): MetricFamily<Counter> {
    const known = this.known(definition, "counter");
    if (known?.kind === "counter") return known.family;
    const family = new Family(definition, () => new Counter());
    this.metrics.set(definition.name, { kind: "counter", family });
    return family;
  }

  gauge(definition: MetricDefinition): MetricFamily<Gauge> {
    const known = this.known(definition, "gauge");
    if (known?.kind === "gauge") return known.family;
    const family = new Family(definition, () => new Gauge());
    this.metrics.set(definition.name, { kind: "gauge", family });
    return family;
  }

  /** Of lengths of time. @param boundsSeconds upper bounds of the buckets that are exported, rising. */
  histogram(
    definition: MetricDefinition,
    boundsSeconds: readonly number[] = LATENCY_BOUNDS_SECONDS,
  ): MetricFamily<Histogram> {
    const known = this.known(definition, "histogram");
    if (known?.kind === "histogram") return known.family;
    const family = new Family(definition, () => new Histogram());
    this.metrics.set(definition.name, { kind: "histogram", family, boundsSeconds });
    return family;
  }

  /** Runs before each reading, to set what is only looked up, e.g. the depth of a queue. Gives a function that ends it. */
  beforeCollect(run: () => void): () => void {
    this.before.push(run);
    return () => {
      const at = this.before.indexOf(run);
      if (at !== -1) this.before.splice(at, 1);
    };
  }

  collect(): readonly Metric[] {
    for (const run of [...this.before]) run();
    return [...this.metrics.values()];
  }

  private known({ name, labels = [] }: MetricDefinition, kind: MetricKind): Metric | undefined {
    const known = this.metrics.get(name);
    if (known === undefined) return undefined;
    const same = known.kind === kind && (known.family.definition.labels ?? []).join() === labels.join();
    invariant(same, "one name is one metric", { name, kind, labels });
    return known;
  }
}

class Family<T> implements MetricFamily<T> {
  readonly definition: MetricDefinition;
  private readonly make: () => T;
  private readonly byKey = new Map<string, { labels: Labels; value: T }>();

  constructor(definition: MetricDefinition, make: () => T) {
    this.definition = definition;
    this.make = make;
  }

  with(...values: readonly string[]): T {
    const key = values.length === 0 ? "" : values.length === 1 ? (values[0] as string) : values.join("\u0000");
    const known = this.byKey.get(key);
    if (known !== undefined) return known.value;
    const { labels: names = [], name } = this.definition;
    invariant(values.length === names.length, "a series has a value for each label", { name, values });
    // The last place is that of `other`.
    if (this.byKey.size >= SERIES_MAX - 1 && values.some((value) => value !== OTHER)) {
      return this.with(...names.map(() => OTHER));
    }
    const labels = Object.fromEntries(names.map((n, i) => [n, (values[i] ?? "").slice(0, LABEL_CHARS_MAX)]));
    const made = { labels, value: this.make() };
    this.byKey.set(key, made);
    return made.value;
  }

  series(): readonly { readonly labels: Labels; readonly value: T }[] {
    return [...this.byKey.values()];
  }

  clear(): void {
    this.byKey.clear();
  }
}
