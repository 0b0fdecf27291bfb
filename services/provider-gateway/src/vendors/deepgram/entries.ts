import { hearingFormats } from "../stt/capabilities.ts";
import type { VendorEntry } from "../vendor.ts";

export const deepgramEntries: readonly VendorEntry[] = [
  {
    name: "deepgram/stt",
    modality: "stt",
    terms: "Deepgram, live or recorded",
    baseUrl: "https://api.deepgram.com",
    keyVariable: "DEEPGRAM_API_KEY",
    baseUrlVariable: "DEEPGRAM_BASE_URL",
    capabilities: {
      streamingInput: true,
      streamingOutput: true,
      partialResults: true,
      wordTimings: true,
      keyTerms: true,
      inputFormats: hearingFormats,
    },
    load: async () => (await import("./stt.ts")).createDeepgramStt,
  },
];
