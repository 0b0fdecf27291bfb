/** `assemblyai/stt` under the suite of every adapter, over the fake of its vendor. */
import { createAssemblyAiStt } from "@rspp/provider-gateway/vendors/assemblyai/stt";
import { startAssemblyAi } from "../../fakes/assemblyai/server.ts";
import { describeProvider } from "./suite.ts";

describeProvider({
  name: "assemblyai/stt",
  modality: "stt",
  fake: startAssemblyAi,
  open: ({ baseUrl, key }, clock) => createAssemblyAiStt({ clock, baseUrl, key: () => key, options: {} }),
  settings: { poll_ms: 2 },
});
