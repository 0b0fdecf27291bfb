/** A policy's result on a pipeline: what stands for the whole session (F-017, F-062), and what each turn is bound by (F-056). */
import type { EdgeDefinition, GraphDefinition, NodeDefinition, ProviderCandidate, Settings } from "@rspp/kernel/graph";
import type { PolicyResolution } from "@rspp/kernel/policy";
import type { CompiledPipeline } from "../compiled.ts";
import { edgeIdOf } from "../graph-view.ts";
import type { ComplianceDocument, PolicyFacts, PolicyResult } from "./policy.ts";
import type { PolicyKind } from "./policy-schema.ts";

/** Ids of nodes that a policy has put in begin so; the author's may not collide, as they would have to be the same. */
export const POLICY_NODE_PREFIX = "policy-";

export interface AppliedPolicy {
  readonly pipeline: CompiledPipeline;
  /** What was changed, for the audit: `compliance policy-no-pii before voice`, `vad settings of vad`. */
  readonly changes: readonly string[];
}

/** @param source what provenance calls it, e.g. `policy/acme/default@3`. The fingerprint stays that of the published pipeline. */
export function applyPolicy(compiled: CompiledPipeline, result: PolicyResult, source: string): AppliedPolicy {
  const changes: string[] = [];
  const provenance: Record<string, string> = { ...compiled.provenance };
  let { graph } = compiled;
  for (const [kind, settings] of [
    ["vad", result.vad],
    ["endpointing", result.endpointing],
  ] as const) {
    if (settings === null) continue;
    graph = { ...graph, nodes: graph.nodes.map((node) => (node.kind === kind ? laid(node, settings) : node)) };
    for (const { id } of graph.nodes.filter((node) => node.kind === kind)) {
      for (const name of Object.keys(settings)) provenance[`nodes.${id}.settings.${name}`] = source;
      changes.push(`${kind} settings of ${id}: ${Object.keys(settings).join(", ")}`);
    }
  }
  for (const wanted of result.compliance) {
    const inserted = insertCompliance(graph, wanted);
    graph = inserted.graph;
    for (const { id, before } of inserted.added) {
      provenance[`nodes.${id}.kind`] = source;
      provenance[`nodes.${id}.scope`] = source;
      for (const name of Object.keys(wanted.settings)) provenance[`nodes.${id}.settings.${name}`] = source;
      changes.push(`compliance ${id} before ${before}`);
    }
  }
  if (changes.length === 0) return { pipeline: compiled, changes };
  for (const edge of graph.edges.filter(({ id }) => !compiled.graph.edges.some((known) => known.id === id))) {
    for (const field of ["from", "to", "type", ...Object.keys(edge.buffer).map((name) => `buffer.${name}`)])
      provenance[`edges.${edge.id}.${field}`] = source;
  }
  return { pipeline: { ...compiled, graph, provenance }, changes };
}

function laid(node: NodeDefinition, settings: Settings): NodeDefinition {
  return { ...node, settings: { ...node.settings, ...settings } };
}

/**
 * Before each voice: in front of the segmenter where there is one, since what is said is screened as text, not clause by
 * clause. A second insertion of the same rule finds its node there and adds nothing.
 */
function insertCompliance(
  graph: GraphDefinition,
  { id, settings }: ComplianceDocument,
): { graph: GraphDefinition; added: readonly { id: string; before: string }[] } {
  const kindOf = (node: string) => graph.nodes.find((one) => one.id === node)?.kind;
  const into = (node: string) => graph.edges.filter(({ to }) => to.node === node && to.port === "text");
  const spoken = graph.edges.filter(({ to }) => kindOf(to.node) === "tts" && to.port === "text");
  const cut = new Set(
    spoken.flatMap((edge) => (kindOf(edge.from.node) === "segmenter" ? into(edge.from.node) : [edge])),
  );
  const nodes: NodeDefinition[] = [...graph.nodes];
  const edges: EdgeDefinition[] = [];
  const added: { id: string; before: string }[] = [];
  for (const edge of graph.edges) {
    const name = `${POLICY_NODE_PREFIX}${id}${added.length === 0 ? "" : `-${added.length + 1}`}`;
    if (!cut.has(edge) || edge.from.node.startsWith(`${POLICY_NODE_PREFIX}${id}`) || kindOf(name) !== undefined) {
      edges.push(edge);
      continue;
    }
    nodes.push({ id: name, kind: "compliance", scope: "turn", settings, candidates: [] });
    added.push({ id: name, before: edge.to.node });
    const { condition: _first, ...plain } = edge;
    const [entry, exit] = [
      { node: name, port: "text" },
      { node: name, port: "text" },
    ];
    edges.push({ ...edge, id: edgeIdOf(edge.from, entry), to: entry, type: "text" });
    edges.push({ ...plain, id: edgeIdOf(exit, edge.to), from: exit, type: "text" });
  }
  return { graph: { ...graph, nodes, edges }, added };
}

