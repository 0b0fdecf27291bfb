/** Telemetry of one service: counts at once, spans and OTLP only where somebody takes them. */
import type { Log } from "@rspp/rpc/log";
import type { TelemetryConfig } from "./config.ts";
import { MetricRegistry } from "./metric-registry.ts";
import { prometheusText } from "./prometheus.ts";
import { createRpcTracer } from "./rpc-tracer.ts";
import type { ServiceIdentity } from "./service-identity.ts";
import type { Telemetry } from "./telemetry.ts";

export interface OpenTelemetryOptions extends ServiceIdentity {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly config: TelemetryConfig;
  /** Told when the collector stops and starts taking what it is sent. */
  readonly log?: Log;
}

/** Base URL of the collector; "" for none. The configuration comes before the environment. */
export function collectorOf({ env, config }: Pick<OpenTelemetryOptions, "env" | "config">): string {
  if (env.OTEL_SDK_DISABLED === "true") return "";
  return (config.otlp || env.OTEL_EXPORTER_OTLP_ENDPOINT || "").replace(/\/+$/, "");
}

/**
 * Where a collector is named, spans and metrics go to it; without one the SDK is not even loaded. `/metrics` works in either
 * case, from the same counters. Nothing global is set or patched.
 */
export async function openTelemetry(options: OpenTelemetryOptions): Promise<Telemetry> {
  const metrics = new MetricRegistry();
  const collector = collectorOf(options);
  const exporting = collector === "" ? null : await import("./otlp.ts");
  const otlp = exporting?.startOtlp(options, collector, metrics) ?? null;
  const spans = otlp?.spans ?? null;
  let closed: Promise<void> | undefined;
  return {
    rpc: createRpcTracer({ spans, metrics }),
    spans,
    metrics,
    prometheus: async () => prometheusText(metrics, options),
    close() {
      closed ??= otlp?.close() ?? Promise.resolve();
      return closed;
    },
  };
}
