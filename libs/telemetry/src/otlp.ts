/** Spans and metrics to an OTLP collector, http/protobuf. Loaded only where one is named. */
import {
  type Attributes,
  type Context,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import { type ExportResult, ExportResultCode } from "@opentelemetry/core";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-proto";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  type ReadableSpan,
  type SpanExporter,
  type SpanProcessor,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import { type Log, silentLog } from "@rspp/rpc/log";
import type { Counter, MetricFamily, MetricRegistry } from "./metric-registry.ts";
import type { OpenTelemetryOptions } from "./open-telemetry.ts";
import { resourceMetrics, resourceOf } from "./otlp-metrics.ts";
import { type OpenSpan, readTraceparent, type SpanSource, type SpanStart, writeTraceparent } from "./spans.ts";

/** Spans that wait for the collector; more are dropped and counted. */
const SPANS_WAITING_MAX = 4_096;
const SPANS_PER_EXPORT = 512;
const SPANS_EVERY_MS = 1_000;
const EXPORT_TIMEOUT_MS = 3_000;
const CLOSE_MS = 4_000;
const SPAN_EVENTS_MAX = 128;
const ATTRIBUTE_CHARS_MAX = 256;

export interface Otlp {
  readonly spans: SpanSource;
  close(): Promise<void>;
}

export function startOtlp(options: OpenTelemetryOptions, collector: string, metrics: MetricRegistry): Otlp {
  const health = new CollectorHealth(metrics, options.log ?? silentLog);
  const provider = startTraces(options, collector, metrics, health);
  const sender = startMetrics(options, collector, metrics, health);
  return {
    spans: new OtlpSpans(provider.getTracer("rspp", options.build)),
    async close() {
      const all = Promise.allSettled([provider.shutdown(), sender.close()]);
      await Promise.race([all, after(CLOSE_MS)]);
    },
  };
}

function startTraces(
  options: OpenTelemetryOptions,
  collector: string,
  metrics: MetricRegistry,
  health: CollectorHealth,
): TracerProvider {
  const queue = new BoundedSpans(new OTLPTraceExporter(exporterConfig(collector, "traces")), metrics, health);
  const ratio = options.config.trace_sample_percent / 100;
  return new TracerProvider({
    resource: resourceOf(options),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio) }),
    spanLimits: { eventCountLimit: SPAN_EVENTS_MAX, attributeValueLengthLimit: ATTRIBUTE_CHARS_MAX },
    spanProcessors: [queue],
  });
}

function exporterConfig(collector: string, signal: "traces" | "metrics") {
  return { url: `${collector}/v1/${signal}`, timeoutMillis: EXPORT_TIMEOUT_MS, concurrencyLimit: 4 };
}

function after(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}

/** Says once when the collector stops taking what it is sent, and once when it takes it again; counts in between. */
class CollectorHealth {
  private readonly log: Log;
  private readonly failures: MetricFamily<Counter>;
  private well = true;

  constructor(metrics: MetricRegistry, log: Log) {
    this.log = log;
    this.failures = metrics.counter({
      name: "rspp_telemetry_export_failures_total",
      help: "Exports that the OTLP collector did not take, by signal.",
      unit: "{export}",
      labels: ["signal"],
    });
  }

  told(signal: "traces" | "metrics", { code }: ExportResult): void {
    const well = code === ExportResultCode.SUCCESS;
    if (!well) this.failures.with(signal).add();
    if (well === this.well) return;
    this.well = well;
    if (well) this.log.info({ signal }, "telemetry collector takes exports again");
    else this.log.warn({ signal }, "telemetry collector takes no exports; what it does not take is dropped");
  }
}

/** The SDK's batches behind a bound of our own, so that what is dropped is counted. */
class BoundedSpans implements SpanProcessor {
  private readonly inner: BatchSpanProcessor;
  private readonly dropped: Counter;
  private waiting = 0;