/**
 * What turns are bound by from now on. Null where the policy and the health of providers leave everything as the pipeline
 * has it. @param available names the gateway can open; others are left out.
 */
export function resolvePolicy(
  { graph }: Pick<CompiledPipeline, "graph">,
  result: PolicyResult,
  facts: Pick<PolicyFacts, "providers">,
  { policy, available }: { readonly policy: string; readonly available: readonly string[] },
): PolicyResolution | null {
  const bindings: Record<string, readonly ProviderCandidate[]> = {};
  const reasons = [...result.reasons];
  for (const node of graph.nodes) {
    if (node.candidates.length === 0) continue;
    const wanted = result.candidates[node.kind as PolicyKind];
    const bound = wanted === undefined ? byHealth(node, facts, reasons) : chosen(node, wanted, available, reasons);
    if (bound !== null) bindings[node.id] = bound;
  }
  const posture = graph.degrade?.postures.some(({ id }) => id === result.degrade) === true ? result.degrade : "";
  if (result.degrade !== "" && posture === "") reasons.push(`the pipeline has no posture ${result.degrade}`);
  if (Object.keys(bindings).length === 0 && result.caps === null && posture === "" && policy === "") return null;
  return {
    policy,
    bindings,
    ...(result.caps === null ? {} : { caps: result.caps }),
    ...(posture === "" ? {} : { posture }),
    reasons: reasons.slice(0, REASONS_MAX).map((reason) => reason.slice(0, REASON_CHARS_MAX)),
  };
}

const REASONS_MAX = 32;
const REASON_CHARS_MAX = 200;

/** The policy's candidates with the pipeline's settings for them; the pipeline's own where none of them can serve here. */
function chosen(
  node: NodeDefinition,
  wanted: readonly ProviderCandidate[],
  available: readonly string[],
  reasons: string[],
): readonly ProviderCandidate[] | null {
  const common = commonSettings(node);
  const bound = wanted
    .filter(({ provider }) => available.includes(provider))
    .map(({ provider, settings }) => {
      const own = node.candidates.find((candidate) => candidate.provider === provider)?.settings ?? common;
      return { provider, settings: { ...own, ...settings } };
    });
  if (bound.length > 0) return bound;
  reasons.push(`${node.id}: none of the policy's candidates can serve here, the pipeline's are taken`);
  return null;
}

/** Those that all candidates share: what is one vendor's own, e.g. a model, is nothing to another. */
function commonSettings({ candidates: [first, ...rest] }: NodeDefinition): Settings {
  const shared = Object.entries(first?.settings ?? {}).filter(([name, value]) =>
    rest.every(({ settings }) => JSON.stringify(settings[name]) === JSON.stringify(value)),
  );
  return Object.fromEntries(shared);
}

/** F-060: what is not well comes last; null where that changes nothing. */
function byHealth(
  node: NodeDefinition,
  { providers }: Pick<PolicyFacts, "providers">,
  reasons: string[],
): readonly ProviderCandidate[] | null {
  const sick = node.candidates.filter(({ provider }) => providers[provider]?.healthy === false);
  if (sick.length === 0 || sick.length === node.candidates.length) return null;
  const ordered = [...node.candidates.filter((candidate) => !sick.includes(candidate)), ...sick];
  if (ordered.every((candidate, i) => candidate === node.candidates[i])) return null;
  for (const { provider } of sick) reasons.push(`${node.id}: ${provider} is not healthy, it comes last`);
  return ordered;
}
