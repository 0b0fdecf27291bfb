/** What the registry measures of starts, by tenant (F-050, F-098); past 256 series the rest counts as `other`. */
import type { Result } from "@rspp/base/result";
import { type Log, silentLog } from "@rspp/rpc/log";
import { MetricRegistry } from "@rspp/telemetry/metric-registry";
import type { RouteRefusal, SessionRoute } from "./routes.ts";

export interface StartsWatch {
  started(tenantId: string, routed: Result<SessionRoute, RouteRefusal>): void;
  /** Live ones, by tenant. */
  sessions(live: ReadonlyMap<string, number>): void;
}

/**
 * Each start that was limited is counted; the first of its kind is in the log, then every one that doubles their number, so
 * that a flood of refusals is no flood of lines.
 * @param registry default one that nobody reads.
 */
export function measureStarts(
  registry: MetricRegistry = new MetricRegistry(),
  log: Pick<Log, "info"> = silentLog,
): StartsWatch {
  const starts = registry.counter({
    name: "rspp_session_starts_total",
    help: "Session starts asked for, by what became of them: admitted, degraded, rejected or deferred, and why.",
    unit: "{session}",
    labels: ["tenant", "outcome", "reason"],
  });
  const sessions = registry.gauge({
    name: "rspp_tenant_sessions",
    help: "Sessions of a tenant that live or may still be opened.",
    unit: "{session}",
    labels: ["tenant"],
  });
  const shown = new Set<string>();
  return {
    started(tenantId, routed) {
      const told = outcomeOf(routed);
      if (told === undefined) return;
      const { outcome, reason } = told;
      const series = starts.with(tenantId, outcome, reason);
      series.add();
      if (outcome === "admitted" || !Number.isInteger(Math.log2(series.value))) return;
      log.info({ tenant_id: tenantId, outcome, reason, count: series.value }, "session start limited");
    },
    sessions(live) {
      for (const tenant of shown) if (!live.has(tenant)) sessions.with(tenant).set(0);
      for (const [tenant, count] of live) {
        shown.add(tenant);
        sessions.with(tenant).set(count);
      }
    },
  };
}

/** Undefined for requests that ask for nothing that could start, whose tenant may be anybody's word. */
function outcomeOf(routed: Result<SessionRoute, RouteRefusal>): { outcome: string; reason: string } | undefined {
  if (routed.ok) return { outcome: routed.value.row.admittedDegraded ? "degraded" : "admitted", reason: "" };
  const { error } = routed;
  if (error.kind === "no_instance") return { outcome: "deferred", reason: error.reason };
  if (error.kind !== "over_limit") return undefined;
  return { outcome: error.over === "throttle" ? "deferred" : "rejected", reason: error.limit };
}
