/** From a checked spec to what a session runs (`kernel.md` §3): every value present, each with its source. */
import { invariant } from "@rspp/base/invariant";
import { err, ok, type Result } from "@rspp/base/result";
import type { EdgeDefinition, GraphDefinition, NodeDefinition, ProviderCandidate, Settings } from "@rspp/kernel/graph";
import { NODE_KINDS, portsOf } from "@rspp/kernel/graph";
import { resolveProfile } from "@rspp/kernel/profile";
import type { Budgets, SessionPolicy } from "@rspp/kernel/session-config";
import { PROFILE_DEFAULT } from "./check-values.ts";
import { compileBuffer, compileCondition } from "./compile-buffer.ts";
import { compileCustom } from "./compile-custom.ts";
import { compileDialogue, compileSpoken } from "./compile-dialogue.ts";
import { compileResilience } from "./compile-resilience.ts";
import { compileTools } from "./compile-tools.ts";
import type { CompiledPipeline } from "./compiled.ts";
import { compiledFingerprint } from "./fingerprint.ts";
import { edgeIdOf, parseEdge, resolveScopes, viewGraph } from "./graph-view.ts";
import type { NodeCatalogue, SpecOptions } from "./node-catalogue.ts";
import { checkSpec } from "./parse-spec.ts";
import type { SpecProblem } from "./problem.ts";
import { Sources } from "./sources.ts";
import type { BufferDocument, EdgeDocument, NodeDocument, PipelineSpec, VariablesDocument } from "./spec.ts";
import { compilePronunciations, withVocabulary } from "./vocabulary.ts";

/** Compiles a spec. Errors: the problems `parseSpec` would have found; a spec it returned has none. */
export function compileSpec(spec: PipelineSpec, options: SpecOptions = {}): Result<CompiledPipeline, SpecProblem[]> {
  const placed = compilePlaced(spec, options);
  return placed.ok ? ok(placed.value.compiled) : placed;
}

/** With the field of the spec that each value was written in, by its path (F-081). */
export function compilePlaced(
  spec: PipelineSpec,
  options: SpecOptions = {},
): Result<{ compiled: CompiledPipeline; places: ReadonlyMap<string, string> }, SpecProblem[]> {
  // Without the packages at hand a spec that needs them does not compile: each is reported as not here.
  const { nodes: nodeCatalogue = () => null } = options;
  const problems = checkSpec(spec, { nodes: nodeCatalogue });
  if (problems.length > 0) return err(problems);
  const profile = resolveProfile(spec.profile ?? PROFILE_DEFAULT);
  invariant(profile.ok, "a checked spec names a profile that runs", spec.profile);
  const sources = new Sources(spec, profile.value);
  sources.take("name", "name");
  sources.take("version", "version");
  if (spec.profile === undefined) sources.note("profile", "default");
  else sources.take("profile", "profile");
  const graph = withVocabulary(compileGraph(spec, sources, nodeCatalogue), spec, sources);
  const compiled: Omit<CompiledPipeline, "fingerprint"> = {
    name: spec.name,
    version: spec.version,
    profile: profile.value.name,
    graph,
    policy: compilePolicy(spec, sources),
    budgets: compileBudgets(spec, sources),
    recording: compileRecording(spec, sources),
    outputLeadMs: sources.pick("outputLeadMs", "output.lead_ms", spec.output?.lead_ms, profile.value.outputLeadMs),
    ...compileTexts(spec, graph, sources),
    ...(spec.variables === undefined ? {} : { variables: compileVariables(spec.variables, sources) }),
    ...(spec.origin.modules === undefined ? {} : { modules: spec.origin.modules }),
    provenance: sources.provenance,
  };
  return ok({ compiled: { ...compiled, fingerprint: compiledFingerprint(compiled) }, places: sources.places });
}

/** The fingerprint of a spec; errors as of `compileSpec`. */
export function specFingerprint(spec: PipelineSpec, options: SpecOptions = {}): Result<string, SpecProblem[]> {
  const compiled = compileSpec(spec, options);
  return compiled.ok ? ok(compiled.value.fingerprint) : compiled;
}

function compilePolicy(spec: PipelineSpec, sources: Sources): SessionPolicy {
  const given = spec.policy ?? {};
  const base = sources.profile.policy;
  const pick = <T>(field: string, key: string, value: T | undefined, fallback: T): T =>
    sources.pick(`policy.${field}`, `policy.${key}`, value, fallback);
  return {
    id: pick("id", "id", given.id, base.id),
    secondProposal: pick("secondProposal", "second_proposal", given.second_proposal, base.secondProposal),
    ...softOf(spec, sources),
    bargeIn: pick("bargeIn", "barge_in", given.barge_in, base.bargeIn),
    holdOnCandidate: pick("holdOnCandidate", "hold_on_candidate", given.hold_on_candidate, base.holdOnCandidate),
    lateEvents: pick("lateEvents", "late_events", given.late_events, base.lateEvents),
    speculation: pick("speculation", "speculation", given.speculation, base.speculation),
    finalWaitMs: pick("finalWaitMs", "final_wait_ms", given.final_wait_ms, base.finalWaitMs),
    reconnectMs: pick("reconnectMs", "reconnect_ms", given.reconnect_ms, base.reconnectMs),
    historyPartsMax: pick("historyPartsMax", "history_parts_max", given.history_parts_max, base.historyPartsMax),
    ...compileDialogue(spec, sources),
    ...compilePronunciations(spec, sources),
  };
}

