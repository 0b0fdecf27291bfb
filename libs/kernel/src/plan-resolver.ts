/**
 * The resolved turn plan (`kernel.md` §3): made from local memory only, frozen for the turn, with an id and a SHA-256
 * over canonical bytes. Same inputs, same hash (F-149).
 */
import { canonicalJson } from "@rspp/base/canonical-json";
import type { Result } from "@rspp/base/result";
import { sha256Utf8Hex } from "@rspp/base/sha256";
import { commitPointOf } from "./commit-point.ts";
import { hasConditions } from "./conditions.ts";
import {
  type BufferSpec,
  type EdgeDefinition,
  type GraphDefinition,
  NODE_KINDS,
  type NodeDefinition,
} from "./graph.ts";

import { TOOL_CALLS_PER_TURN_MAX, TOOL_LATE_BYTES_MAX } from "./limits.ts";
import { adaptiveActions, type ResiliencePlan, resilienceOf } from "./plan-resilience.ts";
import type { PolicyResolution } from "./policy.ts";
import { CONDITION_EVALUATOR } from "./pure-functions.ts";
import type { RecordingCapture } from "./recording.ts";
import type { SessionConfig, SnapshotRefs } from "./session-config.ts";
import { TEXT_FUNCTIONS_VERSION } from "./text-functions.ts";

/** How inputs of one batch are put in order: as they arrived. */
export const MERGE_RULE = { id: "arrival", version: "1" } as const;

export const PLAN_SCHEMA = "resolved_turn_plan/v1";

export interface PlanInputs {
  config: SessionConfig;
  /** SHA-256 of the canonical graph, computed once per session. */
  graphHash: string;
  turn: number;
  epoch: number;
  snapshots: SnapshotRefs;
  recordingLevel: string;
  /** An operator's capture above the session's own policy (F-076); absent for none. */
  recordingCapture?: RecordingCapture | undefined;
  admissionOutcome: string;
  origin: string;
  say: boolean;
  /** Id of the posture the turn opens with; absent for none. */
  posture?: string;
  /** What the control plane's policy came to; absent for none. */
  policy?: PolicyResolution | undefined;
}

export interface ResolvedTurnPlan {
  schema: typeof PLAN_SCHEMA;
  turn: number;
  origin: string;
  pipelineVersion: string;
  graphHash: string;
  profile: string;
  bindings: readonly { node: string; candidates: readonly { provider: string; settings: unknown }[] }[];
  /** Which policy bound them so, with its caps and reasons; absent where there is none. */
  decision?: Omit<PolicyResolution, "bindings">;
  adaptiveActions: readonly string[];
  budgets: SessionConfig["budgets"];
  /** Budgets on scopes with their outcomes, and what follows failure, where the graph says so. */
  resilience?: ResiliencePlan;
  /** The prompt as ranges of registered payloads. */
  systemPrompt: SessionConfig["systemPrompt"];
  /** The spec's own sentences, likewise; absent where it has none. */
  spoken?: NonNullable<SessionConfig["spoken"]>;
  /** Milliseconds of audio ahead of the playout. */
  outputLeadMs: number;
  flowControl: string;
  edges: readonly {
    edge: string;
    strategy: string;
    maxItems: number;
    maxBytes: number;
    maxQueueMs: number;
    maxBlockMs: number;
    source: string;
    /** What a crossing of a watermark does. */
    watermarkActions: readonly string[];
    /** What the edge has beyond bounds and strategy; absent where it has nothing. */
    more?: Partial<BufferSpec>;
    /** Source of the edge's condition; absent where every event travels. */
    condition?: string;
  }[];
  /** Streams that belong together, as `group policy scope edge`. */
  syncPolicies: readonly string[];
  /** Per host and provider node: events in flight at once, and its soft budget. */
  nodeLimits: readonly { node: string; maxInFlight: number; softMs: number; package?: string; digest?: string }[];
  commitPoints: readonly { node: string; commitPoint: string }[];
  sideEffects: readonly string[];
  policy: SessionConfig["policy"];
  recording: { policyId: string; ceiling: string; level: string; downgrade: string };
  determinism: {
    seed: string;
    mergeRuleId: string;
    mergeRuleVersion: string;
    evaluator: string;
    behaviours: readonly number[];
  };
  streaming: string;
  admissionOutcome: string;
  epoch: number;
  snapshots: SnapshotRefs;
  /** Empty at L0, which keeps no values of a session; `variablesHash` tells whether they were the same. */
  variables: SessionConfig["variables"];
  variablesHash: string;
  provenance: SessionConfig["provenance"];
}

export interface ResolvedPlan {
  plan: ResolvedTurnPlan;
  hash: string;
  /** Bytes its record takes at most: part of what `turn_open` sets aside (`kernel.md` §11). */
  bytes: number;
}

const PLAN_RECORD_BYTES = 512;

