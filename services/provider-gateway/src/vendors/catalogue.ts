/** Every vendor that the gateway knows. Nothing here imports a vendor's code; each vendor adds its line. */
import { anthropicEntries } from "./anthropic/entries.ts";
import { assemblyAiEntries } from "./assemblyai/entries.ts";
import { cohereEntries } from "./cohere/entries.ts";
import { deepgramEntries } from "./deepgram/entries.ts";
import { elevenLabsEntries } from "./elevenlabs/entries.ts";
import { geminiEntries } from "./gemini/entries.ts";
import { googleEntries } from "./google/entries.ts";
import { openaiEntries } from "./openai/entries.ts";
import { pollyEntries } from "./polly/entries.ts";
import type { VendorEntry } from "./vendor.ts";

export const vendorCatalogue: readonly VendorEntry[] = [
  ...openaiEntries,
  ...anthropicEntries,
  ...cohereEntries,
  ...geminiEntries,
  ...deepgramEntries,
  ...assemblyAiEntries,
  ...googleEntries,
  ...elevenLabsEntries,
  ...pollyEntries,
];
