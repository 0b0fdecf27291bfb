import type { ProviderHealth } from "@rspp/gen/rspp/provider/v1/provider_pb";
import type { SnapshotStore } from "@rspp/store/snapshot-store";
import type { WallClock } from "../ports.ts";

/** Keeps what a gateway says of its providers; one that says nothing, e.g. a runtime, changes nothing. */
export type HealthReports = (instanceId: string, health: readonly ProviderHealth[]) => Promise<void>;

export function healthReports(store: Pick<SnapshotStore, "reportProviders">, clock: WallClock): HealthReports {
  return async (instanceId, health) => {
    if (health.length === 0) return;
    const byName = new Map(health.map((one) => [one.provider, one]));
    const rows = [...byName.values()].map(
      ({ provider, circuit, errorPermille, p95FirstOutputMs, priceMicros, available }) => ({
        provider,
        circuit,
        errorPermille,
        p95FirstOutputMs: Math.min(p95FirstOutputMs, 2_147_483_647),
        priceMicros: priceMicros === undefined ? null : Number(priceMicros),
        available: available ?? true,
      }),
    );
    await store.reportProviders(instanceId, rows, clock.wallMs());
  };
}
