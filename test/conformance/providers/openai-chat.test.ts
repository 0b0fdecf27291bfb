import { createOpenAiChat } from "@rspp/provider-gateway/vendors/openai/chat";
import { startOpenAi } from "../../fakes/openai/server.ts";
import { describeProvider } from "./suite.ts";

describeProvider({
  name: "openai/chat",
  modality: "llm",
  fake: () => startOpenAi(),
  open: ({ baseUrl, key }, clock) => createOpenAiChat({ clock, baseUrl, key: () => key, options: {} }),
});
