/** The simulated providers and the local ones under the suite of every adapter. */
import { createFlite } from "@rspp/provider-gateway/local/flite";
import { createResponder } from "@rspp/provider-gateway/local/responder";
import { createSimLlm } from "@rspp/provider-gateway/sim/llm";
import { createSimStt } from "@rspp/provider-gateway/sim/stt";
import { createSimTts } from "@rspp/provider-gateway/sim/tts";
import type { Fault } from "../../fakes/fake.ts";
import { plainStage, simStage } from "./sim-stage.ts";
import { describeProvider } from "./suite.ts";

/** Its streams break off by themselves, not over a connection that goes on saying something. */
const simFaults: readonly Fault[] = [
  "timeout_before",
  "timeout_midway",
  "unauthorized",
  "rate_limited",
  "server_error",
  "disconnect",
  "empty",
  "garbage",
];

for (const create of [createSimStt, createSimLlm, createSimTts]) {
  const { name, modality } = create({ clock: { timerAt: () => ({ clear: () => {} }) } as never });
  describeProvider({
    name,
    modality,
    modes: modality === "tts" ? ["streaming", "whole"] : ["streaming"],
    settings: { ms_per_char: 5 },
    faults: simFaults,
    stage: (clock) => simStage(create({ clock })),
  });
}

describeProvider({
  name: "local/responder",
  modality: "llm",
  modes: ["streaming"],
  faults: [],
  scripted: false,
  tools: false,
  settings: { chunk_ms: 5 },
  stage: (clock) => plainStage(createResponder({ clock })),
});

describeProvider({
  name: "local/flite",
  modality: "tts",
  faults: [],
  scripted: false,
  input: { text: "Tell me about the long winding road to the sea." },
  stage: (clock) => plainStage(createFlite({ clock })),
});
