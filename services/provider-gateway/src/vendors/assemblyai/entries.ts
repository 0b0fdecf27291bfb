import { hearingFormats } from "../stt/capabilities.ts";
import type { VendorEntry } from "../vendor.ts";

export const assemblyAiEntries: readonly VendorEntry[] = [
  {
    name: "assemblyai/stt",
    modality: "stt",
    terms: "AssemblyAI, Universal Streaming or recorded",
    baseUrl: "https://api.assemblyai.com",
    keyVariable: "ASSEMBLYAI_API_KEY",
    baseUrlVariable: "ASSEMBLYAI_BASE_URL",
    // Streams are served under a host of their own; by default that of the base URL's region.
    options: { streaming_url: "ASSEMBLYAI_STREAMING_URL" },
    capabilities: {
      streamingInput: true,
      streamingOutput: true,
      partialResults: true,
      wordTimings: true,
      keyTerms: true,
      inputFormats: hearingFormats,
    },
    load: async () => (await import("./stt.ts")).createAssemblyAiStt,
  },
];
