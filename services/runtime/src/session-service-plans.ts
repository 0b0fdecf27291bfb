/** Resolved plans of the kernel in the contract's form: what a session and its open or last turn run by. */
import { createHash } from "node:crypto";
import { create, type JsonObject, type MessageInitShape } from "@bufbuild/protobuf";
import { canonicalJson } from "@rspp/base/canonical-json";
import { RecordingLevel } from "@rspp/gen/rspp/common/v1/lane_pb";
import { CancelMode, LateEvent, OverlapPolicy, SecondProposal } from "@rspp/gen/rspp/pipeline/v1/arbitration_pb";
import { BudgetOutcome, BudgetScope } from "@rspp/gen/rspp/pipeline/v1/budget_pb";
import { SideEffectClass, StateScope } from "@rspp/gen/rspp/pipeline/v1/pipeline_pb";
import { AdaptiveAction, Modality } from "@rspp/gen/rspp/pipeline/v1/provider_binding_pb";
import {
  type ResolvedTurnPlan,
  ResolvedTurnPlanSchema,
  type SessionPlan,
  SessionPlanSchema,
  ValueSource,
} from "@rspp/gen/rspp/plan/v1/plan_pb";
import { hasConditions } from "@rspp/kernel/conditions";
import { NODE_KINDS, type NodeDefinition } from "@rspp/kernel/graph";
import { CONDITION_EVALUATOR } from "@rspp/kernel/pure-functions";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { validate } from "@rspp/wire/validate";
import { turnIdOf } from "@rspp/wire/wire-event";
import type { RuntimeSession } from "./runtime.ts";
import { edgeOf } from "./session-service-edges.ts";
import type { PlanRecord, SessionView } from "./session-view.ts";

export interface PlanMessages {
  readonly sessionPlan?: SessionPlan;
  readonly turnPlan?: ResolvedTurnPlan;
}

type Init = MessageInitShape<typeof ResolvedTurnPlanSchema>;

/** What was planned so far; a plan that has no legal form in the contract is left out. */
export function planMessages(session: Pick<RuntimeSession, "config" | "view">): PlanMessages {
  const { config } = session;
  const view = session.view();
  const sessionPlan = view.sessionPlan === null ? null : sessionPlanOf(config, view, view.sessionPlan);
  const turnPlan = view.turnPlan === null ? null : turnPlanOf(config, view, view.turnPlan);
  return {
    ...(sessionPlan !== null && validate(SessionPlanSchema, sessionPlan).ok ? { sessionPlan } : {}),
    ...(turnPlan !== null && validate(ResolvedTurnPlanSchema, turnPlan).ok ? { turnPlan } : {}),
  };
}

function sessionPlanOf(config: SessionConfig, { epoch }: SessionView, record: PlanRecord): SessionPlan {
  const { tenantId, sessionId } = config;
  return create(SessionPlanSchema, {
    ...shared(config, record, epoch),
    ...graphOf(config, "session"),
    session: { tenantId, sessionId },
  });
}

function turnPlanOf(
  config: SessionConfig,
  { epoch, level }: SessionView,
  record: Extract<PlanRecord, { kind: "plan" }>,
): ResolvedTurnPlan {
  const plan = record.plan as { epoch?: number; admissionOutcome?: string; streaming?: string; variablesHash?: string };
  const levels = { L0: RecordingLevel.L0, L1: RecordingLevel.L1, L2: RecordingLevel.L2 } as const;
  const planEpoch = plan.epoch ?? epoch;
  return create(ResolvedTurnPlanSchema, {
    ...shared(config, record, planEpoch),
    ...graphOf(config, "turn", planned(record).bindings),
    turnId: turnIdOf(record.turn),
    budgets: budgetsOf(config),
    recording: { level: levels[level], ceiling: levels[config.recording.ceiling] },
    admissionOutcome: plan.admissionOutcome || "admit",
    authorityEpoch: BigInt(planEpoch),
    variablesDigest: bytesOf(plan.variablesHash ?? ""),
    streamingHandoff: plan.streaming ?? "",
  });
}

/** What both kinds of plan say. */
function shared(config: SessionConfig, record: PlanRecord, epoch: number) {
  const at = config.graph.pipelineVersion.lastIndexOf("@");
  const version = Number(config.graph.pipelineVersion.slice(at + 1));
  return {
    schemaVersion: 1,
    planId: record.planId,
    planHash: bytesOf(record.hash),
    pipeline: { name: config.graph.pipelineVersion.slice(0, at), version: Number.isInteger(version) ? version : 0 },
    executionProfile: config.profile,
    arbitration: arbitrationOf(config),
    determinism: determinismOf(config, epoch),
    snapshots: snapshotsOf(planned(record).snapshots ?? config.snapshots),
    provenance: provenanceOf(config),
  };
}

