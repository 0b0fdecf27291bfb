import { Histogram, type HistogramSummary } from "@rspp/telemetry/histogram";
import { type Counter, type MetricFamily, MetricRegistry } from "@rspp/telemetry/metric-registry";
import { COUNTED, type Instruments, instruments, LATENCIES } from "./metrics-catalogue.ts";

export type CountName = keyof typeof COUNTED;
export type MetricName = keyof typeof LATENCIES;
export type MetricSummary = HistogramSummary;

/** What one runtime measures. The latencies between anchors can be read here too, with their percentiles (F-040, F-068). */
export class Metrics {
  readonly registry: MetricRegistry;
  readonly of: Instruments;
  private readonly families = new Map<MetricName, MetricFamily<Histogram>>();
  /** Of a metric per node: all its nodes together. */
  private readonly overall = new Map<MetricName, Histogram>();
  private readonly counted = new Map<CountName, Counter>();

  constructor(registry: MetricRegistry = new MetricRegistry()) {
    this.registry = registry;
    for (const name of Object.keys(LATENCIES) as MetricName[])
      this.families.set(name, registry.histogram(LATENCIES[name]));
    for (const name of Object.keys(COUNTED) as CountName[])
      this.counted.set(name, registry.counter(COUNTED[name]).with());
    this.of = instruments(registry);
  }

  count(name: CountName): void {
    this.counted.get(name)?.add();
  }

  counts(name: CountName): number {
    return this.counted.get(name)?.value ?? 0;
  }

  record(name: MetricName, ns: number): void {
    this.whole(name)?.record(ns);
  }

  recordNode(name: MetricName, node: string, ns: number): void {
    this.record(name, ns);
    this.families.get(name)?.with(node).record(ns);
  }

  /** Null before the first value. @param node as given to {@link Metrics.recordNode}. */
  read(name: MetricName, node?: string): MetricSummary | null {
    const series = this.families.get(name)?.series() ?? [];
    const of = (wanted: string) => series.find(({ labels }) => labels.node === wanted)?.value;
    const histogram = node === undefined ? this.whole(name) : of(node);
    return histogram === undefined || histogram.count === 0 ? null : histogram.summary();
  }

  /** All that have a value, by name; per-node ones as `name{node=id}`. */
  snapshot(): Record<string, MetricSummary> {
    const found: Record<string, MetricSummary> = {};
    for (const [name, family] of this.families) {
      const whole = this.read(name);
      if (whole !== null) found[name] = whole;
      for (const { labels, value } of family.series())
        if (labels.node !== undefined && value.count > 0) found[`${name}{node=${labels.node}}`] = value.summary();
    }
    return found;
  }

  private whole(name: MetricName): Histogram | undefined {
    const family = this.families.get(name);
    if (family === undefined || (family.definition.labels ?? []).length === 0) return family?.with();
    const known = this.overall.get(name) ?? new Histogram();
    this.overall.set(name, known);
    return known;
  }
}
