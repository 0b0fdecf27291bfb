/**
 * A PipelineSpec as its author wrote it: field names as in the file (units last), nothing defaulted yet. Made by
 * `parseSpec` and `expandTemplate` only, which have checked every bound of `spec-schema.ts`.
 */
import type { NodeKind, OverflowStrategy, SettingValue } from "@rspp/kernel/graph";
import type { Position } from "./problem.ts";

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
}

export interface NodeDocument {
  id: string;
  kind: NodeKind;
  scope?: "session" | "turn";
  provider?: ProviderDocument;
  settings?: SettingsDocument;
  /** Node that takes over in a turn where this one fails. */
  fallback?: string;
  description?: string;
}

export interface BufferDocument {
  strategy?: OverflowStrategy;
  max_items?: number;
  max_bytes?: number;
  max_queue_ms?: number;
  max_block_ms?: number;
}

export interface EdgeDocument {
  id?: string;
  /** `node.port`. */
  from: string;
  to: string;
  /** CEL over event, vars, turn, session and providers (F-018). */
  condition?: string;
  buffer?: BufferDocument;
  description?: string;
}

export interface PolicyDocument {
  id?: string;
  barge_in?: boolean;
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
}

/** What a spec and a template file share. */
export interface CommonDocument {
  schema: string;
  profile?: string;
  description?: string;
  owner?: string;
  labels?: Readonly<Record<string, string>>;
  conversation?: { greeting?: string; system_prompt?: string };
  policy?: PolicyDocument;
  budgets?: BudgetsDocument;
  output?: { lead_ms?: number };
  recording?: { level?: "L0" | "L1" | "L2"; policy_id?: string };
}

export interface SpecDocument extends CommonDocument {
  name: string;
  version: string;
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
  positions: ReadonlyMap<string, Position>;
  /** Template the graph came from, e.g. `voice-assistant/v1`; null for a spec written out. */
  template: string | null;
}

export interface PipelineSpec extends SpecDocument {
  origin: SpecOrigin;
}
