/**
 * A PipelineSpec as its author wrote it: field names as in the file (units last), nothing defaulted yet. Made by
 * `parseSpec` and `expandTemplate` only, which have checked every bound of `spec-schema.ts`.
 */

import type { BudgetOutcome, BudgetScope } from "@rspp/kernel/budget-state";
import type {
  BufferSpec,
  NodeKind,
  OverflowStrategy,
  SettingValue,
  SideEffect,
  SyncSpec,
  TelemetryRule,
  WatermarkSpec,
} from "@rspp/kernel/graph";
import type { DialogueDocument } from "./dialogue-document.ts";
import type { Place } from "./problem.ts";
import type { VocabularyDocument } from "./vocabulary.ts";

export type SettingsDocument = Readonly<Record<string, SettingValue>>;

export interface CandidateDocument {
  name: string;
  settings?: SettingsDocument;
}

export interface ProviderDocument {
  /** In the order they are tried. */
  candidates: readonly (string | CandidateDocument)[];
  /** For every candidate; a candidate's own settings are laid over them. */
  settings?: SettingsDocument;
  /** How often one candidate is asked again after a timeout. */
  retries?: number;
}

/** How a tool is called: `http` or `mcp`, the latter by `url` or `command`. Headers are references to secrets. */
export interface ToolDocument {
  name: string;
  description: string;
  /** JSON Schema of an object. */
  parameters?: unknown;
  side_effect: SideEffect;
  deadline_ms?: number;
  filler?: { text: string; after_ms: number };
  http?: { url: string; method?: string; headers?: Readonly<Record<string, string>> };
  mcp?: { url?: string; command?: string; tool?: string; headers?: Readonly<Record<string, string>> };
}

export interface ToolLimitsDocument {
  per_turn_max?: number;
  rounds_max?: number;
  parallel_max?: number;
  result_bytes_max?: number;
  late_result?: "note" | "propose";
}

export interface NodeDocument {
  id: string;
  kind: NodeKind;
  scope?: "session" | "turn";
  provider?: ProviderDocument;
  settings?: SettingsDocument;
  /** Node that takes over in a turn where this one fails. */
  fallback?: string;
  /** Of a node of kind `llm`. */
  tools?: readonly ToolDocument[];
  tool_limits?: ToolLimitsDocument;
  /** `custom` only: `name@version` of its node package. */
  package?: string;
  limits?: NodeLimitsDocument;
  description?: string;
}

export interface NodeLimitsDocument {
  max_in_flight?: number;
  queue?: number;
  when_full?: "queue" | "reject";
  event_timeout_ms?: number;
  hook_timeout_ms?: number;
  memory_mb?: number;
  cpu_percent?: number;
}

export interface BufferDocument {
  strategy?: OverflowStrategy;
  max_items?: number;
  max_bytes?: number;
  max_queue_ms?: number;
  max_latency_ms?: number;
  max_block_ms?: number;
  preset?: string;
  sample_every?: number;
  coalesce_ms?: number;
  watermark?: WatermarkSpec;
  flow?: NonNullable<BufferSpec["flow"]>;
  credits?: number;
  lanes?: {
    control?: "block";
    telemetry?: { strategy: TelemetryRule["strategy"]; max_items?: number; sample_every?: number };
  };
  sync?: { domain: string; policy: SyncSpec["policy"]; scope?: SyncSpec["scope"] };
}

export interface EdgeDocument {
  id?: string;
  /** `node.port`. */
  from: string;
  to: string;
  /** CEL over event, vars, turn, session and providers (F-018). What no edge of a port lets through goes nowhere; lint warns. */
  condition?: string;
  buffer?: BufferDocument;
  description?: string;
}

export interface PolicyDocument extends DialogueDocument {
  id?: string;
  barge_in?: boolean;
  cancel_mode?: "hard" | "soft";
  soft_limit_ms?: number;
  second_proposal?: "preempt" | "queue" | "drop";
  hold_on_candidate?: boolean;
  late_events?: "drop" | "remap" | "diagnose";
  speculation?: boolean;
  final_wait_ms?: number;
  reconnect_ms?: number;
  history_parts_max?: number;
}

export interface BudgetsDocument {
  turn_first_output_ms?: number;
  node_soft_ms?: number;
  provider_attempt_ms?: number;
  cancel_grace_ms?: number;
  limits?: readonly LimitDocument[];
  prices?: readonly PriceDocument[];
}

