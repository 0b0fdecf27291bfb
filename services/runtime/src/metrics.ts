import { createHistogram, type RecordableHistogram } from "node:perf_hooks";
import { NS_PER_MS } from "@rspp/base/brand";

/** Latencies between canonical anchors (`kernel.md` §10), stamped at the edges. */
export const METRICS = [
  /** turn_open_proposed_ingress_accepted -> turn_open_emitted. */
  "turn_open_ms",
  /** turn_open_emitted -> first_datalane_output_emitted. */
  "first_output_ms",
  /** cancel_accepted -> cancel_fence_applied. */
  "cancel_fence_ms",
  /** audio_input_ingress (last voiced frame) -> assistant_audio_playback_started. */
  "voice_to_voice_ms",
  /** The step that resolved a turn plan, whole: an upper bound of building the plan. */
  "resolved_turn_plan_build_ms",
  /** provider_cancel handed over -> the invocation's outcome read. */
  "node_cancel_ms",
  /** Arrival of an overtaking control message -> the step that took it in is done. */
  "control_preempt_delay_ms",
  /** |mapping error| between media and monotonic time, once per batch of caller audio (NF-018). */
  "media_runtime_mapping_error_ms",
] as const;
/** What is counted besides; each is a loss or a breach of contract that somebody should see. */
export const COUNTS = [
  /** Evidence records given up: declared loss (`kernel.md` §11). */
  "evidence_lost",
  /** Providers that neither stopped nor answered within the grace after a cancel. */
  "provider_cancel_ignored",
] as const;
export type CountName = (typeof COUNTS)[number];
export type MetricName = (typeof METRICS)[number];

export interface MetricSummary {
  count: number;
  meanMs: number;
  p50Ms: number;
  p95Ms: number;
  p99Ms: number;
  maxMs: number;
}

const highestNs = 3_600_000_000_000;
const nodesMax = 64;

/** Histograms of one runtime; three significant figures, 1 ns to 1 h (F-040). */
export class Metrics {
  private readonly all = new Map<string, RecordableHistogram>();
  private readonly counted = new Map<CountName, number>();

  count(name: CountName): void {
    this.counted.set(name, this.counts(name) + 1);
  }

  counts(name: CountName): number {
    return this.counted.get(name) ?? 0;
  }

  record(name: MetricName, ns: number): void {
    this.histogram(name).record(inRange(ns));
  }

  /** Also per node, for the first 64 node names. */
  recordNode(name: MetricName, node: string, ns: number): void {
    this.record(name, ns);
    const key = `${name}{node=${node}}`;
    if (this.all.has(key) || this.all.size < METRICS.length + nodesMax) this.histogram(key).record(inRange(ns));
  }

  /** Null before the first value. @param node as given to {@link Metrics.recordNode}. */
  read(name: MetricName, node?: string): MetricSummary | null {
    const histogram = this.all.get(node === undefined ? name : `${name}{node=${node}}`);
    return histogram === undefined ? null : summary(histogram);
  }

  /** All that have a value, by name; per-node ones as `name{node=id}`. */
  snapshot(): Record<string, MetricSummary> {
    return Object.fromEntries([...this.all].map(([name, histogram]) => [name, summary(histogram)]));
  }

  private histogram(key: string): RecordableHistogram {
    const known = this.all.get(key);
    if (known !== undefined) return known;
    const made = createHistogram({ lowest: 1, highest: highestNs, figures: 3 });
    this.all.set(key, made);
    return made;
  }
}

function inRange(ns: number): number {
  return Math.min(highestNs, Math.max(1, Math.round(ns)));
}

function summary(histogram: RecordableHistogram): MetricSummary {
  return {
    count: histogram.count,
    meanMs: histogram.mean / NS_PER_MS,
    p50Ms: histogram.percentile(50) / NS_PER_MS,
    p95Ms: histogram.percentile(95) / NS_PER_MS,
    p99Ms: histogram.percentile(99) / NS_PER_MS,
    maxMs: histogram.max / NS_PER_MS,
  };
}
