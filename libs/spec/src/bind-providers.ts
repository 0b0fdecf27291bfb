/** Which of a pipeline's candidates serve in this process. Pure: what the environment holds is told in the options. */
import { err, ok, type Result } from "@rspp/base/result";
import { NODE_KINDS, type NodeDefinition, type ProviderCandidate, type Settings } from "@rspp/kernel/graph";
import type { CompiledPipeline } from "./compiled.ts";

export interface Binding {
  /** Names the gateway can open now. */
  available: readonly string[];
  /** Settings laid over those of the spec, by provider name. */
  overrides?: Readonly<Record<string, Settings>>;
  /** Candidates put before those of the spec, by node kind. */
  first?: Readonly<Partial<Record<NodeDefinition["kind"], ProviderCandidate>>>;
  /** Keep only these providers, by node kind. */
  only?: Readonly<Partial<Record<NodeDefinition["kind"], string>>>;
}

/** The candidates that may serve here, in the order of the spec; the rest are left out and named. */
export function bindProviders(
  compiled: CompiledPipeline,
  binding: Binding,
): { pipeline: CompiledPipeline; unavailable: string[] } {
  const unavailable: string[] = [];
  const nodes = compiled.graph.nodes.map((node) => {
    if (node.candidates.length === 0) return node;
    const first = binding.first?.[node.kind];
    const all = first === undefined ? node.candidates : [first, ...node.candidates];
    const wanted = binding.only?.[node.kind];
    const candidates: ProviderCandidate[] = [];
    for (const candidate of all) {
      if (wanted !== undefined && candidate.provider !== wanted) continue;
      if (!binding.available.includes(candidate.provider)) unavailable.push(candidate.provider);
      else
        candidates.push({
          provider: candidate.provider,
          settings: { ...candidate.settings, ...binding.overrides?.[candidate.provider] },
        });
    }
    return { ...node, candidates };
  });
  return { pipeline: withNodes(compiled, nodes), unavailable };
}

/** A provider node that nothing can serve here. */
export interface CandidatesMissing {
  node: string;
  message: string;
  remedy: string;
}

/** The pipeline, when each provider node is left with a candidate. */
export function requireCandidates(
  pipeline: CompiledPipeline,
  available: readonly string[],
): Result<CompiledPipeline, CandidatesMissing> {
  for (const { id, kind, candidates } of pipeline.graph.nodes) {
    if (NODE_KINDS[kind].execution !== "provider" || candidates.length > 0) continue;
    return err({
      node: id,
      message: `node ${id}: none of its providers can serve here`,
      remedy: `available are ${available.join(", ")}; name one of them under nodes[].provider.candidates`,
    });
  }
  return ok(pipeline);
}

/**
 * Where audio is really recognised, the simulation does not stand behind it: its answer would pass for recognition, and its
 * transcripts, being settings of the plan, would enter the record at every level (F-153).
 */
export function withoutSimulatedFallback(pipeline: CompiledPipeline): CompiledPipeline {
  const nodes = pipeline.graph.nodes.map((node) => {
    if (node.kind !== "stt" || node.candidates[0]?.provider === "sim/stt") return node;
    return { ...node, candidates: node.candidates.filter(({ provider }) => provider !== "sim/stt") };
  });
  return withNodes(pipeline, nodes);
}

/** What the environment says about an OpenAI-compatible endpoint. */
export interface OpenAiEnvironment {
  /** OPENAI_BASE_URL; undefined or empty: none. */
  baseUrl: string | undefined;
  /** Whether OPENAI_API_KEY is there; the key itself stays a reference. */
  hasKey: boolean;
  /** OPENAI_MODEL. Default gpt-4o-mini. */
  model: string | undefined;
}

/** Any OpenAI-compatible endpoint, when the environment names one; it is put before the spec's models. A key it may have. */
export function openAiCandidate({ baseUrl, hasKey, model }: OpenAiEnvironment): ProviderCandidate | null {
  if (baseUrl === undefined || baseUrl === "") return null;
  const key = hasKey ? { api_key: "env:OPENAI_API_KEY" } : {};
  return { provider: "openai/chat", settings: { model: model || "gpt-4o-mini", ...key } };
}

export interface SessionBinding {
  /** Names the gateway can open now. */
  available: readonly string[];
  /** What `sim/stt` knows of the utterances to come; of no other provider. */
  transcripts: readonly string[];
  /** Put before the spec's language models, see {@link openAiCandidate}; null none. */
  llm: ProviderCandidate | null;
  /** Insist on one recogniser. */
  stt?: string;
}

/** The rules above in the order every session of this product binds by. */
export function bindForSession(
  compiled: CompiledPipeline,
  { available, transcripts, llm, stt }: SessionBinding,
): Result<CompiledPipeline, CandidatesMissing> {
  const { pipeline } = bindProviders(compiled, {
    available,
    overrides: { "sim/stt": { transcripts: [...transcripts] } },
    ...(llm === null ? {} : { first: { llm } }),
    ...(stt === undefined ? {} : { only: { stt } }),
  });
  return requireCandidates(withoutSimulatedFallback(pipeline), available);
}

function withNodes(pipeline: CompiledPipeline, nodes: readonly NodeDefinition[]): CompiledPipeline {
  return { ...pipeline, graph: { ...pipeline.graph, nodes } };
}