function compileVariables(variables: VariablesDocument, sources: Sources): VariablesDocument {
  for (const [name, { default: fallback }] of Object.entries(variables)) {
    if (fallback === undefined) sources.take(`variables.${name}`, `variables.${name}`);
    else sources.take(`variables.${name}.default`, `variables.${name}.default`);
  }
  return variables;
}

/** F-041: absent where every cancel is hard. */
function softOf({ policy = {} }: PipelineSpec, sources: Sources): Pick<SessionPolicy, "cancelMode" | "softLimitMs"> {
  const { cancel_mode: mode, soft_limit_ms: limit } = policy;
  if (mode !== undefined) sources.take("policy.cancelMode", "policy.cancel_mode");
  if (limit !== undefined) sources.take("policy.softLimitMs", "policy.soft_limit_ms");
  return {
    ...(mode === undefined ? {} : { cancelMode: mode }),
    ...(limit === undefined ? {} : { softLimitMs: limit }),
  };
}

function compileBudgets(spec: PipelineSpec, sources: Sources): Budgets {
  const given = spec.budgets ?? {};
  const base = sources.profile.budgets;
  const pick = (field: keyof Budgets, key: string, value: number | undefined): number =>
    sources.pick(`budgets.${field}`, `budgets.${key}`, value, base[field]);
  return {
    turnFirstOutputMs: pick("turnFirstOutputMs", "turn_first_output_ms", given.turn_first_output_ms),
    nodeSoftMs: pick("nodeSoftMs", "node_soft_ms", given.node_soft_ms),
    providerAttemptMs: pick("providerAttemptMs", "provider_attempt_ms", given.provider_attempt_ms),
    cancelGraceMs: pick("cancelGraceMs", "cancel_grace_ms", given.cancel_grace_ms),
  };
}

function compileRecording(spec: PipelineSpec, sources: Sources): CompiledPipeline["recording"] {
  const given = spec.recording ?? {};
  const base = sources.profile.recording;
  const { sample_percent: sampled } = given;
  return {
    ...(sampled === undefined
      ? {}
      : { samplePercent: sources.pick("recording.samplePercent", "recording.sample_percent", sampled, 100) }),
    policyId: sources.pick("recording.policyId", "recording.policy_id", given.policy_id, base.policyId),
    ceiling: sources.pick("recording.ceiling", "recording.level", given.level, base.ceiling),
  };
}

function compileTexts(
  spec: PipelineSpec,
  graph: GraphDefinition,
  sources: Sources,
): Pick<CompiledPipeline, "greeting" | "systemPrompt" | "spoken" | "sttGrammar"> {
  const { greeting, system_prompt: systemPrompt } = spec.conversation ?? {};
  if (greeting !== undefined) sources.take("greeting", "conversation.greeting");
  if (systemPrompt !== undefined) sources.take("systemPrompt", "conversation.system_prompt");
  const stt = graph.nodes.find((node) => node.kind === "stt");
  const grammar = stt?.candidates.map((candidate) => candidate.settings.grammar).find((value) => value !== undefined);
  if (typeof grammar === "string") sources.note("sttGrammar", "spec");
  const spoken = compileSpoken(spec, sources);
  return {
    ...(spoken === undefined ? {} : { spoken }),
    ...(greeting === undefined ? {} : { greeting }),
    ...(systemPrompt === undefined ? {} : { systemPrompt }),
    ...(typeof grammar === "string" ? { sttGrammar: grammar } : {}),
  };
}

function compileGraph(spec: PipelineSpec, sources: Sources, nodeCatalogue: NodeCatalogue): GraphDefinition {
  const scopes = resolveScopes(viewGraph(spec, nodeCatalogue));
  const nodeSoftMs = spec.budgets?.node_soft_ms ?? sources.profile.budgets.nodeSoftMs;
  const nodes = spec.nodes.map((node, i) => {
    const made = compileNode(node, i, scopes.get(node.id) ?? "session", sources);
    if (node.kind !== "custom") return made;
    const place = { path: `nodes.${node.id}`, specPath: `nodes[${i}]`, nodeSoftMs };
    return { ...made, ...compileCustom(node, made.settings, nodeCatalogue, place, sources) };
  });
  const edges = spec.edges.map((edge, i) => compileEdge(edge, i, nodes, sources));
  return { pipelineVersion: `${spec.name}@${spec.version}`, nodes, edges, ...compileResilience(spec, sources) };
}

