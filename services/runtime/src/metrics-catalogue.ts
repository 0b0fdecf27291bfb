/** Every metric of a runtime: one name per thing. `docs/metrics.md` lists them, and a test holds it to this file. */
import {
  LATENCY_BOUNDS_SECONDS as bounds,
  type MetricDefinition,
  type MetricRegistry,
} from "@rspp/telemetry/metric-registry";

/** From a microsecond: what a step and what looks at it take. */
export const STEP_BOUNDS_SECONDS: readonly number[] = [
  1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 0.1,
];

const seconds = (name: string, help: string, labels: readonly string[] = []): MetricDefinition => ({
  name: `rspp_${name}_seconds`,
  help,
  unit: "s",
  labels,
});
const total = (name: string, unit: string, help: string, labels: readonly string[] = []): MetricDefinition => ({
  name: `rspp_${name}_total`,
  help,
  unit: `{${unit}}`,
  labels,
});
const level = (name: string, unit: string, help: string, labels: readonly string[] = []): MetricDefinition => ({
  name: `rspp_${name}`,
  help,
  unit,
  labels,
});

/** Latencies between canonical anchors (`kernel.md` §10), by their name in events and in `Metrics.read`. */
export const LATENCIES = {
  turn_open_ms: seconds("turn_open", "Bytes of the deciding event read until turn_open is handed out."),
  first_output_ms: seconds("turn_first_output", "A turn_open handed out until the first frame of the reply is."),
  cancel_fence_ms: seconds("cancel_fence", "Bytes of a cancel read until the adapter has acknowledged the fence."),
  voice_to_voice_ms: seconds("voice_to_voice", "Last voiced frame read until the reply is heard at the adapter."),
  resolved_turn_plan_build_ms: seconds("plan_build", "The step that resolved a turn plan, whole: an upper bound."),
  node_cancel_ms: seconds("node_cancel", "Cancel handed to a node's provider until its outcome is read.", ["node"]),
  control_preempt_delay_ms: seconds("control_preempt", "Arrival of an overtaking message until its step is done."),
  media_runtime_mapping_error_ms: seconds("media_mapping_error", "Error of the media clock's mapping, per batch."),
  turn_overhead_ms: seconds(
    "turn_overhead",
    "Of the time from turn_open to the first frame of the reply, what no provider was worked at: the platform's own.",
  ),
} as const satisfies Record<string, MetricDefinition>;

/** What is counted as it happens; each a loss or a breach of contract that somebody should see. */
export const COUNTED = {
  evidence_lost: total("evidence_lost", "record", "Evidence records given up: declared loss."),
  provider_cancel_ignored: total("provider_cancel_ignored", "invocation", "Providers that ignored their cancel."),
} as const satisfies Record<string, MetricDefinition>;

/** The families of one registry. */
export function instruments(registry: MetricRegistry) {
  return {
    ...sessionInstruments(registry),
    ...graphInstruments(registry),
    ...resilienceInstruments(registry),
    ...processInstruments(registry),
  };
}

export type Instruments = ReturnType<typeof instruments>;

function sessionInstruments(r: MetricRegistry) {
  return {
    sessionsOpen: r.gauge(level("sessions_open", "{session}", "Sessions held now.")),
    sessionsOpened: r.counter(total("sessions_opened", "session", "Sessions opened.")),
    sessionsEnded: r.counter(total("sessions_ended", "session", "Sessions ended, by why.", ["reason"])),
    sessionsRefused: r.counter(total("sessions_refused", "session", "Sessions refused, by why.", ["code"])),
    framesDropped: r.counter(total("caller_frames_dropped", "frame", "Caller frames dropped before the kernel.")),
    turnsOpened: r.counter(total("turns_opened", "turn", "Turns opened, by what proposed them.", ["origin"])),
    turnsClosed: r.counter(total("turns_closed", "turn", "Turns by outcome: commit or abort.", ["outcome", "reason"])),
    turnsRefused: r.counter(total("turns_refused", "proposal", "Proposals that became no turn.", ["outcome"])),
    turnsLimited: r.counter(
      total("turns_limited", "turn", "Turns past a tenant's rate: refused, put off, or in the lesser posture.", [
        "tenant",
        "action",
      ]),
    ),
    bargeIns: r.counter(total("barge_ins", "turn", "Turns cut by a caller who spoke.")),
  };
}

