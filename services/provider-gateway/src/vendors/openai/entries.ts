import { speechFormats } from "../speech/capabilities.ts";
import { hearingFormats } from "../stt/capabilities.ts";
import type { VendorEntry } from "../vendor.ts";

const openai = {
  baseUrl: "https://api.openai.com/v1",
  keyVariable: "OPENAI_API_KEY",
  baseUrlVariable: "OPENAI_BASE_URL",
  // Ollama, vLLM, llama.cpp and others on one's own machine ask for none.
  keyOptional: true,
} as const;

export const openaiEntries: readonly VendorEntry[] = [
  {
    ...openai,
    name: "openai/chat",
    modality: "llm",
    terms: "OpenAI, or any OpenAI-compatible chat endpoint",
    capabilities: { streamingOutput: true, tools: true },
    load: async () => (await import("./chat.ts")).createOpenAiChat,
  },
  {
    ...openai,
    name: "openai/tts",
    modality: "tts",
    terms: "OpenAI, or any OpenAI-compatible speech endpoint, a request for each clause",
    capabilities: { streamingInput: true, streamingOutput: true, outputFormats: speechFormats },
    load: async () => (await import("./tts.ts")).createOpenAiTts,
  },
  {
    ...openai,
    name: "openai/stt",
    modality: "stt",
    terms: "OpenAI, or any OpenAI-compatible transcription endpoint, a request for each utterance",
    capabilities: {
      streamingOutput: true,
      partialResults: true,
      wordTimings: true,
      keyTerms: true,
      inputFormats: hearingFormats,
    },
    load: async () => (await import("./stt.ts")).createOpenAiStt,
  },
];