  constructor(exporter: SpanExporter, metrics: MetricRegistry, health: CollectorHealth) {
    this.dropped = metrics
      .counter({
        name: "rspp_telemetry_spans_dropped_total",
        help: "Spans that were dropped because too many waited for the collector.",
        unit: "{span}",
      })
      .with();
    this.inner = new BatchSpanProcessor({
      exporter: {
        export: (spans, done) =>
          exporter.export(spans, (result) => {
            this.waiting -= spans.length;
            health.told("traces", result);
            // The processor throws what failed away in either case, and tells nobody who listens.
            done({ code: ExportResultCode.SUCCESS });
          }),
        shutdown: () => exporter.shutdown(),
      },
      maxQueueSize: SPANS_WAITING_MAX,
      maxExportBatchSize: SPANS_PER_EXPORT,
      scheduledDelayMillis: SPANS_EVERY_MS,
      exportTimeoutMillis: EXPORT_TIMEOUT_MS * 2,
    });
  }

  onStart(): void {}

  onEnd(span: ReadableSpan): void {
    if ((span.spanContext().traceFlags & TraceFlags.SAMPLED) === 0) return;
    if (this.waiting >= SPANS_WAITING_MAX) {
      this.dropped.add();
      return;
    }
    this.waiting += 1;
    this.inner.onEnd(span);
  }

  forceFlush(): Promise<void> {
    return this.inner.forceFlush();
  }

  shutdown(): Promise<void> {
    return this.inner.shutdown();
  }
}

/** One export at a time; a slow collector delays the next, it does not pile them up. */
function startMetrics(
  options: OpenTelemetryOptions,
  collector: string,
  metrics: MetricRegistry,
  health: CollectorHealth,
): { close(): Promise<void> } {
  const exporter = new OTLPMetricExporter(exporterConfig(collector, "metrics"));
  let sending: Promise<void> | null = null;
  const exportOnce = (): Promise<void> =>
    new Promise((resolve) => {
      exporter.export(resourceMetrics(metrics, options), (result) => {
        health.told("metrics", result);
        resolve();
      });
    });
  const send = (): Promise<void> => {
    sending ??= exportOnce()
      // A reading that fails costs this export, not the process.
      .catch(() => health.told("metrics", { code: ExportResultCode.FAILED }))
      .finally(() => {
        sending = null;
      });
    return sending;
  };
  const timer = setInterval(send, options.config.otlp_metrics_every_ms);
  timer.unref();
  return {
    async close() {
      clearInterval(timer);
      await sending;
      await send();
      await exporter.shutdown();
    },
  };
}

class OtlpSpans implements SpanSource {
  private readonly tracer: Tracer;

  constructor(tracer: Tracer) {
    this.tracer = tracer;
  }

  start({ name, kind, parent, atMs, attributes }: SpanStart): OpenSpan {
    const options = {
      kind: kind === "client" ? SpanKind.CLIENT : kind === "server" ? SpanKind.SERVER : SpanKind.INTERNAL,
      startTime: atMs,
      ...(attributes === undefined ? {} : { attributes: attributes as Attributes }),
    };
    return openSpan(this.tracer.startSpan(name, options, contextOf(parent)));
  }
}

function contextOf(parent: string | null): Context {
  const found = readTraceparent(parent);
  if (found === null) return ROOT_CONTEXT;
  const { traceId, spanId, sampled } = found;
  const traceFlags = sampled ? TraceFlags.SAMPLED : TraceFlags.NONE;
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags, isRemote: true });
}

function openSpan(span: Span): OpenSpan {
  const { traceId, spanId, traceFlags } = span.spanContext();
  return {
    traceparent: writeTraceparent({ traceId, spanId, sampled: (traceFlags & TraceFlags.SAMPLED) !== 0 }),
    set: (attributes) => void span.setAttributes(attributes),
    rename: (name) => void span.updateName(name),
    event: (name, atMs, attributes) => void span.addEvent(name, attributes ?? {}, atMs),
    end(atMs, error) {
      if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: error });
      span.end(atMs);
    },
  };
}
