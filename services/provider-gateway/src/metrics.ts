import { MetricRegistry } from "@rspp/telemetry/metric-registry";
import type { BatchWatch } from "./batch/collector.ts";
import type { CircuitWatch } from "./resilience/circuits.ts";

/** What a gateway measures besides what its callers see (F-051). @param registry default one that nobody reads. */
export function measureBatches(registry: MetricRegistry = new MetricRegistry()): Omit<BatchWatch, "threw"> {
  const requests = registry.counter({
    name: "rspp_provider_batches_total",
    help: "Requests to providers that take several calls in one, by why they were sent: full, window, deadline or alone.",
    unit: "{request}",
    labels: ["provider", "because"],
  });
  const calls = registry.counter({
    name: "rspp_provider_batched_calls_total",
    help: "Calls in those requests; over their number, the size of a batch.",
    unit: "{call}",
    labels: ["provider"],
  });
  const wait = registry.histogram({
    name: "rspp_provider_batch_wait_seconds",
    help: "A call complete until it was sent, for the sake of a batch.",
    unit: "s",
    labels: ["provider"],
  });
  return {
    sent(provider, items, because) {
      requests.with(provider, because).add();
      calls.with(provider).add(items);
    },
    waited: (provider, ns) => wait.with(provider).record(ns),
  };
}

/** Circuit breakers of the gateway (F-057). @param registry default one that nobody reads. */
export function measureCircuits(registry: MetricRegistry = new MetricRegistry()): CircuitWatch {
  const changes = registry.counter({
    name: "rspp_provider_circuit_changes_total",
    help: "Changes of a provider's circuits to open, half_open or closed.",
    unit: "{change}",
    labels: ["provider", "to"],
  });
  return ({ provider, phase }) => changes.with(provider, phase).add();
}
