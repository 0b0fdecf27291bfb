import { createGoogleTts } from "@rspp/provider-gateway/vendors/google/tts";
import { startGoogleTtsFake } from "../../fakes/google-tts/server.ts";
import { describeProvider } from "./suite.ts";

describeProvider({
  name: "google/tts",
  modality: "tts",
  fake: startGoogleTtsFake,
  open: (fake, clock) => createGoogleTts({ clock, baseUrl: fake.baseUrl, key: () => fake.key, options: {} }),
});
