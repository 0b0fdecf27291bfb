import { createElevenLabsTts } from "@rspp/provider-gateway/vendors/elevenlabs/tts";
import { startElevenLabsFake } from "../../fakes/elevenlabs/server.ts";
import { describeProvider } from "./suite.ts";

describeProvider({
  name: "elevenlabs/tts",
  modality: "tts",
  fake: startElevenLabsFake,
  open: (fake, clock) => createElevenLabsTts({ clock, baseUrl: fake.baseUrl, key: () => fake.key, options: {} }),
});
