import { createCohereChat } from "@rspp/provider-gateway/vendors/cohere/chat";
import { startCohere } from "../../fakes/cohere/server.ts";
import { describeProvider } from "./suite.ts";

describeProvider({
  name: "cohere/chat",
  modality: "llm",
  fake: () => startCohere(),
  open: ({ baseUrl, key }, clock) => createCohereChat({ clock, baseUrl, key: () => key, options: {} }),
});
