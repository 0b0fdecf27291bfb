/**
 * The normalised graph a session runs (`kernel.md` §3). Compiled by `libs/spec` from a PipelineSpec; plain data.
 */
import type { BreakerDefinition } from "./breaker.ts";
import type { BudgetsDefinition } from "./budget-state.ts";
import type { BodyType } from "./event.ts";
import type {
  AdmissionDefinition,
  DeadLetterDefinition,
  DegradeDefinition,
  ErrorResponses,
} from "./resilience-definition.ts";

export type SettingValue = string | number | boolean | readonly string[];
export type Settings = Readonly<Record<string, SettingValue>>;

/** vad and custom run in the shell; stt, llm, tts and translator are provider nodes; all others are pure. */
export type NodeKind =
  | "ingress"
  | "vad"
  | "endpointing"
  | "stt"
  | "dtmf"
  | "context"
  | "llm"
  | "segmenter"
  | "tts"
  | "translator"
  | "merge"
  | "select"
  | "compliance"
  | "filter"
  | "canned"
  | "custom"
  | "output";
export type PortType = "audio" | "text" | "activity" | "utterance" | "messages";

export interface PortDefinition {
  name: string;
  type: PortType;
  /** Input that takes any number of edges; others take one. */
  many?: true;
  /** Port that a graph may leave unconnected. */
  optional?: true;
}

export interface NodeKindDefinition {
  kind: NodeKind;
  scope: "session" | "turn" | "either";
  execution: "pure" | "host" | "provider";
  inputs: readonly PortDefinition[];
  outputs: readonly PortDefinition[];
  description: string;
}

const port = (name: string, type: PortType): PortDefinition => ({ name, type });
const inputs = (name: string, type: PortType): PortDefinition => ({ name, type, many: true });
const either = (name: string, type: PortType): PortDefinition => ({ name, type, optional: true });

/** The node kinds; the ports of `custom` are those of its package, see {@link portsOf} (F-010, F-011). */
export const NODE_KINDS: Readonly<Record<NodeKind, NodeKindDefinition>> = {
  ingress: {
    kind: "ingress",
    scope: "session",
    execution: "pure",
    inputs: [],
    outputs: [port("audio", "audio")],
    description: "caller audio as it arrives from the transport",
  },
  vad: {
    kind: "vad",
    scope: "session",
    execution: "host",
    inputs: [port("audio", "audio")],
    outputs: [port("activity", "activity")],
    description: "voice activity per 20 ms frame",
  },
  endpointing: {
    kind: "endpointing",
    scope: "session",
    execution: "pure",
    inputs: [port("activity", "activity"), port("text", "text")],
    outputs: [port("utterance", "utterance")],
    description: "utterance boundaries from voice activity and transcripts; proposes turns",
  },
  stt: {
    kind: "stt",
    scope: "session",
    execution: "provider",
    inputs: [port("audio", "audio")],
    outputs: [port("text", "text")],
    description: "speech to text over one utterance",
  },
  dtmf: {
    kind: "dtmf",
    scope: "session",
    execution: "pure",
    inputs: [],
    outputs: [port("utterance", "utterance")],
    description: "digits the caller keys in, collected up to a terminator, a length or a pause; proposes turns",
  },
  context: {
    kind: "context",
    scope: "turn",
    execution: "pure",
    inputs: [inputs("utterance", "utterance")],
    outputs: [port("messages", "messages")],
    description: "conversation so far, heard text only",
  },
  llm: {
    kind: "llm",
    scope: "turn",
    execution: "provider",
    inputs: [port("messages", "messages")],
    outputs: [port("text", "text")],
    description: "language model, streamed",
  },
  segmenter: {
    kind: "segmenter",
    scope: "turn",
    execution: "pure",
    inputs: [port("text", "text")],
    outputs: [port("text", "text")],
    description: "cuts streamed text into speakable clauses",
  },
  tts: {
    kind: "tts",
    scope: "turn",
    execution: "provider",
    inputs: [port("text", "text")],
    outputs: [port("audio", "audio")],
    description: "text to speech, streamed",
  },
  translator: {
    kind: "translator",
    scope: "turn",
    execution: "provider",
    inputs: [port("text", "text")],
    outputs: [port("text", "text")],
    description: "text from one language into another, clause by clause, by a language model",
  },
  merge: {
    kind: "merge",
    scope: "turn",
    execution: "pure",
    inputs: [inputs("text", "text")],
    outputs: [port("text", "text")],
    description: "many texts as one stream, in the order of a named rule",
  },
  select: {
    kind: "select",
    scope: "turn",
    execution: "pure",
    inputs: [inputs("text", "text")],
    outputs: [port("text", "text")],
    description: "one of many texts, chosen by a condition at each turn",
  },
  compliance: {
    kind: "compliance",
    scope: "turn",
    execution: "pure",
    inputs: [port("text", "text")],
    outputs: [port("text", "text")],
    description:
      "masks, replaces or blocks card numbers, e-mail addresses, phone numbers and words before they are said",
  },
  filter: {
    kind: "filter",
    scope: "either",
    execution: "pure",
    inputs: [either("in", "audio"), either("text", "text")],
    outputs: [either("out", "audio"), either("text", "text")],
    description: "passes audio unchanged, or drops text by its length, words, language or finality",
  },
  canned: {
    kind: "canned",
    scope: "turn",
    execution: "pure",
    inputs: [either("messages", "messages"), either("text", "text")],
    outputs: [port("text", "text")],
    description: "a sentence of its own for whatever it is given first, by the reason where it stands in for another",
  },
  custom: {
    kind: "custom",
    scope: "either",
    execution: "host",
    inputs: [],
    outputs: [],
    description: "a node of its author's own, from a package pinned by name and version; its ports are the package's",
  },
  output: {
    kind: "output",
    scope: "either",
    execution: "pure",
    inputs: [port("audio", "audio")],
    outputs: [],
    description: "paced audio to the transport, behind the output fence",
  },
};

