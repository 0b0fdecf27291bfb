import { MetricRegistry } from "@rspp/telemetry/metric-registry";
import { prometheusText } from "@rspp/telemetry/prometheus";
import { expect, test } from "vitest";
import { measureStarts } from "./metrics.ts";
import type { RouteRefusal } from "./routes.ts";

test("F-098 a start that is limited is counted and in the log, with tenant and reason; one that is not is in no log, a flood is few lines", () => {
  const lines: unknown[] = [];
  const registry = new MetricRegistry();
  const watch = measureStarts(registry, { info: (fields: unknown) => void lines.push(fields) } as never);
  const over = (limit: string, how: string) =>
    ({ ok: false, error: { kind: "over_limit", limit, over: how } }) as unknown as { ok: false; error: RouteRefusal };
  watch.started("acme", { ok: true, value: { row: { admittedDegraded: false } } } as never);
  watch.started("acme", { ok: false, error: { kind: "unknown_pipeline" } } as never);
  expect(lines).toEqual([]);
  for (let n = 0; n < 1_000; n++) watch.started("acme", over("starts", "throttle"));
  watch.started("globex", over("concurrent", "reject"));
  watch.started("globex", { ok: true, value: { row: { admittedDegraded: true } } } as never);
  expect(lines[0]).toEqual({ tenant_id: "acme", outcome: "deferred", reason: "starts", count: 1 });
  expect(lines.filter((line) => (line as { tenant_id: string }).tenant_id === "acme")).toHaveLength(10);
  expect(lines.slice(-2)).toEqual([
    { tenant_id: "globex", outcome: "rejected", reason: "concurrent", count: 1 },
    { tenant_id: "globex", outcome: "degraded", reason: "", count: 1 },
  ]);
  const who = { service: "registry", instanceId: "r", build: "test" };
  const counted = prometheusText(registry, who);
  expect(counted).toMatch(/rspp_session_starts_total\{tenant="acme",outcome="deferred",reason="starts"\} 1000/);
  expect(counted).toMatch(/tenant="acme",outcome="admitted",reason=""\} 1\n/);
});
