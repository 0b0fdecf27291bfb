import { PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { describe, expect, test } from "vitest";
import { MetricRegistry, SERIES_MAX } from "./metric-registry.ts";
import { resourceMetrics } from "./otlp-metrics.ts";
import { prometheusText } from "./prometheus.ts";

const service = { service: "runtime", instanceId: "runtime-1", build: "1.2.3" };

function filled(): MetricRegistry {
  const registry = new MetricRegistry();
  const seconds = registry.histogram({
    name: "rspp_wait_seconds",
    help: "Waits.",
    unit: "s",
    labels: ["node", "edge"],
  });
  for (let i = 1; i <= 1_000; i++) seconds.with("llm", i % 2 === 0 ? "a" : 'b"\\\n').record(i * 1_000_000);
  registry
    .counter({ name: "rspp_drops_total", help: "Drops\nand more.", unit: "1", labels: ["edge"] })
    .with("a")
    .add(3);
  registry.gauge({ name: "rspp_depth_items", help: "Depth.", unit: "{item}" }).with().set(7.5);
  registry.counter({ name: "rspp_never_total", help: "No series: not told.", unit: "1", labels: ["x"] });
  return registry;
}

describe("F-068 F-069 metrics", () => {
  test("the Prometheus text is the SDK serializer's, line by line", () => {
    const registry = filled();
    const sdk = new PrometheusSerializer("", false, undefined, false, true);
    const lines = (text: string) =>
      text
        .split("\n")
        .filter((line) => line !== "" && !line.startsWith("# UNIT"))
        .sort();
    expect(lines(prometheusText(registry, service))).toEqual(lines(sdk.serialize(resourceMetrics(registry, service))));
  });

  test("a name is one metric: the same family again, another kind or other labels never", () => {
    const registry = filled();
    const again = { name: "rspp_drops_total", help: "Drops", unit: "1", labels: ["edge"] };
    registry.counter(again).with("a").add(2);
    expect(prometheusText(registry, service)).toContain('rspp_drops_total{edge="a"} 5');
    expect(() => registry.gauge(again)).toThrow("one name is one metric");
    expect(() => registry.counter({ ...again, labels: ["node"] })).toThrow("one name is one metric");
  });

  test("series are bounded: what comes on top is counted together", () => {
    const registry = new MetricRegistry();
    const family = registry.counter({ name: "rspp_z_total", help: "Z.", unit: "1", labels: ["edge"] });
    for (let i = 0; i < SERIES_MAX * 3; i++) family.with(`edge-${i}`).add();
    expect(family.series()).toHaveLength(SERIES_MAX);
    const sum = family.series().reduce((all, { value }) => all + value.value, 0);
    expect(sum).toBe(SERIES_MAX * 3);
    expect(family.with("other").value).toBe(SERIES_MAX * 2 + 1);
  });

  test("what is looked up is looked up before each reading, until it is ended", () => {
    const registry = new MetricRegistry();
    const gauge = registry.gauge({ name: "rspp_n", help: "N.", unit: "1" }).with();
    const end = registry.beforeCollect(() => gauge.add(1));
    registry.collect();
    registry.collect();
    end();
    registry.collect();
    expect(gauge.value).toBe(2);
  });
});