function graphInstruments(r: MetricRegistry) {
  const node = ["node", "kind"];
  const edge = ["edge"];
  const provider = ["provider", "modality"];
  return {
    nodeFirstOutput: r.histogram(
      seconds("node_first_output", "First event into a node until the first out of it, at the edges of steps.", node),
      [...STEP_BOUNDS_SECONDS.filter((bound) => bound < (bounds[0] ?? 0)), ...bounds],
    ),
    nodeRun: r.histogram(seconds("node_run", "First event into a node until its run has ended.", node)),
    nodeErrors: r.counter(total("node_errors", "error", "Nodes that failed or did not answer.", ["node"])),
    nodeLimited: r.counter(
      total("node_limited", "event", "Custom nodes held to a limit of their host: cpu or memory.", ["node", "limit"]),
    ),
    edgeDepth: r.gauge(level("edge_depth_items", "{item}", "Events on an edge after the last step.", edge)),
    edgeHigh: r.gauge(level("edge_depth_high_items", "{item}", "Most events left on an edge after any step.", edge)),
    edgeEvents: r.counter(total("edge_events", "item", "Events that entered an edge.", edge)),
    edgeDropped: r.counter(total("edge_dropped", "item", "Events that the drop path shed.", edge)),
    edgeMerged: r.counter(
      total("edge_merged", "item", "Events that a newer one of their kind took the place of.", edge),
    ),
    edgeBlocked: r.histogram(seconds("edge_blocked", "Producer told to stop until told to go on.", edge)),
    edgeWait: r.histogram(seconds("edge_wait", "Age of the oldest event on an edge, in one step of 61.", edge)),
    providerFirstOutput: r.histogram(
      seconds("provider_first_output", "Invocation opened until its first chunk.", provider),
    ),
    providerRun: r.histogram(seconds("provider_run", "Invocation opened until its outcome.", provider)),
    providerOutcomes: r.counter(
      total("provider_outcomes", "invocation", "Invocations by outcome.", [...provider, "outcome"]),
    ),
    providerRetries: r.counter(
      total(
        "provider_retries",
        "invocation",
        "Invocations that are another attempt at what one before did not do.",
        provider,
      ),
    ),
  };
}

/** Budgets and what follows them (`kernel.md` §9; F-047, NF-017). */
function resilienceInstruments(r: MetricRegistry) {
  return {
    budgetsExhausted: r.counter(
      total("budgets_exhausted", "budget", "Budgets used up, by scope and what followed.", ["scope", "action"]),
    ),
    fallbacks: r.counter(
      total("fallbacks", "turn", "Fallback nodes taken, by the node that failed.", ["node", "reason"]),
    ),
    degraded: r.counter(total("degrades", "step", "Steps down and up again, by the signal.", ["signal"])),
    shed: r.counter(total("shed_events", "event", "Events shed by local admission, by where.", ["point"])),
    spent: r.counter(total("spend_micros", "micro", "Cost of turns by the prices of their pipelines, in millionths.")),
  };
}

function processInstruments(r: MetricRegistry) {
  return {
    steps: r.counter(total("steps", "step", "Kernel steps.")),
    stepTime: r.histogram(
      seconds("step", "Parts of a step (kernel, journal, effects, telemetry), in one step of 61.", ["part"]),
      STEP_BOUNDS_SECONDS,
    ),
    schedulerWaiting: r.gauge(level("scheduler_waiting_tasks", "{task}", "Sessions that wait for the core.")),
    schedulerUnits: r.counter(total("scheduler_units", "unit", "Inputs and effects handled.")),
    spoolFill: r.gauge(level("spool_fill_ratio", "1", "How full the spool is: its fullest bound.")),
    spoolLag: r.gauge(level("spool_lag_seconds", "s", "Age of the oldest record not yet synced.")),
    spoolUsed: r.gauge(level("spool_used_bytes", "By", "Bytes of the spool on disk.")),
    spoolPending: r.gauge(level("spool_pending_bytes", "By", "Bytes that wait to be written.")),
    spoolFailures: r.counter(total("spool_failures", "failure", "Appends and syncs that failed.", ["operation"])),
    spoolLinesLost: r.counter(total("spool_lines_lost", "line", "Journal lines lost to a full disk.")),
    spoolStale: r.counter(total("spool_stale_refused", "record", "Records refused for a stale epoch.")),
  };
}
