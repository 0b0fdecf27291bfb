import { createOpenAiTts } from "@rspp/provider-gateway/vendors/openai/tts";
import { startOpenAiSpeechFake } from "../../fakes/openai/speech.ts";
import { describeProvider } from "./suite.ts";

describeProvider({
  name: "openai/tts",
  modality: "tts",
  fake: startOpenAiSpeechFake,
  open: (fake, clock) => createOpenAiTts({ clock, baseUrl: fake.baseUrl, key: () => fake.key, options: {} }),
});
