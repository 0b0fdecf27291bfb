/** What `compileSpec` makes: all a session needs from its pipeline. Plain data. */
import type { GraphDefinition } from "@rspp/kernel/graph";
import type { Budgets, Provenance, RecordingConfig, SessionPolicy } from "@rspp/kernel/session-config";
import type { ModuleInstance, VariablesDocument } from "./spec.ts";

export interface CompiledPipeline {
  name: string;
  version: string;
  /** Name of the execution profile, e.g. `simple/v1`. */
  profile: string;
  graph: GraphDefinition;
  policy: SessionPolicy;
  /** Milliseconds. */
  budgets: Budgets;
  /** The shell adds the evidence quota it has set aside. */
  recording: Pick<RecordingConfig, "policyId" | "ceiling"> & {
    /** Of a hundred sessions so many are recorded above L0 (F-071); absent: all. */
    samplePercent?: number;
  };
  outputLeadMs: number;
  /** Said by the agent when the session opens. */
  greeting?: string;
  systemPrompt?: string;
  /** Session variables as declared; absent where none are. */
  variables?: VariablesDocument;
  /** Uses of modules that were expanded, outermost first (F-019); absent where there are none. No part of what executes. */
  modules?: readonly ModuleInstance[];
  /** Sentences the agent may say of its own accord, by the names of `SessionConfig.spoken`. */
  spoken?: Readonly<Record<string, string>>;
  /** JSGF grammar of the recogniser, from `provider.settings.grammar` of the stt node. */
  sttGrammar?: string;
  /** Path of each value above -> `spec`, `module/name@version`, a layer (`layers.ts`), `template/…`, `node_kind/…`, `derived` or the profile's defaulting_source. */
  provenance: Provenance;
  /** SHA-256, hex, over the canonical JSON of what executes; names, comments, labels and sources have no part in it. */
  fingerprint: string;
}