function compileNode(node: NodeDocument, index: number, scope: "session" | "turn", sources: Sources): NodeDefinition {
  const path = `nodes.${node.id}`;
  const specPath = `nodes[${index}]`;
  sources.take(`${path}.kind`, specPath);
  const fixed = NODE_KINDS[node.kind].scope !== "either";
  const chosen = node.scope === undefined ? "derived" : "spec";
  sources.note(`${path}.scope`, fixed ? `node_kind/${node.kind}` : chosen);
  const settings: Record<string, Settings[string]> = {};
  for (const [key, value] of Object.entries(sources.profile.nodeSettings[node.kind] ?? {})) {
    settings[key] = value;
    sources.note(`${path}.settings.${key}`, sources.profile.source);
  }
  for (const [key, value] of Object.entries(node.settings ?? {})) {
    settings[key] = value;
    sources.take(`${path}.settings.${key}`, `${specPath}.settings.${key}`);
  }
  const candidates = (node.provider?.candidates ?? []).map((_, i) => compileCandidate(node, index, i, sources));
  if (node.fallback !== undefined) sources.take(`${path}.fallback`, `${specPath}.fallback`);
  const retries = node.provider?.retries;
  if (retries !== undefined) sources.take(`${path}.retries`, `${specPath}.provider.retries`);
  const fallback = {
    ...(node.fallback === undefined ? {} : { fallback: node.fallback }),
    ...(retries === undefined ? {} : { retries }),
  };
  return {
    id: node.id,
    kind: node.kind,
    scope,
    settings,
    candidates,
    ...fallback,
    ...compileTools(node, index, sources),
  };
}

function compileCandidate(node: NodeDocument, index: number, at: number, sources: Sources): ProviderCandidate {
  const document = node.provider?.candidates[at];
  invariant(document !== undefined, "a candidate is compiled at its own index", at);
  const candidate = typeof document === "string" ? { name: document } : document;
  const path = `nodes.${node.id}.candidates[${at}]`;
  const specPath = `nodes[${index}].provider`;
  sources.take(`${path}.provider`, `${specPath}.candidates[${at}]`);
  const settings: Record<string, Settings[string]> = {};
  for (const [key, value] of Object.entries(impliedSettings(node))) {
    settings[key] = value;
    sources.note(`${path}.settings.${key}`, `node_kind/${node.kind}`);
  }
  const layers = [
    { given: node.provider?.settings, from: `${specPath}.settings` },
    { given: candidate.settings, from: `${specPath}.candidates[${at}].settings` },
  ];
  for (const { given, from } of layers) {
    for (const [key, value] of Object.entries(given ?? {})) {
      settings[key] = value;
      sources.take(`${path}.settings.${key}`, `${from}.${key}`);
    }
  }
  return { provider: candidate.name, settings };
}

/** What a model is told of the work of its node; the author's own settings are laid over it. */
function impliedSettings({ kind, settings }: NodeDocument): Settings {
  if (kind !== "translator") return {};
  const { source_language: source, target_language: target } = settings ?? {};
  const from = source === undefined ? "" : ` from ${String(source)}`;
  return {
    ...(source === undefined ? {} : { source_language: source }),
    ...(target === undefined ? {} : { target_language: target }),
    prompt: `Translate what the user says${from} into ${String(target)}. Answer with the translation alone.`,
  };
}

function compileEdge(
  document: string | EdgeDocument,
  index: number,
  nodes: readonly NodeDefinition[],
  sources: Sources,
): EdgeDefinition {
  const ends = parseEdge(document);
  const from = nodes.find((node) => node.id === ends?.from.node);
  const type = from && portsOf(from).outputs.find((port) => port.name === ends?.from.port)?.type;
  invariant(
    ends !== undefined && from !== undefined && type !== undefined,
    "a checked edge joins known ports",
    document,
  );
  const edge: Partial<EdgeDocument> = typeof document === "string" ? {} : document;
  const id = edge.id ?? edgeIdOf(ends.from, ends.to);
  const specPath = `edges[${index}]`;
  sources.take(`edges.${id}.from`, specPath);
  sources.take(`edges.${id}.to`, specPath);
  sources.note(`edges.${id}.type`, `node_kind/${from.kind}`);
  const place = { path: `edges.${id}.buffer`, specPath: `${specPath}.buffer` };
  return {
    id,
    from: ends.from,
    to: ends.to,
    type,
    buffer: compileBuffer(inFrontOf(nodes, ends.to.node, edge.buffer ?? {}), from.scope, type, place, sources),
    ...compileCondition(edge.condition, `edges.${id}.condition`, `${specPath}.condition`, sources),
  };
}

/** The queue in front of a custom node is its input edges' own, where these say nothing else. */
function inFrontOf(nodes: readonly NodeDefinition[], to: string, given: BufferDocument): BufferDocument {
  const most = nodes.find(({ id }) => id === to)?.limits?.queueMax ?? 0;
  return most === 0 || given.max_items !== undefined ? given : { ...given, max_items: most };
}
