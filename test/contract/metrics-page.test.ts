import { measureDatabase } from "@rspp/host/database-metrics";
import { createSystemClock } from "@rspp/host/system-clock";
import { measureCalls } from "@rspp/provider-gateway/calls";
import { measureBatches, measureCircuits } from "@rspp/provider-gateway/metrics";
import { CostMeter } from "@rspp/provider-gateway/resilience/meter";
import { measureStarts } from "@rspp/registry/metrics";
import { Metrics } from "@rspp/runtime/metrics";
import { LATENCIES } from "@rspp/runtime/metrics-catalogue";
import { measureInvocations, measureLinks } from "@rspp/runtime/metrics-links";
import { type Metric, MetricRegistry } from "@rspp/telemetry/metric-registry";
import { openTelemetry } from "@rspp/telemetry/open-telemetry";
import { measureTransport } from "@rspp/transport/metrics";
import { livekitMetrics } from "@rspp/transport-livekit/metrics";
import { telephonyMetrics } from "@rspp/transport-telephony/metrics";
import { websocketMetrics } from "@rspp/transport-websocket/metrics";
import { expect, test } from "vitest";

const units: Readonly<Record<string, string>> = { s: "seconds", By: "bytes", "1": "number" };

function rows(metrics: readonly Metric[]): string[] {
  const inBand = new Map(Object.entries(LATENCIES).map(([name, { name: exported }]) => [exported, name]));
  return metrics
    .map(({ kind, family: { definition } }) => {
      const { name, unit, labels = [], help } = definition;
      const event = inBand.get(name);
      const also = event === undefined ? "" : ` In events: \`${event}\`.`;
      const of = labels.map((label) => `\`${label}\``).join(", ");
      const shown = name.endsWith("_ratio") ? "ratio" : units[unit];
      return `| \`${name}\` | ${kind} | ${shown ?? unit.replace(/[{}]/g, "")} | ${of} | ${help.replace(/\.?$/, ".")}${also} |`;
    })
    .sort();
}

const head = ["| name | kind | unit | labels | meaning |", "|---|---|---|---|---|"];

interface Measured {
  readonly service: readonly Metric[];
  readonly runtime: readonly Metric[];
  readonly gateway: readonly Metric[];
  readonly adapter: readonly Metric[];
  readonly phones: readonly Metric[];
  readonly rooms: readonly Metric[];
  readonly registry: readonly Metric[];
}

const page = ({ service, runtime, gateway, adapter, phones, rooms, registry }: Measured): string =>
  [
    "# Metrics",
    "",
    "Read at `/metrics` of a service's API port (Prometheus text), and sent to the OTLP collector named by `otlp` or",
    "`OTEL_EXPORTER_OTLP_ENDPOINT`. One thing has one name in both. Labels are bounded: nodes, edges, providers, reasons of the",
    "platform; never sessions or turns, which are in traces and logs. Past 256 series of a metric the rest counts as `other`.",
    "A test holds this page to the code; write it anew with `vitest run test/contract/metrics-page.test.ts -u`.",
    "",
    "Histograms hold three significant figures inside the process and are exported by buckets, of which the safety gates",
    "(120 ms, 150 ms, 1.5 s, 2 s) are bounds: p95 is `histogram_quantile(0.95, sum by (le) (rate(NAME_bucket[5m])))`.",
    "",
    "## Every service",
    "",
    ...head,
    ...rows(service),
    "",
    "## Runtime",
    "",
    "Latencies are stamped at the edges of the runtime, never inside a step (`kernel.md` §10). A node's latency is taken where",
    "steps end: from the poll that brought its first event to the handing out of its first output. Provider nodes are told by",
    "provider too. `rspp_step_seconds` splits the platform's own work, telemetry being a part of it (F-052);",
    "`rspp_turn_overhead_seconds` is what of a turn's first answer was nobody's but the platform's.",
    "",
    ...head,
    ...rows(runtime),
    "",
    "## Provider gateway",
    "",
    "As a service, or within a runtime that has providers of its own.",
    "",
    ...head,
    ...rows(gateway),
    "",
    "## WebSocket adapter",
    "",
    ...head,
    ...rows(adapter),
    "",
    "## Telephone adapter",
    "",
    ...head,
    ...rows(phones),
    "",
    "## LiveKit adapter",
    "",
    ...head,
    ...rows(rooms),
    "",
    "## Registry",
    "",
    "Of the first 256 combinations of tenant, outcome and reason; the rest counts as `other`.",
    "",
    ...head,
    ...rows(registry),
    "",
    "## In-band",
    "",
    "A session that asks for `metrics` events gets these with node and edge (F-026), in the unit that ends the name:",
    "`edge_depth_items`, `edge_depth_high_items`, `edge_dropped_total`, `edge_merged_total`, `edge_blocked_ms`,",
    "`node_first_output_ms`, `node_run_ms`, `provider_first_output_ms`, `provider_run_ms`, and the latencies above.",
    "",
  ].join("\n");

test("F-068 F-069 docs/metrics.md lists every metric once, with unit and meaning", async () => {
  const config = { otlp: "http://127.0.0.1:9", trace_sample_percent: 0, otlp_metrics_every_ms: 3_600_000 };
  const telemetry = await openTelemetry({ service: "t", instanceId: "t", build: "t", env: {}, config });
  measureDatabase(telemetry.metrics, () => ({ open: 0, idle: 0, waiting: 0 }));
  const service = telemetry.metrics.collect();
  const own = new MetricRegistry();
  new Metrics(own);
  measureLinks(
    own,
    () => {
      const none = { opening: 0, open: 0, waiting: 0, opened: 0, reattached: 0, duplicates: 0 };
      return { ...none, refused: {}, unsent: {} };
    },
    () => 0,
  );
  measureInvocations(own, () => ({ sharedStreams: 0, inFlight: 0 }));
  const runtime = own.collect();
  const batches = new MetricRegistry();
  measureBatches(batches);
  measureCircuits(batches);
  new CostMeter(batches);
  measureCalls(createSystemClock(), () => true, batches);
  const gateway = batches.collect();
  const callers = new MetricRegistry();
  measureTransport(callers, "websocket", websocketMetrics, () => null);
  const adapter = callers.collect();
  const carriers = new MetricRegistry();
  measureTransport(carriers, "telephony", telephonyMetrics, () => null);
  const phones = carriers.collect();
  const agents = new MetricRegistry();
  measureTransport(agents, "livekit", livekitMetrics, () => null);
  const rooms = agents.collect();
  const starts = new MetricRegistry();
  measureStarts(starts);
  const registry = starts.collect();
  const all = [...service, ...runtime, ...gateway, ...adapter, ...phones, ...rooms, ...registry];
  const names = all.map(({ family }) => family.definition.name);
  expect(new Set(names).size).toBe(names.length);
  for (const { kind, family } of all) {
    const { name, help, unit } = family.definition;
    expect(name).toMatch(/^rspp_[a-z0-9_]+$/);
    expect(name.endsWith("_total"), `${name} is a ${kind}`).toBe(kind === "counter");
    if (kind === "histogram") expect([unit, name.endsWith("_seconds")], name).toEqual(["s", true]);
    expect(help, name).toMatch(/^[A-Z0-9]/);
  }
  await telemetry.close();
  await expect(page({ service, runtime, gateway, adapter, phones, rooms, registry })).toMatchFileSnapshot(
    "../../docs/metrics.md",
  );
});
