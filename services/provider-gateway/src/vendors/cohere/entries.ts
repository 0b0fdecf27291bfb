import type { VendorEntry } from "../vendor.ts";

export const cohereEntries: readonly VendorEntry[] = [
  {
    name: "cohere/chat",
    modality: "llm",
    terms: "Cohere's models",
    baseUrl: "https://api.cohere.com",
    keyVariable: "COHERE_API_KEY",
    baseUrlVariable: "COHERE_BASE_URL",
    capabilities: { streamingOutput: true, tools: true },
    load: async () => (await import("./chat.ts")).createCohereChat,
  },
];
