import { createPollyTts } from "@rspp/provider-gateway/vendors/polly/tts";
import { pollyKeyId, pollyRegion, startPollyFake } from "../../fakes/polly/server.ts";
import { describeProvider } from "./suite.ts";

describeProvider({
  name: "polly/tts",
  modality: "tts",
  fake: startPollyFake,
  open: (fake, clock) =>
    createPollyTts({
      clock,
      baseUrl: fake.baseUrl,
      key: () => fake.key,
      options: { access_key_id: pollyKeyId, region: pollyRegion },
    }),
});
