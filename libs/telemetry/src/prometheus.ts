/**
 * The text of `/metrics`, exposition format 0.0.4. Written here, and held against the SDK's serializer by a test: loading that
 * one stops the process for a tenth of a second, which a call in it would hear.
 */
import type { Labels, Metric, MetricRegistry } from "./metric-registry.ts";
import type { ServiceIdentity } from "./service-identity.ts";

export const PROMETHEUS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";
const NS_PER_SECOND = 1e9;

export function prometheusText(registry: MetricRegistry, { service, instanceId, build }: ServiceIdentity): string {
  const target = { service_namespace: "rspp", service_name: service, service_instance_id: instanceId };
  const lines = [
    "# HELP target_info Target metadata",
    "# TYPE target_info gauge",
    `target_info${labelText({ ...target, service_version: build })} 1`,
  ];
  for (const metric of registry.collect()) {
    const found = linesOf(metric);
    if (found.length === 0) continue;
    const { name, help } = metric.family.definition;
    lines.push(`# HELP ${name} ${escapeHelp(help)}`, `# TYPE ${name} ${metric.kind}`, ...found);
  }
  return `${lines.join("\n")}\n`;
}

function linesOf(metric: Metric): string[] {
  const { name } = metric.family.definition;
  if (metric.kind !== "histogram") {
    return metric.family.series().map(({ labels, value }) => `${name}${labelText(labels)} ${value.value}`);
  }
  const boundsNs = metric.boundsSeconds.map((bound) => Math.round(bound * NS_PER_SECOND));
  const bounds = [...metric.boundsSeconds.map(String), "+Inf"];
  return metric.family.series().flatMap(({ labels, value }) => {
    let below = 0;
    const buckets = value.counts(boundsNs).map((count, i) => {
      below += count;
      return `${name}_bucket${labelText({ ...labels, le: bounds[i] ?? "+Inf" })} ${below}`;
    });
    const own = labelText(labels);
    return [...buckets, `${name}_sum${own} ${value.sumNs / NS_PER_SECOND}`, `${name}_count${own} ${value.count}`];
  });
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"');
}
