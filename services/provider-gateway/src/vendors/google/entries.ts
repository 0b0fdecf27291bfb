import { hearingFormats } from "../stt/capabilities.ts";
import type { VendorEntry } from "../vendor.ts";

export const googleEntries: readonly VendorEntry[] = [
  {
    name: "google/stt",
    modality: "stt",
    terms: "Google Cloud Speech-to-Text, streamed or in one request",
    baseUrl: "https://speech.googleapis.com",
    keyVariable: "GOOGLE_API_KEY",
    // Google's services are hosts of their own, so that one base URL cannot serve them all.
    baseUrlVariable: "GOOGLE_STT_BASE_URL",
    capabilities: {
      streamingInput: true,
      streamingOutput: true,
      partialResults: true,
      wordTimings: true,
      keyTerms: true,
      inputFormats: hearingFormats,
    },
    load: async () => (await import("./stt.ts")).createGoogleStt,
  },
];
