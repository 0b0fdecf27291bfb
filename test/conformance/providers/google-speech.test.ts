/** `google/stt` under the suite of every adapter, over the fake of its vendor. */
import { createGoogleStt } from "@rspp/provider-gateway/vendors/google/stt";
import { startGoogleSpeech } from "../../fakes/google-speech/server.ts";
import { describeProvider } from "./suite.ts";

describeProvider({
  name: "google/stt",
  modality: "stt",
  fake: startGoogleSpeech,
  open: ({ baseUrl, key }, clock) => createGoogleStt({ clock, baseUrl, key: () => key, options: {} }),
  language: "en-US",
});
