import { describe, expect, test } from "vitest";
import { MetricRegistry } from "./metric-registry.ts";
import { createRpcTracer } from "./rpc-tracer.ts";
import { readTraceparent } from "./spans.ts";
import { RecordedSpans } from "./testing/recorded-spans.ts";

const caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const call = (side: "server" | "client", headers = new Headers()) =>
  ({ side, service: "rspp.lease.v1.LeaseService", method: "GrantLease", headers }) as const;

describe("F-013 NF-008 spans of calls", () => {
  test("a server's span is the caller's child, and a call from inside it is its own", async () => {
    const spans = new RecordedSpans();
    const tracer = createRpcTracer({ spans, metrics: new MetricRegistry() });
    const served = tracer.start(call("server", new Headers({ traceparent: caller })));
    const headers = new Headers();
    await served.run(async () => {
      await Promise.resolve();
      tracer.start(call("client", headers)).end(null);
    });
    served.end("NOT_FOUND");
    const [server, client] = spans.all;
    expect(server?.parent).toBe(caller);
    expect(client?.parent).toBe(server?.traceparent);
    expect(headers.get("traceparent")).toBe(client?.traceparent);
    expect(server?.error).toBe("NOT_FOUND");
    expect(new Set(spans.all.map((span) => readTraceparent(span.traceparent)?.traceId)).size).toBe(1);
  });

  test("without spans the caller's traceparent is handed on, and nothing is invented", () => {
    const metrics = new MetricRegistry();
    const tracer = createRpcTracer({ spans: null, metrics });
    const through = new Headers();
    const served = tracer.start(call("server", new Headers({ traceparent: caller })));
    served.run(() => tracer.start(call("client", through)).end(null));
    served.end(null);
    served.end("INTERNAL");
    expect(through.get("traceparent")).toBe(caller);
    for (const bad of ["nonsense", caller.replace("0af7651916cd43dd8448eb211c80319c", "0".repeat(32))]) {
      const headers = new Headers();
      tracer.start(call("server", new Headers({ traceparent: bad }))).run(() => tracer.start(call("client", headers)));
      expect(headers.has("traceparent")).toBe(false);
    }
    const [rpc] = metrics.collect();
    const series = rpc?.kind === "histogram" ? rpc.family.series() : [];
    expect(series.map(({ labels, value }) => [labels.side, labels.reason, value.count])).toEqual([
      ["client", "ok", 1],
      ["server", "ok", 1],
    ]);
  });
});
