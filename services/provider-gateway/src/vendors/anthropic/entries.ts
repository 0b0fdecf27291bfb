import type { VendorEntry } from "../vendor.ts";

export const anthropicEntries: readonly VendorEntry[] = [
  {
    name: "anthropic/chat",
    modality: "llm",
    terms: "Anthropic's models",
    baseUrl: "https://api.anthropic.com",
    keyVariable: "ANTHROPIC_API_KEY",
    baseUrlVariable: "ANTHROPIC_BASE_URL",
    capabilities: { streamingOutput: true, tools: true },
    load: async () => (await import("./chat.ts")).createAnthropicChat,
  },
];
