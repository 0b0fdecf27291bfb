import { speechFormats } from "../speech/capabilities.ts";
import type { VendorEntry } from "../vendor.ts";

export const elevenLabsEntries: readonly VendorEntry[] = [
  {
    name: "elevenlabs/tts",
    modality: "tts",
    terms: "ElevenLabs, text streamed in and audio out",
    baseUrl: "https://api.elevenlabs.io",
    keyVariable: "ELEVENLABS_API_KEY",
    baseUrlVariable: "ELEVENLABS_BASE_URL",
    capabilities: {
      streamingInput: true,
      streamingOutput: true,
      wordTimings: true,
      pronunciations: true,
      outputFormats: speechFormats,
    },
    load: async () => (await import("./tts.ts")).createElevenLabsTts,
  },
];
