import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { assistantGrammar } from "@rspp/provider-gateway/local/assistant-grammar";
import { createFlite } from "@rspp/provider-gateway/local/flite";
import { createPocketsphinx, isPocketsphinxAvailable } from "@rspp/provider-gateway/local/pocketsphinx";
import { createResponder } from "@rspp/provider-gateway/local/responder";
import { createSimLlm } from "@rspp/provider-gateway/sim/llm";
import { createSimStt } from "@rspp/provider-gateway/sim/stt";
import { createSimTts } from "@rspp/provider-gateway/sim/tts";
import { describeConformance } from "@rspp/provider-gateway/testing/conformance";
import { describe } from "vitest";

import { audio, format, question, reach } from "./invocation-rig.ts";

const overTheWire = { reach: { name: "over gRPC", open: reach } };
describeConformance(
  {
    create: (own) => createSimLlm({ clock: own }),
    clock: "system",
    settings: { first_chunk_ms: 50, chunk_ms: 5, jitter_ms: 3 },
    feed: (invocation) => invocation.push(question),
    badSetting: { name: "first_chunk_ms", value: "soon" },
  },
  { reach: { name: "over gRPC, a stream each", open: (port, provider) => reach(port, provider, false) } },
);
describeConformance(
  {
    create: (own) => createSimLlm({ clock: own }),
    clock: "system",
    settings: { first_chunk_ms: 50, chunk_ms: 5, jitter_ms: 3 },
    feed: (invocation) => invocation.push(question),
    badSetting: { name: "first_chunk_ms", value: "soon" },
  },
  overTheWire,
);
describeConformance(
  {
    create: (own) => createSimTts({ clock: own }),
    clock: "system",
    settings: { first_chunk_ms: 50 },
    feed: (invocation) => invocation.push({ kind: "text", text: "go on", segment: 0 }),
    badSetting: { name: "words", value: "yes" },
  },
  overTheWire,
);
describeConformance(
  {
    create: (own) => createSimStt({ clock: own }),
    clock: "system",
    settings: { transcripts: Array<string>(50).fill("one two three") },
    feed: (invocation) => invocation.push(audio(1000)),
    badSetting: { name: "transcripts", value: "one" },
  },
  overTheWire,
);
describeConformance(
  {
    create: (own) => createResponder({ clock: own }),
    clock: "system",
    settings: {},
    feed: (invocation) => invocation.push({ kind: "messages", messages: [{ role: "user", text: "hello" }] }),
    badSetting: { name: "chunk_ms", value: "soon" },
  },
  overTheWire,
);
describeConformance(
  {
    create: (own) => createFlite({ clock: own }),
    clock: "system",
    settings: { voice: "kal16" },
    feed: (invocation) => invocation.push({ kind: "text", text: "Go forward.", segment: 0 }),
    badSetting: { name: "voice", value: 3 },
  },
  overTheWire,
);

const spoken = "/usr/share/pocketsphinx/test/data/goforward.raw";
describe.runIf(isPocketsphinxAvailable() && existsSync(spoken))("the recogniser", () => {
  describeConformance(
    {
      create: (own) => createPocketsphinx({ clock: own }),
      clock: "system",
      settings: { grammar: assistantGrammar },
      feed: (invocation) => {
        const bytes = execFileSync("cat", [spoken]);
        invocation.push({ kind: "audio", bytes, format, durationUs: (bytes.length / 32) * 1000 });
      },
      badSetting: { name: "grammar", value: 5 },
    },
    overTheWire,
  );
});