interface Planned {
  readonly snapshots?: SessionConfig["snapshots"];
  readonly bindings?: readonly { readonly node: string; readonly candidates: NodeDefinition["candidates"] }[];
}

/** What the plan itself froze, which a policy may have set apart from the session's configuration. */
function planned({ plan }: PlanRecord): Planned {
  return plan as Planned;
}

function graphOf(
  { graph, budgets, provenance }: SessionConfig,
  scope: "session" | "turn",
  bindings: Planned["bindings"] = [],
) {
  const bound = new Map(bindings.map(({ node, candidates }) => [node, candidates]));
  const nodes = graph.nodes
    .filter((node) => node.scope === scope)
    .map((node) => ({ ...node, candidates: bound.get(node.id) ?? node.candidates }));
  const ids = new Set(nodes.map(({ id }) => id));
  return {
    nodes: nodes.map((node) => ({
      ...nodeOf(node, budgets),
      insertedBy: insertedBy(provenance[`nodes.${node.id}.kind`]),
    })),
    edges: graph.edges.filter(({ to }) => ids.has(to.node)).map(edgeOf),
    providers: nodes.flatMap((node) => providerOf(node, budgets)),
  };
}

/** F-081: the module, template or policy a node came from; empty for one that stands in the spec itself. */
function insertedBy(from = ""): string {
  return /^(module|template|policy)\//.test(from) ? from.slice(0, 128) : "";
}

function nodeOf(node: NodeDefinition, { nodeSoftMs }: SessionConfig["budgets"]) {
  return {
    id: node.id,
    kind: node.kind,
    pure: NODE_KINDS[node.kind].execution === "pure",
    configDigest: sha256(canonicalJson(node.settings)),
    sideEffect: SideEffectClass.NONE,
    stateScope: node.scope === "session" ? StateScope.SESSION : StateScope.TURN,
    limits: {
      maxConcurrency: node.limits?.maxInFlight ?? 1,
      eventTimeoutMs: node.limits?.eventTimeoutMs ?? nodeSoftMs,
    },
    fallbackNodeId: node.fallback ?? "",
    settings: shownSettings(node.settings),
  };
}

const SECRET = /(?:^|_)(?:key|secret|token|password)$/;
const REFERENCE = /^(?:env|file|mount|secret):/;

/** As they are, without what callers are to say where that is simulated; of a secret nothing but its reference. */
function shownSettings({ transcripts: _, ...settings }: NodeDefinition["settings"]): JsonObject {
  const shown = Object.entries(settings).filter(
    ([name, value]) => !SECRET.test(name) || (typeof value === "string" && REFERENCE.test(value)),
  );
  return Object.fromEntries(shown) as JsonObject;
}

const modalities: Readonly<Record<string, Modality>> = { stt: Modality.STT, llm: Modality.LLM, tts: Modality.TTS };

function providerOf(
  { id: nodeId, kind, candidates, fallback }: NodeDefinition,
  { providerAttemptMs }: SessionConfig["budgets"],
) {
  const modality = modalities[kind];
  if (modality === undefined || candidates.length === 0) return [];
  const wired = candidates.map(({ provider, settings }) => {
    // What callers are to say, where it is simulated, is content of theirs and no setting to be shown.
    const { transcripts: _, api_key, model, ...rest } = settings;
    return {
      provider,
      model: typeof model === "string" ? model : "",
      settings: rest as unknown as JsonObject,
      secretRef: typeof api_key === "string" ? api_key : "",
      attemptTimeoutMs: providerAttemptMs,
      streaming: true,
    };
  });
  const allowedActions = [AdaptiveAction.SWITCH, ...(fallback === undefined ? [] : [AdaptiveAction.FALLBACK])];
  return [{ nodeId, binding: { modality, candidates: wired, allowedActions } }];
}

