import type { LinkSessionsStats } from "@rspp/remote/link-session-types";
import type { MetricRegistry } from "@rspp/telemetry/metric-registry";

/** Sessions that adapters hold here over links, read when somebody asks for the metrics. Gives a function that ends it. */
export function measureLinks(metrics: MetricRegistry, read: () => LinkSessionsStats, pairs: () => number): () => void {
  const links = metrics
    .gauge({ name: "rspp_link_pairs", help: "Links of adapters, which sessions share.", unit: "{link}" })
    .with();
  const sessions = metrics.gauge({
    name: "rspp_link_sessions",
    help: "Sessions over links: opening, open, or waiting for an adapter that is away.",
    unit: "{session}",
    labels: ["state"],
  });
  const counter = (name: string, unit: string, help: string, labels: readonly string[] = []) =>
    metrics.counter({ name, help, unit, labels });
  const opened = counter("rspp_link_sessions_opened_total", "{session}", "Sessions opened over links.").with();
  const reattached = counter("rspp_link_sessions_reattached_total", "{session}", "Sessions taken up again.").with();
  const duplicates = counter("rspp_link_duplicates_total", "{message}", "Resent messages that were known.").with();
  const refused = counter("rspp_link_refused_total", "{session}", "Sessions refused or broken off.", ["reason"]);
  const unsent = counter("rspp_link_unsent_total", "{message}", "What could not be said on a link.", ["kind"]);
  return metrics.beforeCollect(() => {
    const stats = read();
    links.set(pairs());
    for (const state of ["opening", "open", "waiting"] as const) sessions.with(state).set(stats[state]);
    opened.value = stats.opened;
    reattached.value = stats.reattached;
    duplicates.value = stats.duplicates;
    for (const [reason, count] of Object.entries(stats.refused)) refused.with(reason).value = count;
    for (const [kind, count] of Object.entries(stats.unsent)) unsent.with(kind).value = count;
  });
}

/** Streams to a provider gateway and what runs on them (F-105). Gives a function that ends it. */
export function measureInvocations(
  metrics: MetricRegistry,
  read: () => { readonly sharedStreams: number; readonly inFlight: number },
): () => void {
  const gauge = (name: string, help: string, unit: string) => metrics.gauge({ name, help, unit }).with();
  const streams = gauge("rspp_invocation_streams", "Streams to the gateway, which invocations share.", "{stream}");
  const running = gauge("rspp_invocations_in_flight", "Invocations that run at the gateway.", "{invocation}");
  return metrics.beforeCollect(() => {
    const { sharedStreams, inFlight } = read();
    streams.set(sharedStreams);
    running.set(inFlight);
  });
}
