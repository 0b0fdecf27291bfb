/** Which providers serve a call, said in one clear line each. */
import type { ProviderCandidate } from "@rspp/kernel/graph";
import type { ProviderPort } from "@rspp/ports/provider";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import { bindProviders, requireCandidates } from "./pipeline.ts";

export interface Bound {
  pipeline: CompiledPipeline;
  recogniser: string;
  llm: string;
  tts: string;
  told: string[];
}

export interface BindOptions {
  /** What `sim/stt` knows of the utterances to come: from the files beside the WAVs. */
  transcripts: readonly string[];
  /** Insist on one recogniser. */
  stt?: string;
}

export function bindForCall(compiled: CompiledPipeline, gateway: ProviderPort, options: BindOptions): Bound {
  const available = gateway.providers();
  const openai = openAiCandidate();
  const { pipeline: named } = bindProviders(compiled, {
    available,
    overrides: { "sim/stt": { transcripts: [...options.transcripts] } },
    ...(openai === null ? {} : { first: { llm: openai } }),
    ...(options.stt === undefined ? {} : { only: { stt: options.stt } }),
  });
  const pipeline = withoutSimulatedFallback(named);
  requireCandidates(pipeline, available);
  const first = (kind: string): string =>
    pipeline.graph.nodes.find((node) => node.kind === kind)?.candidates[0]?.provider ?? "none";
  const recogniser = first("stt");
  const told = [recogniserLine(recogniser, available), `language model: ${first("llm")}; voice: ${first("tts")}`];
  return { pipeline, recogniser, llm: first("llm"), tts: first("tts"), told };
}

/**
 * Where audio is really recognised, the simulation does not stand behind it: its answer would pass for recognition, and its
 * transcripts, being settings of the plan, would enter the record at every level (F-153).
 */
function withoutSimulatedFallback(pipeline: CompiledPipeline): CompiledPipeline {
  const nodes = pipeline.graph.nodes.map((node) => {
    if (node.kind !== "stt" || node.candidates[0]?.provider === "sim/stt") return node;
    return { ...node, candidates: node.candidates.filter(({ provider }) => provider !== "sim/stt") };
  });
  return { ...pipeline, graph: { ...pipeline.graph, nodes } };
}

function recogniserLine(recogniser: string, available: readonly string[]): string {
  if (recogniser !== "sim/stt") return `recogniser: ${recogniser} (the audio is really recognised)`;
  const why = available.includes("local/pocketsphinx")
    ? "as asked"
    : "pocketsphinx is not installed: `apt-get install pocketsphinx pocketsphinx-en-us` for real recognition";
  return `recogniser: sim/stt, SIMULATED: it knows the words only from the text files beside the WAVs (${why})`;
}

/** Any OpenAI-compatible endpoint, when the environment names one and its key. The key itself stays a reference. */
function openAiCandidate(): ProviderCandidate | null {
  if (!process.env.OPENAI_BASE_URL || !process.env.OPENAI_API_KEY) return null;
  return {
    provider: "openai/chat",
    settings: { model: process.env.OPENAI_MODEL ?? "gpt-4o-mini", api_key: "env:OPENAI_API_KEY" },
  };
}
