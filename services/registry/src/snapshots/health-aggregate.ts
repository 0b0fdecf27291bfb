/** One signal per provider out of what all gateways tell (F-060): coarse, so that it is a new version only when it matters. */
import { create } from "@bufbuild/protobuf";
import { CircuitState } from "@rspp/gen/rspp/provider/v1/provider_pb";
import { type ProviderSignal, ProviderSignalSchema } from "@rspp/gen/rspp/registry/v1/snapshot_pb";
import type { StoredProviderReport } from "@rspp/store/snapshot-store";

/** Reports older than this are no signal. */
export const HEALTH_REPORT_FRESH_MS = 15_000;
const PERMILLE_STEP = 100;
const LATENCY_STEP_MS = 100;
const PROVIDERS_MAX = 1_024;

/** From the best to the worst. */
const severity: Readonly<Record<number, number>> = {
  [CircuitState.CLOSED]: 0,
  [CircuitState.HALF_OPEN]: 1,
  [CircuitState.OPEN]: 2,
};

/** By name. A provider is as its gateways mostly are: one gateway with a bad line does not take it from all. */
export function aggregateHealth(reports: readonly StoredProviderReport[]): readonly ProviderSignal[] {
  const byName = new Map<string, StoredProviderReport[]>();
  for (const report of reports) {
    const known = byName.get(report.provider);
    if (known === undefined) byName.set(report.provider, [report]);
    else known.push(report);
  }
  return [...byName]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, PROVIDERS_MAX)
    .map(([provider, told]) => signalOf(provider, told));
}

function signalOf(provider: string, told: readonly StoredProviderReport[]): ProviderSignal {
  const usable = told.filter(({ available }) => available);
  // Gateways that cannot open it at all, e.g. without a key, say nothing of its health where others can.
  const voices = usable.length > 0 ? usable : told;
  const prices = voices.flatMap(({ priceMicros }) => (priceMicros === null ? [] : [priceMicros]));
  const permille = mean(voices.map(({ errorPermille }) => errorPermille));
  const p95 = Math.max(...voices.map(({ p95FirstOutputMs }) => p95FirstOutputMs));
  return create(ProviderSignalSchema, {
    health: {
      provider,
      circuit: medianCircuit(voices),
      errorPermille: Math.min(1_000, Math.round(permille / PERMILLE_STEP) * PERMILLE_STEP),
      p95FirstOutputMs: Math.ceil(p95 / LATENCY_STEP_MS) * LATENCY_STEP_MS,
      version: "1",
      ...(prices.length === 0 ? {} : { priceMicros: BigInt(Math.max(...prices)) }),
    },
    reporters: told.length,
    available: usable.length > 0,
  });
}

/** The worst that more than half share. */
function medianCircuit(voices: readonly StoredProviderReport[]): CircuitState {
  const sorted = voices.map(({ circuit }) => circuit).sort((a, b) => (severity[a] ?? 2) - (severity[b] ?? 2));
  const middle = sorted[Math.floor((sorted.length - 1) / 2)] ?? CircuitState.CLOSED;
  return middle as CircuitState;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}
