import type { Metrics } from "./metrics.ts";
import type { SessionMeasures } from "./metrics-session.ts";
import type { RuntimeStats } from "./runtime.ts";

export interface RuntimeReading {
  stats(): RuntimeStats;
  sessions(): readonly SessionMeasures[];
}

const MS_PER_SECOND = 1_000;

/** Sets, before each reading of the registry, what is only looked up: what is held now, what the spool says. */
export function collectRuntime(metrics: Metrics, reading: RuntimeReading): () => void {
  const { of } = metrics;
  return metrics.registry.beforeCollect(() => {
    const { sessions, waiting, units, spool } = reading.stats();
    of.sessionsOpen.with().set(sessions);
    of.schedulerWaiting.with().set(waiting);
    of.schedulerUnits.with().value = units;
    of.spoolFill.with().set(spool.fill);
    of.spoolLag.with().set(spool.lagMs / MS_PER_SECOND);
    of.spoolUsed.with().set(spool.usedBytes);
    of.spoolPending.with().set(spool.pendingBytes);
    of.spoolFailures.with("append").value = spool.appendFailures;
    of.spoolFailures.with("sync").value = spool.syncFailures;
    of.spoolLinesLost.with().value = spool.linesLost;
    of.spoolStale.with().value = spool.staleRefused;
    for (const { value } of of.edgeDepth.series()) value.set(0);
    for (const session of reading.sessions()) session.collect();
  });
}