export interface DegradeDocument {
  calm_ms?: number;
  text_only?: boolean;
  postures?: readonly { id: string; nodes: Readonly<Record<string, SettingsDocument>> }[];
}

/** One budget on a scope of a turn. */
export interface LimitDocument {
  id?: string;
  scope: BudgetScope;
  /** Node id, edge id or `from..to`; left out for the turn. */
  target?: string;
  soft_ms?: number;
  hard_ms?: number;
  tokens?: number;
  audio_ms?: number;
  characters?: number;
  cost_micros?: number;
  on_exhausted: BudgetOutcome;
}

/** Millionths of the account's currency for one unit of a provider's usage. */
export interface PriceDocument {
  provider: string;
  input_token_micros?: number;
  output_token_micros?: number;
  character_micros?: number;
  audio_second_micros?: number;
}

/** What a session variable, or a parameter of a module, may be. */
export interface VariableDocument {
  type: "string" | "number" | "boolean" | "enum";
  description?: string;
  required?: boolean;
  default?: string | number | boolean;
  /** Of a string: the whole of it must match. */
  pattern?: string;
  min_chars?: number;
  max_chars?: number;
  /** Of a number. */
  min?: number;
  max?: number;
  whole?: boolean;
  /** Of an enum. */
  values?: readonly string[];
  /** Default personal. */
  sensitivity?: "public" | "personal" | "secret";
}

export type VariablesDocument = Readonly<Record<string, VariableDocument>>;

/** A use of a module: its ports are `id.port`. */
export interface ModuleUseDocument {
  id: string;
  /** `name@version`. */
  use: string;
  with?: Readonly<Record<string, string | number | boolean>>;
  description?: string;
}

/** What a spec and a template file share. */
export interface CommonDocument {
  schema: string;
  profile?: string;
  description?: string;
  owner?: string;
  labels?: Readonly<Record<string, string>>;
  variables?: VariablesDocument;
  conversation?: { greeting?: string; system_prompt?: string };
  vocabulary?: VocabularyDocument;
  policy?: PolicyDocument;
  budgets?: BudgetsDocument;
  /** By class of error, a sentence or `silence`. */
  errors?: Readonly<Record<string, string>>;
  degrade?: DegradeDocument;
  breaker?: { failures: number; cool_ms: number };
  dead_letters?: { max: number };
  admission?: { queued_max?: number; age_max_ms?: number; dispatch_max?: number };
  output?: { lead_ms?: number };
  recording?: { level?: "L0" | "L1" | "L2"; policy_id?: string; sample_percent?: number };
}

export interface SpecDocument extends CommonDocument {
  name: string;
  version: string;
  /** Of a `PipelineSpec` they have been expanded: their nodes and edges stand after the author's own. */
  modules?: readonly ModuleUseDocument[];
  nodes: readonly NodeDocument[];
  edges: readonly (string | EdgeDocument)[];
}

export interface TemplateDocument extends CommonDocument {
  template: string;
  name?: string;
  version?: string;
  providers: { stt: ProviderDocument; llm: ProviderDocument; tts: ProviderDocument };
}

/** Where the values stand, for errors and provenance. No part of what executes. */
export interface SpecOrigin {
  file: string;
  /** Field path -> place in the file. */
  positions: ReadonlyMap<string, Place>;
  /** Template the graph came from, e.g. `voice-assistant/v1`; null for a spec written out. */
  template: string | null;
  /** What was expanded (F-019), outermost first; absent where no module is used. */
  modules?: readonly ModuleInstance[];
  /** Texts of the modules that do not stand in the file itself, each once. */
  library?: readonly ModuleSource[];
  /** Layers laid over it, the first one first (F-080); absent where there were none. */
  layers?: readonly string[];
}

/** One use of a module, expanded. */
export interface ModuleInstance {
  /** Prefix of its nodes without the `__`: the id of the use, below another `outer__inner`. */
  id: string;
  /** `name@version`. */
  use: string;
  /** Ids of its nodes, those of modules within it included. */
  nodes: readonly string[];
}

export interface ModuleSource {
  /** `name@version`. */
  use: string;
  file: string;
  text: string;
}

export interface PipelineSpec extends SpecDocument {
  origin: SpecOrigin;
}
