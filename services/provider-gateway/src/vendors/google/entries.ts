import { speechFormats } from "../speech/capabilities.ts";
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
  {
    name: "google/tts",
    modality: "tts",
    terms: "Google Cloud Text-to-Speech, streamed for each clause",
    baseUrl: "https://texttospeech.googleapis.com",
    keyVariable: "GOOGLE_API_KEY",
    baseUrlVariable: "GOOGLE_TTS_BASE_URL",
    capabilities: { streamingInput: true, streamingOutput: true, pronunciations: true, outputFormats: speechFormats },
    load: async () => (await import("./tts.ts")).createGoogleTts,
  },
];
