/** How the snapshots a process watches are, as metrics (kernel.md §7). */
import type { MetricRegistry } from "@rspp/telemetry/metric-registry";

export interface SnapshotReading {
  readonly connected: boolean;
  readonly accepted: number;
  readonly refused: number;
  readonly kinds: readonly {
    readonly kind: string;
    readonly version: number;
    readonly ageMs: number;
    readonly state: "missing" | "fresh" | "stale" | "too_stale";
  }[];
}

const MS_PER_SECOND = 1_000;

/** Read when somebody asks. Gives a function that ends it. */
export function measureSnapshotWatch(metrics: MetricRegistry, read: () => SnapshotReading): () => void {
  const labels = ["kind"];
  const age = metrics.gauge({
    name: "rspp_snapshot_age_seconds",
    help: "Since the control plane last stood behind the snapshot in force",
    unit: "s",
    labels,
  });
  const version = metrics.gauge({
    name: "rspp_snapshot_in_force_version",
    help: "Version of the snapshot in force here; 0 none",
    unit: "1",
    labels,
  });
  const stale = metrics.gauge({
    name: "rspp_snapshot_stale",
    help: "1 while the snapshot in force is stale, too stale or missing",
    unit: "1",
    labels,
  });
  const connected = metrics
    .gauge({ name: "rspp_snapshot_watch_connected", help: "1 while snapshots are told", unit: "1" })
    .with();
  const accepted = metrics
    .counter({ name: "rspp_snapshot_accepted_total", help: "Snapshots put in force", unit: "1" })
    .with();
  const refused = metrics
    .counter({
      name: "rspp_snapshot_nacks_total",
      help: "Snapshots that could not be used and were refused",
      unit: "1",
    })
    .with();
  return metrics.beforeCollect(() => {
    const reading = read();
    for (const one of reading.kinds) {
      age.with(one.kind).set(one.ageMs / MS_PER_SECOND);
      version.with(one.kind).set(one.version);
      stale.with(one.kind).set(one.state === "fresh" ? 0 : 1);
    }
    connected.set(reading.connected ? 1 : 0);
    accepted.value = reading.accepted;
    refused.value = reading.refused;
  });
}
