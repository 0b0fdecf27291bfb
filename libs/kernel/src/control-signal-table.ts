/** The table of kernel.md §13, row by row. Read it through control-signals.ts. */

export type SignalEmitter =
  | "prelude"
  | "timer"
  | "operator"
  | "api"
  | "arbiter"
  | "adapter"
  | "client"
  | "cancellation"
  | "node_host"
  | "budget"
  | "edge"
  | "local_admission"
  | "control_plane_admission"
  | "flow_control"
  | "merge"
  | "sync"
  | "invocation"
  | "lease"
  | "routing"
  | "guard"
  | "egress"
  | "recording"
  | "executor";

/** Where the table has a dash the signal is about an edge or a sync domain, and its event may belong to session or turn. */
export type SignalScope =
  | "session"
  | "turn"
  | "node"
  | "provider_invocation"
  | "edge_enqueue"
  | "edge_dequeue"
  | "node_dispatch"
  | "pre_turn"
  | "scheduling_point";

/** `edgeOrNode`: one of the two. `namespaced`: at least one field "namespace.name", and no others. */
export type SignalField =
  | "origin"
  | "reason"
  | "lastDataSequence"
  | "lastMediaSequence"
  | "scope"
  | "budgetLeft"
  | "edge"
  | "lane"
  | "amount"
  | "fromSequence"
  | "toSequence"
  | "syncDomain"
  | "discontinuityId"
  | "provider"
  | "invocation"
  | "epochOld"
  | "epochNew"
  | "mediaUs"
  | "policyId"
  | "levelOld"
  | "levelNew"
  | "trigger"
  | "edgeOrNode"
  | "namespaced";

/** overtaking acts at once; positioned waits for the media before it (kernel.md §6); none stays inside the runtime. */
export type SignalClass = "overtaking" | "positioned" | "none";

export interface SignalSpec {
  readonly emitters: readonly SignalEmitter[];
  readonly scopes: readonly SignalScope[];
  readonly fields: readonly SignalField[];
  readonly class: SignalClass;
}

const spec = (
  emitters: readonly SignalEmitter[],
  scopes: readonly SignalScope[],
  fields: readonly SignalField[] = [],
  signalClass: SignalClass = "none",
): SignalSpec => ({ emitters, scopes, fields, class: signalClass });

/** The table's dash. */
const anyScope: readonly SignalScope[] = ["session", "turn"];
const heard = spec(["adapter", "client"], ["session"], ["lastMediaSequence"], "positioned");
const hold = spec(["prelude"], ["turn"], ["reason"]);
const cancel = spec(
  ["prelude", "cancellation", "adapter", "operator"],
  ["session", "turn", "node", "provider_invocation"],
  ["scope", "reason"],
  "overtaking",
);
const nodeAnswer = spec(["node_host"], ["node"], ["reason"]);
const budgetMark = spec(["budget"], ["turn", "session"], ["reason", "budgetLeft"]);
const degradation = spec(["budget", "edge"], ["turn", "session"], ["reason"]);
const admission = spec(["local_admission", "control_plane_admission"], ["session"], ["reason"]);
const providerMark = spec(["invocation"], ["turn", "session"], ["reason", "provider", "invocation"]);
const leaseMark = spec(["lease", "routing"], ["session"], ["epochOld", "epochNew"]);
const lifecycle = spec(["adapter"], ["session"]);
const delivery = spec(["adapter", "egress"], ["turn"], ["mediaUs"]);
const decision = spec(["executor", "node_host"], ["turn", "session"], ["edgeOrNode", "reason"]);
const transport = spec(["adapter"], ["session", "turn"], ["namespaced"], "positioned");

const rows = {
  turn_open_proposed: spec(["prelude", "timer", "operator", "api"], ["session"], ["origin"]),
  turn_open: spec(["arbiter"], ["turn"]),
  // Positioned by the last Data sequence, so that nothing that overtakes cuts the tail (kernel.md §2).
  commit: spec(["arbiter"], ["turn"], ["lastDataSequence"], "positioned"),
  abort: spec(["arbiter"], ["turn"], ["reason"]),
  close: spec(["arbiter"], ["turn"], [], "positioned"),
  end_of_utterance: heard,
  mute: heard,
  unmute: heard,
  output_hold: hold,
  output_resume: hold,
  barge_in: cancel,
  stop: cancel,
  cancel,
  cancel_requested: cancel,
  cancel_ack: nodeAnswer,
  node_stopped: nodeAnswer,
  budget_warning: budgetMark,
  budget_exhausted: budgetMark,
  degrade: degradation,
  fallback: degradation,
  degraded: degradation,
  recovered: degradation,
  admit: admission,
  reject: admission,
  defer: admission,
  shed: spec(["local_admission"], ["edge_enqueue", "edge_dequeue", "node_dispatch"], ["reason"]),
  watermark: spec(["edge"], anyScope, ["edge", "lane", "reason"]),
  flow_xoff: spec(["flow_control"], anyScope, ["edge", "lane", "reason"]),
  flow_xon: spec(["flow_control"], anyScope, ["edge", "lane"]),
  credit_grant: spec(["flow_control"], anyScope, ["edge", "lane", "amount"]),
  drop_notice: spec(["edge", "merge"], anyScope, ["edge", "lane", "reason", "fromSequence", "toSequence"]),
  discontinuity: spec(["sync"], anyScope, ["syncDomain", "discontinuityId", "reason"]),
  provider_error: providerMark,
  circuit_event: providerMark,
  provider_switch: providerMark,
  lease_issued: leaseMark,
  lease_rotated: leaseMark,
  migration_start: leaseMark,
  migration_finish: leaseMark,
  session_handoff: leaseMark,
  stale_epoch_reject: spec(["guard"], ["pre_turn", "scheduling_point"], ["reason", "epochOld", "epochNew"]),
  deauthorized_drain: spec(["guard"], ["pre_turn", "turn"], ["reason"], "overtaking"),
  connected: lifecycle,
  reconnecting: lifecycle,
  disconnected: lifecycle,
  ended: spec(["adapter"], ["session"], ["reason"], "positioned"),
  silence: lifecycle,
  muted: lifecycle,
  stall: spec(["adapter"], ["session"], ["reason"]),
  output_accepted: delivery,
  playback_started: delivery,
  playback_completed: delivery,
  playback_cancelled: delivery,
  playback_lost: delivery,
  recording_level_changed: spec(["recording"], ["session"], ["policyId", "levelOld", "levelNew", "trigger"]),
  route_decision: decision,
  node_error: decision,
  dtmf: transport,
  transport_signal: transport,
} satisfies Record<string, SignalSpec>;

export type ControlSignal = keyof typeof rows;

export const CONTROL_SIGNALS: Readonly<Record<ControlSignal, SignalSpec>> = rows;
