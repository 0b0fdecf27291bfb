import type { RemoteOpenerStats } from "@rspp/remote/link-session-types";
import type { MetricRegistry } from "@rspp/telemetry/metric-registry";

/** What every adapter counts of its sessions. */
export interface SessionCounts {
  sessions: number;
  /** Sessions whose caller is away. */
  waiting: number;
  resumed: number;
  givenUp: number;
  /** By name of the catalogue of errors. */
  refused: Readonly<Record<string, number>>;
}

export interface TransportMeasured<S extends SessionCounts> {
  readonly transport: S;
  readonly opener: RemoteOpenerStats;
}

/** A gauge or counter of the adapter's own, read from its stats. `name` without `rspp_<transport>_`. */
export interface OwnMetric<S> {
  readonly kind: "gauge" | "counter";
  readonly name: string;
  readonly help: string;
  readonly unit?: string;
  read(stats: S): number;
}

/** What an adapter counts, read when somebody asks for its metrics. Gives a function that ends it. */
export function measureTransport<S extends SessionCounts>(
  metrics: MetricRegistry,
  transport: string,
  own: readonly OwnMetric<S>[],
  read: () => TransportMeasured<S> | null,
): () => void {
  const named = (name: string) => `rspp_${transport}_${name}`;
  const gauge = (name: string, help: string, unit = "1") => metrics.gauge({ name: named(name), help, unit }).with();
  const counter = (name: string, help: string, unit = "1") => metrics.counter({ name: named(name), help, unit }).with();
  const sessions = gauge("sessions", "Sessions open here, their callers there or away");
  const waiting = gauge("sessions_waiting", "Sessions whose caller is away");
  const linksUp = gauge("links_up", "Links to runtimes that are up");
  const stale = gauge("view_stale", "1 while an old routing view is acted on");
  const resumed = counter("resumed_total", "Sessions whose caller came back");
  const givenUp = counter("given_up_total", "Sessions whose caller did not come back");
  const failedOver = counter("failed_over_total", "Sessions that went on when their runtime was lost");
  const migrated = counter("migrated_total", "Sessions that went on elsewhere as their runtime asked");
  const refused = metrics.counter({
    name: named("refused_total"),
    help: "Connections and frames refused",
    unit: "1",
    labels: ["reason"],
  });
  const set = own.map((metric) => {
    const { kind, name, help, unit = "1" } = metric;
    if (kind === "gauge") {
      const made = gauge(name, help, unit);
      return (stats: S) => made.set(metric.read(stats));
    }
    const made = counter(name, help, unit);
    return (stats: S) => {
      made.value = metric.read(stats);
    };
  });
  return metrics.beforeCollect(() => {
    const measured = read();
    if (measured === null) return;
    const { transport: stats, opener } = measured;
    sessions.set(stats.sessions);
    waiting.set(stats.waiting);
    linksUp.set(opener.links.filter(({ up }) => up).length);
    stale.set(opener.view.stale ? 1 : 0);
    resumed.value = stats.resumed;
    givenUp.value = stats.givenUp;
    failedOver.value = opener.failedOver;
    migrated.value = opener.migrated;
    for (const setOwn of set) setOwn(stats);
    for (const [reason, count] of Object.entries(stats.refused)) refused.with(reason).value = count;
  });
}
