/** `openai/stt` under the suite of every adapter, over the fake of its vendor. */
import { createOpenAiStt } from "@rspp/provider-gateway/vendors/openai/stt";
import { startOpenAiTranscriptions } from "../../fakes/openai/transcriptions.ts";
import { describeProvider } from "./suite.ts";

describeProvider({
  name: "openai/stt",
  modality: "stt",
  fake: startOpenAiTranscriptions,
  open: ({ baseUrl, key }, clock) => createOpenAiStt({ clock, baseUrl, key: () => key, options: {} }),
  language: "en-US",
  gathers: true,
});
