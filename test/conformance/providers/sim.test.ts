/** The simulated providers and the local ones under the suite of every adapter. */
import { readFileSync } from "node:fs";
import { s16ToBytes } from "@rspp/audio/pcm";
import { parseWav } from "@rspp/audio/wav";
import { assistantGrammar } from "@rspp/provider-gateway/local/assistant-grammar";
import { createFlite } from "@rspp/provider-gateway/local/flite";
import { createPocketsphinx, isPocketsphinxAvailable } from "@rspp/provider-gateway/local/pocketsphinx";
import { createResponder } from "@rspp/provider-gateway/local/responder";
import { createSimLlm } from "@rspp/provider-gateway/sim/llm";
import { createSimStt } from "@rspp/provider-gateway/sim/stt";
import { createSimTts } from "@rspp/provider-gateway/sim/tts";
import { describe } from "vitest";
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
    modes: modality === "llm" ? ["streaming"] : ["streaming", "whole"],
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
  // It is as fast as the machine has time for it.
  settings: { stall_ms: 10_000 },
  input: { text: "Tell me about the long winding road to the sea." },
  stage: (clock) => plainStage(createFlite({ clock })),
});

describe.skipIf(!isPocketsphinxAvailable())("recognition on this machine", () => {
  const { samples } = parseWav(readFileSync(new URL("../../fixtures/questions/stop.wav", import.meta.url)));
  describeProvider({
    name: "local/pocketsphinx",
    modality: "stt",
    faults: [],
    scripted: false,
    // A partial is a process of its own over the audio so far; here none is due before the end.
    partials: false,
    language: "en-US",
    settings: { grammar: assistantGrammar, stall_ms: 10_000 },
    input: { audio: s16ToBytes(samples) },
    stage: (clock) => plainStage(createPocketsphinx({ clock })),
  });
});
