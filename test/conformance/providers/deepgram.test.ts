/** `deepgram/stt` under the suite of every adapter, over the fake of its vendor. */
import { createDeepgramStt } from "@rspp/provider-gateway/vendors/deepgram/stt";
import { startDeepgram } from "../../fakes/deepgram/server.ts";
import { describeProvider } from "./suite.ts";

describeProvider({
  name: "deepgram/stt",
  modality: "stt",
  fake: startDeepgram,
  open: ({ baseUrl, key }, clock) => createDeepgramStt({ clock, baseUrl, key: () => key, options: {} }),
  language: "en-US",
});