function arbitrationOf({ policy, budgets }: SessionConfig): NonNullable<Init["arbitration"]> {
  const seconds = { preempt: SecondProposal.PREEMPT, queue: SecondProposal.QUEUE, drop: SecondProposal.DROP } as const;
  const late = { drop: LateEvent.DROP, remap: LateEvent.REMAP, diagnose: LateEvent.DIAGNOSE } as const;
  return {
    overlap: OverlapPolicy.REFUSE,
    secondProposal: seconds[policy.secondProposal],
    lateEvent: late[policy.lateEvents],
    bargeIn: {
      enabled: policy.bargeIn,
      holdOnCandidate: policy.holdOnCandidate,
      cancelMode: policy.cancelMode === "soft" ? CancelMode.SOFT : CancelMode.HARD,
      ...(policy.minSpeechMs === undefined ? {} : { minSpeechMs: policy.minSpeechMs }),
      ...(policy.backChannel === undefined ? {} : { backChannelWords: [...policy.backChannel.words] }),
      ...(policy.echoGuard === undefined ? {} : { echoGuard: true }),
    },
    cancelGraceMs: budgets.cancelGraceMs,
  };
}

function determinismOf({ seed, behaviours, graph }: SessionConfig, epoch: number): NonNullable<Init["determinism"]> {
  const bytes = new TextEncoder().encode(seed);
  return {
    seed: bytes.length <= 32 ? bytes : sha256(seed),
    epoch: BigInt(epoch),
    evaluatorVersion: hasConditions(graph) ? `text-functions/1+${CONDITION_EVALUATOR}` : "text-functions/1",
    behaviourFlags: [...behaviours],
    level: 1,
  };
}

const budgetScopes: Readonly<Record<string, BudgetScope>> = {
  event: BudgetScope.EVENT,
  node: BudgetScope.NODE,
  edge: BudgetScope.EDGE,
  path: BudgetScope.PATH,
  turn: BudgetScope.TURN,
  provider_invocation: BudgetScope.PROVIDER_INVOCATION,
};
const budgetOutcomes: Readonly<Record<string, BudgetOutcome>> = {
  continue: BudgetOutcome.CONTINUE,
  degrade: BudgetOutcome.DEGRADE,
  fallback: BudgetOutcome.FALLBACK,
  terminate: BudgetOutcome.TERMINATE,
};

function budgetsOf({ budgets, graph }: SessionConfig): NonNullable<Init["budgets"]> {
  const { turnFirstOutputMs, nodeSoftMs, providerAttemptMs } = budgets;
  const declared = (graph.budgets?.limits ?? []).map((limit) => ({
    scope: budgetScopes[limit.scope] ?? 0,
    targetId: limit.target,
    softMs: limit.softMs ?? 0,
    hardMs: limit.hardMs ?? 0,
    tokens: BigInt(limit.tokens ?? 0),
    audioMs: BigInt(limit.audioMs ?? 0),
    characters: BigInt(limit.characters ?? 0),
    costMicros: BigInt(limit.costMicros ?? 0),
    onExhausted: budgetOutcomes[limit.onExhausted] ?? 0,
  }));
  return [
    ...declared,
    { scope: BudgetScope.NODE, softMs: nodeSoftMs, onExhausted: BudgetOutcome.CONTINUE },
    { scope: BudgetScope.TURN, softMs: turnFirstOutputMs, onExhausted: BudgetOutcome.DEGRADE },
    { scope: BudgetScope.PROVIDER_INVOCATION, hardMs: providerAttemptMs, onExhausted: BudgetOutcome.FALLBACK },
  ];
}

function snapshotsOf(snapshots: SessionConfig["snapshots"]): NonNullable<Init["snapshots"]> {
  return Object.entries(snapshots)
    .map(([kind, version]) => ({ kind: kind.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), version }))
    .filter(({ version }) => version !== "")
    .map(({ kind, version }) => ({ kind, version: version.replace(/!stale$/, ""), stale: version.endsWith("!stale") }));
}

function provenanceOf({ provenance }: SessionConfig): NonNullable<Init["provenance"]> {
  return Object.entries(provenance).map(([field, from]) => {
    const profile = /^defaulting_source=(.*)$/.exec(from)?.[1];
    const source = profile === undefined ? layerOf(from) : ValueSource.EXECUTION_PROFILE;
    return { field, source, sourceRef: (profile ?? from).slice(0, 160) };
  });
}

/** F-080: which layer of configuration a value came from. */
function layerOf(from: string): ValueSource {
  if (from.startsWith("environment/")) return ValueSource.ENVIRONMENT;
  if (from.startsWith("policy/")) return ValueSource.POLICY;
  if (from.startsWith("tenant/")) return ValueSource.TENANT;
  return from === "session" ? ValueSource.SESSION : ValueSource.SPEC;
}

function sha256(text: string): Uint8Array {
  return new Uint8Array(createHash("sha256").update(text).digest());
}

function bytesOf(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, "hex"));
}