export type OverflowStrategy = "block" | "drop_newest" | "drop_oldest" | "latest_only" | "coalesce" | "sample";

/** What a crossing of the high mark starts, and of the low mark ends (F-144); frozen in the plan. */
export type WatermarkAction = "block" | "drop" | "merge" | "degrade" | "fallback";

export interface WatermarkSpec {
  /** Fractions of the bound that is nearest to being met, 0 <= low < high <= 1. */
  high: number;
  low: number;
  action: WatermarkAction;
}

/** Events of the metrics and debug kind that a node puts on the edge's port: kept apart from its data (F-147). */
export interface TelemetryRule {
  strategy: "drop_newest" | "drop_oldest" | "latest_only" | "sample";
  maxItems: number;
  /** `sample` only: one of so many is kept. */
  sampleEvery?: number;
}

/** Streams that belong together (F-146): what a loss on one edge of the group does to the rest. */
export interface SyncSpec {
  /** The sync domain. */
  group: string;
  policy: "atomic_drop" | "drop_with_discontinuity" | "no_sync";
  scope: "edge_local" | "plan_wide";
}

export interface BufferSpec {
  maxItems: number;
  maxBytes: number;
  /** Media time in the queue, milliseconds. */
  maxQueueMs: number;
  strategy: OverflowStrategy;
  /** `block` only: how long a producer may wait before its event is shed. */
  maxBlockMs: number;
  /** Where the values come from: `spec` or `defaulting_source=execution_profile/simple/v1`. */
  source: string;
  /** Longest an event may stay between offer and delivery, milliseconds; what is later is shed. Absent: no bound. */
  maxLatencyMs?: number;
  /** `sample` only: the first of so many events is kept. */
  sampleEvery?: number;
  /** `coalesce` only: least time between two partials, milliseconds; finals go at once (F-053). */
  coalesceMs?: number;
  watermark?: WatermarkSpec;
  /** How the producer is slowed (F-145). Absent: `signal`, flow_xoff and flow_xon. */
  flow?: "signal" | "credit" | "hybrid";
  /** `credit` and `hybrid`: events the producer may have sent that have not been taken. */
  credits?: number;
  /** Control events (errors) and telemetry by rules of their own; data by `strategy` (F-147). */
  lanes?: { control?: "block"; telemetry?: TelemetryRule };
  sync?: SyncSpec;
  /** The named preset that the values started from (F-054). */
  preset?: string;
}

export interface ProviderCandidate {
  provider: string;
  settings: Settings;
}

