import { speechFormats } from "../speech/capabilities.ts";
import type { VendorEntry } from "../vendor.ts";

/** Stands for the region's own endpoint. */
export const pollyBaseUrl = "https://polly.amazonaws.com";

export const pollyEntries: readonly VendorEntry[] = [
  {
    name: "polly/tts",
    modality: "tts",
    terms: "Amazon Polly, a request for each clause",
    baseUrl: pollyBaseUrl,
    keyVariable: "AWS_SECRET_ACCESS_KEY",
    baseUrlVariable: "POLLY_BASE_URL",
    options: { access_key_id: "AWS_ACCESS_KEY_ID", region: "AWS_REGION" },
    capabilities: {
      streamingInput: true,
      streamingOutput: true,
      wordTimings: true,
      pronunciations: true,
      outputFormats: speechFormats,
    },
    load: async () => (await import("./tts.ts")).createPollyTts,
  },
];
