/** How many connections to the database a service's work shares, as metrics (F-105). */
import type { MetricRegistry } from "@rspp/telemetry/metric-registry";

export interface DatabaseReading {
  readonly open: number;
  readonly idle: number;
  readonly waiting: number;
}

/** Read when somebody asks. Gives a function that ends it. */
export function measureDatabase(metrics: MetricRegistry, read: () => DatabaseReading): () => void {
  const connections = metrics.gauge({
    name: "rspp_database_connections",
    help: "Connections to the database: busy, or idle. Services without a database have none",
    unit: "{connection}",
    labels: ["state"],
  });
  const waiting = metrics
    .gauge({ name: "rspp_database_waiting", help: "Transactions that wait for a connection", unit: "{transaction}" })
    .with();
  return metrics.beforeCollect(() => {
    const now = read();
    connections.with("busy").set(now.open - now.idle);
    connections.with("idle").set(now.idle);
    waiting.set(now.waiting);
  });
}