export interface NodeDefinition {
  id: string;
  kind: NodeKind;
  scope: "session" | "turn";
  settings: Settings;
  /** Ordered candidates of a provider node; empty otherwise. */
  candidates: readonly ProviderCandidate[];
  /** How often one provider is asked again after a timeout before the next one is (F-131); 0 where absent. */
  retries?: number;
  /** Node without edges of its own that takes over in a turn where this one fails (F-133). */
  fallback?: string;
  /** Of a language model that may call tools; absent otherwise. */
  tools?: readonly ToolDefinition[];
  toolLimits?: ToolLimits;
  /** `custom` only: `name@version` of its package, and the SHA-256 of what was found under that name (F-121). */
  package?: string;
  packageDigest?: string;
  /** `custom` only: the package's, as they were when the graph was compiled. */
  ports?: NodePorts;
  limits?: CustomLimits;
}

export interface NodePorts {
  inputs: readonly PortDefinition[];
  outputs: readonly PortDefinition[];
}

/** Bounds of one custom node's instances (F-107, F-109, F-123). */
export interface CustomLimits {
  /** Events in flight per instance. */
  maxInFlight: number;
  /** Events that wait before it: the bound of its input edges. 0: that of the edges' own buffers. */
  queueMax: number;
  /** With `reject` an event that finds no room in flight is shed at dispatch instead of waiting. */
  whenFull: "queue" | "reject";
  /** Milliseconds one event may take; then the node is told, cancelled, and ended after the cancel grace. */
  eventTimeoutMs: number;
  /** Milliseconds for `init`, `start`, `stop` and each other hook. */
  hookTimeoutMs: number;
  memoryMb: number;
  /** Share of one core that its host gives it, percent. */
  cpuPercent: number;
}

/** The typed ports of a node: those of its kind, or of its package. */
export function portsOf(node: { kind: NodeKind; ports?: NodePorts }): NodePorts {
  return node.ports ?? NODE_KINDS[node.kind];
}

/** Which events travel an edge (F-018): source and version of the evaluator that answers. */
export interface EdgeCondition {
  source: string;
  evaluator: "cel/1";
}

/** What a tool does to the world: nothing; the same however often it is called; something each time. */
export type SideEffect = "none" | "idempotent" | "side_effecting";

/** A tool that a language model may call. */
export interface ToolDefinition {
  name: string;
  description: string;
  /** JSON Schema of the arguments, as canonical JSON. */
  parameters: string;
  sideEffect: SideEffect;
  /** From the call to its result, milliseconds. */
  deadlineMs: number;
  /** Said in the turn when no result has come after so long; ends with punctuation and a space. */
  filler?: { text: string; afterMs: number };
  /** How it is called: `tool/http` or `tool/mcp` with their settings. One, since another would do it a second time. */
  candidates: readonly ProviderCandidate[];
}

export interface ToolLimits {
  /** Calls in one turn, and answers of the model that may call. */
  perTurnMax: number;
  roundsMax: number;
  /** At once. */
  parallelMax: number;
  resultBytesMax: number;
  /** What a result that comes after its turn does: it enters the conversation, and may have the agent speak. */
  lateResult: "note" | "propose";
}

export interface EdgeDefinition {
  id: string;
  from: { node: string; port: string };
  to: { node: string; port: string };
  type: PortType;
  buffer: BufferSpec;
  /** Absent: every event travels. */
  condition?: EdgeCondition;
}

export interface GraphDefinition {
  /** Pipeline name and version, e.g. `voice-assistant@1`. */
  pipelineVersion: string;
  nodes: readonly NodeDefinition[];
  edges: readonly EdgeDefinition[];
  /** Budgets on scopes of a turn (F-045, F-046). */
  budgets?: BudgetsDefinition;
  /** Said to the caller when a turn has failed (F-135). */
  errors?: ErrorResponses;
  /** Steps down under load or failure (F-048, F-137). */
  degrade?: DegradeDefinition;
  /** What cannot be processed is kept (F-132). */
  deadLetters?: DeadLetterDefinition;
  /** When a provider is passed over for its failures (F-136). */
  breaker?: BreakerDefinition;
  /** Bounds at the scheduling points of a session (F1). */
  admission?: AdmissionDefinition;
}

/** Whether an output of one type may feed an input of another: words are text, whichever way they came (F-003). */
export function portsFit(output: PortType, input: PortType): boolean {
  const words = (type: PortType): boolean => type === "text" || type === "utterance";
  return output === input || (words(output) && words(input));
}

/** Which event body travels on a port type; `utterance` ports carry text. */
export const PORT_BODY: Readonly<Record<PortType, BodyType>> = {
  audio: "audio",
  text: "text",
  activity: "activity",
  utterance: "text",
  messages: "messages",
};
