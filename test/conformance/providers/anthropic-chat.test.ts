import { createAnthropicChat } from "@rspp/provider-gateway/vendors/anthropic/chat";
import { startAnthropic } from "../../fakes/anthropic/server.ts";
import { describeProvider } from "./suite.ts";

describeProvider({
  name: "anthropic/chat",
  modality: "llm",
  fake: () => startAnthropic(),
  open: ({ baseUrl, key }, clock) => createAnthropicChat({ clock, baseUrl, key: () => key, options: {} }),
});
