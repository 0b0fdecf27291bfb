/** What a process gives its services to be seen by: traces and metrics. Nothing of it runs per frame (architecture.md). */
import { noTracer, type RpcTracer } from "@rspp/rpc/tracing";
import { MetricRegistry } from "./metric-registry.ts";
import type { SpanSource } from "./spans.ts";

export interface Telemetry {
  /** Spans and durations of calls, linked over processes by `traceparent`. */
  readonly rpc: RpcTracer;
  /** Spans of sessions, turns, nodes and invocations; null where nobody takes them: then nothing is made for them either. */
  readonly spans: SpanSource | null;
  /** Counters, gauges and histograms of this service: plain numbers, read when somebody asks. */
  readonly metrics: MetricRegistry;
  /** The text of `/metrics`, for `text/plain; version=0.0.4`; null where nothing is measured. */
  prometheus(): Promise<string | null>;
  /** Exports what is left, within a few seconds. Idempotent; never rejects. */
  close(): Promise<void>;
}

/** Nobody looks: what is measured goes into a registry that nobody reads, each time a new one. */
export const noTelemetry: Telemetry = {
  rpc: noTracer,
  spans: null,
  get metrics() {
    return new MetricRegistry();
  },
  prometheus: () => Promise.resolve(null),
  close: () => Promise.resolve(),
};
