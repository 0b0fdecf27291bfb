import { createGeminiChat } from "@rspp/provider-gateway/vendors/gemini/chat";
import { startGemini } from "../../fakes/gemini/server.ts";
import { describeProvider } from "./suite.ts";

describeProvider({
  name: "gemini/chat",
  modality: "llm",
  fake: () => startGemini(),
  open: ({ baseUrl, key }, clock) => createGeminiChat({ clock, baseUrl, key: () => key, options: {} }),
});
