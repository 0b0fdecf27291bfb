import { AsyncLocalStorage } from "node:async_hooks";
import { performance } from "node:perf_hooks";
import { NS_PER_MS } from "@rspp/base/brand";
import type { RpcCall, RpcSpan, RpcTracer } from "@rspp/rpc/tracing";
import type { MetricRegistry } from "./metric-registry.ts";
import { type OpenSpan, readTraceparent, type SpanSource } from "./spans.ts";

export interface RpcTracerOptions {
  readonly spans: SpanSource | null;
  readonly metrics: MetricRegistry;
}

const HEADER = "traceparent";
/** Probes come every second and say nothing. */
const quiet = /^grpc\.(?:health|reflection)\./;

/**
 * Spans of calls and their durations. What a handler calls in turn are the children of its span; where no spans are made the
 * caller's `traceparent` is handed on all the same.
 */
export function createRpcTracer({ spans, metrics }: RpcTracerOptions): RpcTracer {
  const durations = metrics.histogram({
    name: "rspp_rpc_seconds",
    help: "Calls by side, service, method and outcome: ok or the reason of the error; streams until their end.",
    unit: "s",
    labels: ["side", "service", "method", "reason"],
  });
  const active = new AsyncLocalStorage<string>();
  return {
    start(call) {
      const parent = call.side === "server" ? call.headers.get(HEADER) : (active.getStore() ?? null);
      const span = spans === null || quiet.test(call.service) ? null : startSpan(spans, call, parent);
      const inside = span?.traceparent ?? (readTraceparent(parent) === null ? null : parent);
      if (call.side === "client" && inside !== null) call.headers.set(HEADER, inside);
      const begunMs = performance.now();
      return rpcSpan(active, inside, span, (reason) => {
        const series = durations.with(call.side, call.service, call.method, reason ?? "ok");
        series.record((performance.now() - begunMs) * NS_PER_MS);
      });
    },
  };
}

function startSpan(spans: SpanSource, { side, service, method }: RpcCall, parent: string | null): OpenSpan {
  const attributes = { "rpc.system": "grpc", "rpc.service": service, "rpc.method": method };
  return spans.start({ name: `${service}/${method}`, kind: side, parent, atMs: nowMs(), attributes });
}

function rpcSpan(
  active: AsyncLocalStorage<string>,
  inside: string | null,
  span: OpenSpan | null,
  measured: (reason: string | null) => void,
): RpcSpan {
  let over = false;
  return {
    run: (work) => (inside === null ? work() : active.run(inside, work)),
    set: (name, value) => span?.set({ [name]: value }),
    end(reason) {
      if (over) return;
      over = true;
      measured(reason);
      span?.end(nowMs(), reason ?? undefined);
    },
  };
}

function nowMs(): number {
  return performance.timeOrigin + performance.now();
}
