/** Counters as the SDK's data. Loaded only where a collector is named. */
import { type HrTime, ValueType } from "@opentelemetry/api";
import { millisToHrTime } from "@opentelemetry/core";
import { type Resource, resourceFromAttributes } from "@opentelemetry/resources";
import {
  AggregationTemporality,
  DataPointType,
  type MetricData,
  type ResourceMetrics,
} from "@opentelemetry/sdk-metrics";
import type { Histogram } from "./histogram.ts";
import type { Metric, MetricRegistry } from "./metric-registry.ts";
import type { ServiceIdentity } from "./service-identity.ts";

const NS_PER_SECOND = 1e9;

export function resourceOf({ service, instanceId, build }: ServiceIdentity): Resource {
  return resourceFromAttributes({
    "service.namespace": "rspp",
    "service.name": service,
    "service.instance.id": instanceId,
    "service.version": build,
  });
}

export function resourceMetrics(registry: MetricRegistry, service: ServiceIdentity): ResourceMetrics {
  const times = { startTime: millisToHrTime(registry.sinceMs), endTime: millisToHrTime(Date.now()) };
  const metrics = registry.collect().flatMap((metric) => {
    const data = metricData(metric, times);
    return data.dataPoints.length === 0 ? [] : [data];
  });
  return {
    resource: resourceOf(service),
    scopeMetrics: [{ scope: { name: "rspp", version: service.build }, metrics }],
  };
}

type Times = { readonly startTime: HrTime; readonly endTime: HrTime };

function metricData(metric: Metric, times: Times): MetricData {
  const { name, help, unit } = metric.family.definition;
  const descriptor = { name, description: help, unit, valueType: ValueType.DOUBLE };
  const aggregationTemporality = AggregationTemporality.CUMULATIVE;
  switch (metric.kind) {
    case "counter":
    case "gauge": {
      const dataPoints = metric.family.series().map((series) => {
        return { ...times, attributes: series.labels, value: series.value.value };
      });
      return metric.kind === "gauge"
        ? { descriptor, aggregationTemporality, dataPointType: DataPointType.GAUGE, dataPoints }
        : { descriptor, aggregationTemporality, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints };
    }
    case "histogram": {
      const dataPoints = metric.family.series().map((series) => {
        return { ...times, attributes: series.labels, value: buckets(series.value, metric.boundsSeconds) };
      });
      return { descriptor, aggregationTemporality, dataPointType: DataPointType.HISTOGRAM, dataPoints };
    }
  }
}

function buckets(histogram: Histogram, boundsSeconds: readonly number[]) {
  const boundsNs = boundsSeconds.map((bound) => Math.round(bound * NS_PER_SECOND));
  const counts = histogram.counts(boundsNs);
  return {
    buckets: { boundaries: [...boundsSeconds], counts },
    sum: histogram.sumNs / NS_PER_SECOND,
    count: histogram.count,
  };
}