/** Resolves the plan, or says why there is no legal one. */
export function resolveTurnPlan(inputs: PlanInputs): Result<ResolvedPlan, string> {
  const problem = planProblem(inputs);
  if (problem !== "") return { ok: false, error: problem };
  const { config } = inputs;
  const plan: ResolvedTurnPlan = {
    schema: PLAN_SCHEMA,
    turn: inputs.turn,
    origin: inputs.origin,
    pipelineVersion: config.graph.pipelineVersion,
    graphHash: inputs.graphHash,
    profile: config.profile,
    bindings: config.graph.nodes
      .filter((node) => node.candidates.length > 0)
      .map((node) => ({ node: node.id, candidates: inputs.policy?.bindings[node.id] ?? node.candidates })),
    ...decisionOf(inputs.policy),
    adaptiveActions: adaptiveActions(config.graph),
    budgets: config.budgets,
    ...resilienceOf(config.graph, inputs.posture),
    systemPrompt: config.systemPrompt,
    ...(config.spoken === undefined ? {} : { spoken: config.spoken }),
    outputLeadMs: config.outputLeadMs,
    flowControl: "signal",
    edges: config.graph.edges.map(edgePlan),
    syncPolicies: syncPoliciesOf(config.graph),
    nodeLimits: nodeLimits(config),
    commitPoints: config.graph.nodes
      .filter((node) => node.kind === "output" && node.scope === "turn")
      .map((node) => ({ node: node.id, commitPoint: commitPointOf(node) })),
    sideEffects: config.graph.nodes.flatMap(sideEffectsOf),
    policy: config.policy,
    recording: {
      policyId: inputs.recordingCapture?.policyId ?? config.recording.policyId,
      ceiling: inputs.recordingCapture?.level ?? config.recording.ceiling,
      level: inputs.recordingLevel,
      downgrade: "L2>L1>L0",
    },
    determinism: {
      seed: config.seed,
      mergeRuleId: MERGE_RULE.id,
      mergeRuleVersion: MERGE_RULE.version,
      evaluator: hasConditions(config.graph)
        ? `${TEXT_FUNCTIONS_VERSION}+${CONDITION_EVALUATOR}`
        : TEXT_FUNCTIONS_VERSION,
      behaviours: config.behaviours,
    },
    streaming: "incremental",
    admissionOutcome: inputs.admissionOutcome,
    epoch: inputs.epoch,
    snapshots: inputs.snapshots,
    variables: inputs.recordingLevel === "L0" ? {} : config.variables,
    variablesHash: sha256Utf8Hex(canonicalJson(config.variables)),
    provenance: config.provenance,
  };
  const canonical = canonicalJson(plan);
  // Three bytes a UTF-16 unit at most; the record's own fields come on top.
  const bytes = canonical.length * 3 + PLAN_RECORD_BYTES + lateBytes(plan.sideEffects);
  return { ok: true, value: { plan, hash: sha256Utf8Hex(canonical), bytes } };
}

/** What outcomes that come after the turn may take. */
function lateBytes(sideEffects: readonly string[]): number {
  const late = sideEffects.some((tool) => tool.endsWith("=side_effecting"));
  return late ? TOOL_CALLS_PER_TURN_MAX * TOOL_LATE_BYTES_MAX : 0;
}

/** `node.tool=class`; none where no node has tools. */
function sideEffectsOf({ id, tools = [] }: NodeDefinition): string[] {
  return tools.map(({ name, sideEffect }) => `${id}.${name}=${sideEffect}`);
}

function nodeLimits(config: SessionConfig): ResolvedTurnPlan["nodeLimits"] {
  return config.graph.nodes
    .filter((node) => NODE_KINDS[node.kind].execution !== "pure")
    .map((node) => ({
      node: node.id,
      maxInFlight: node.limits?.maxInFlight ?? 1,
      softMs: config.budgets.nodeSoftMs,
      ...(node.kind === "custom" ? { package: node.package ?? "", digest: node.packageDigest ?? "" } : {}),
    }));
}

function edgePlan(edge: EdgeDefinition): ResolvedTurnPlan["edges"][number] {
  return {
    edge: edge.id,
    strategy: edge.buffer.strategy,
    maxItems: edge.buffer.maxItems,
    maxBytes: edge.buffer.maxBytes,
    maxQueueMs: edge.buffer.maxQueueMs,
    maxBlockMs: edge.buffer.maxBlockMs,
    source: edge.buffer.source,
    watermarkActions: edge.buffer.watermark === undefined ? [] : [edge.buffer.watermark.action],
    ...moreOf(edge.buffer),
    ...(edge.condition === undefined ? {} : { condition: edge.condition.source }),
  };
}

/** The rest of a BufferSpec: only what is there, so that the plan of a plain edge says what it always said. */
function moreOf(buffer: BufferSpec): { more?: Partial<BufferSpec> } {
  const { maxItems, maxBytes, maxQueueMs, strategy, maxBlockMs, source, ...more } = buffer;
  return Object.keys(more).length === 0 ? {} : { more };
}

function syncPoliciesOf(graph: GraphDefinition): string[] {
  return graph.edges.flatMap(({ id, buffer: { sync } }) =>
    sync === undefined ? [] : [`${sync.group} ${sync.policy} ${sync.scope} ${id}`],
  );
}

function decisionOf(policy: PolicyResolution | undefined): { decision?: Omit<PolicyResolution, "bindings"> } {
  if (policy === undefined) return {};
  const { bindings: _shown, ...decision } = policy;
  return { decision };
}

function planProblem(inputs: PlanInputs): string {
  const graph: GraphDefinition = inputs.config.graph;
  for (const node of graph.nodes) {
    const provider = NODE_KINDS[node.kind].execution === "provider";
    if (provider && node.candidates.length === 0 && node.fallback === undefined)
      return `no_candidate: node ${node.id} has no provider that may serve`;
  }
  if (inputs.say && !graph.nodes.some((node) => node.kind === "tts"))
    return "no_speech_path: the graph has no text-to-speech node";
  return "";
}
