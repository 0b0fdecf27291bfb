/** Keys of every service's configuration that say where its telemetry goes; in the shape of libs/host's fields. */
export const telemetryFields = {
  otlp: {
    kind: "text",
    about:
      "Base URL of an OTLP collector (http/protobuf), e.g. http://127.0.0.1:4318; also OTEL_EXPORTER_OTLP_ENDPOINT",
    fallback: "",
    charsMax: 2_048,
  },
  trace_sample_percent: {
    kind: "whole",
    about: "Of the traces that begin here, how many of a hundred are kept; those begun elsewhere keep their mark",
    fallback: 100,
    min: 0,
    max: 100,
  },
  otlp_metrics_every_ms: {
    kind: "whole",
    about: "How often metrics are sent to the collector",
    fallback: 15_000,
    min: 100,
    max: 3_600_000,
  },
} as const;

export interface TelemetryConfig {
  readonly otlp: string;
  readonly trace_sample_percent: number;
  readonly otlp_metrics_every_ms: number;
}
