/** Which providers serve a call, said in one clear line each. */
import type { ProviderPort } from "@rspp/ports/provider";
import { bindForSession, openAiCandidate } from "@rspp/spec/bind-providers";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import { InputError } from "./errors.ts";

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

/** @throws InputError when a provider node is left without a candidate. */
export function bindForCall(compiled: CompiledPipeline, gateway: ProviderPort, options: BindOptions): Bound {
  const available = gateway.providers();
  const { OPENAI_BASE_URL: baseUrl, OPENAI_API_KEY: key, OPENAI_MODEL: model } = process.env;
  const openai = openAiCandidate({ baseUrl, hasKey: Boolean(key), model });
  const bound = bindForSession(compiled, { ...options, available, llm: openai });
  if (!bound.ok) throw new InputError(`${bound.error.message}\n   help: ${bound.error.remedy}`);
  const pipeline = bound.value;
  const first = (kind: string): string =>
    pipeline.graph.nodes.find((node) => node.kind === kind)?.candidates[0]?.provider ?? "none";
  const recogniser = first("stt");
  const told = [recogniserLine(recogniser, available), `language model: ${first("llm")}; voice: ${first("tts")}`];
  return { pipeline, recogniser, llm: first("llm"), tts: first("tts"), told };
}

function recogniserLine(recogniser: string, available: readonly string[]): string {
  if (recogniser !== "sim/stt") return `recogniser: ${recogniser} (the audio is really recognised)`;
  const why = available.includes("local/pocketsphinx")
    ? "as asked"
    : "pocketsphinx is not installed: `apt-get install pocketsphinx pocketsphinx-en-us` for real recognition";
  return `recogniser: sim/stt, SIMULATED: it knows the words only from the text files beside the WAVs (${why})`;
}
