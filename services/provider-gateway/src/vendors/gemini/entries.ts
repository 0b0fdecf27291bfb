import type { VendorEntry } from "../vendor.ts";

export const geminiEntries: readonly VendorEntry[] = [
  {
    name: "gemini/chat",
    modality: "llm",
    terms: "Google's Gemini models",
    baseUrl: "https://generativelanguage.googleapis.com",
    keyVariable: "GEMINI_API_KEY",
    baseUrlVariable: "GEMINI_BASE_URL",
    capabilities: { streamingOutput: true, tools: true },
    load: async () => (await import("./chat.ts")).createGeminiChat,
  },
];
