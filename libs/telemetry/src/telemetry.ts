/** What a process gives its services to be seen by: traces and metrics. Nothing of it runs per frame (architecture.md). */
import type { Meter, Tracer } from "@opentelemetry/api";
import { noTracer, type RpcTracer } from "@rspp/rpc/tracing";

export interface Telemetry {
  /** Spans of calls, linked over processes by `traceparent`. */
  readonly rpc: RpcTracer;
  /** Spans of sessions, turns, nodes and invocations. */
  readonly tracer: Tracer | null;
  readonly meter: Meter | null;
  /** The text of `/metrics`; null where nothing is measured. */
  prometheus(): Promise<string | null>;
  /** Exports what is left, within a few seconds. */
  close(): Promise<void>;
}

export const noTelemetry: Telemetry = {
  rpc: noTracer,
  tracer: null,
  meter: null,
  prometheus: () => Promise.resolve(null),
  close: () => Promise.resolve(),
};
