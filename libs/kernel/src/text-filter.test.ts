import { expect, test } from "vitest";
import type { NodeDefinition } from "./graph.ts";
import {
  EAR_EDGES,
  EAR_NODES,
  graphOf,
  guardedGraph,
  MODEL_NODES,
  VOICE_EDGES,
  VOICE_NODES,
} from "./testing/graphs.ts";
import { KernelHarness, node, testConfig } from "./testing/harness.ts";
import { clauses, counted } from "./testing/said.ts";
import { conversation } from "./testing/scenes.ts";

function reply(settings: NodeDefinition["settings"], ...pieces: string[]): KernelHarness {
  const cut = node("cut", "segmenter", "turn", { first_min_chars: 1, min_chars: 1 });
  const h = new KernelHarness(testConfig(guardedGraph([cut, node("sieve", "filter", "turn", settings)])));
  h.connect();
  h.utter("tell me");
  const llm = h.open("llm");
  for (const piece of pieces) h.feed(h.textChunk(llm, piece));
  h.feed(h.outcome(llm));
  h.speakPending(2);
  return h;
}

function hearing(settings: NodeDefinition["settings"]): KernelHarness {
  const graph = graphOf(
    [...EAR_NODES, node("ear", "filter", "session", settings), ...MODEL_NODES, ...VOICE_NODES],
    [
      ...EAR_EDGES,
      "stt.text -> ear.text",
      "ear.text -> endpointing.text",
      "endpointing.utterance -> context.utterance",
      "context.messages -> llm.messages",
      "llm.text -> segmenter.text",
      ...VOICE_EDGES,
    ],
  );
  const h = new KernelHarness(testConfig(graph));
  h.connect();
  return h;
}

test("F-010 a filter drops clauses by word and by length, and counts what it drops", () => {
  const h = reply({ drop_words: ["um"], min_chars: 5 }, "Um, well. ", "The sum is two. ", "Ok. ");
  expect(clauses(h).join("")).toBe("well. The sum is two. ");
  expect(counted(h, "filter_dropped")).toEqual({ sieve: 2 });
  expect(h.signals("commit")).toEqual(["commit#1"]);
});

test("F-010 a filter that keeps only some words passes nothing else; a silent reply still commits", () => {
  const h = reply({ keep_words: ["fox"] }, "A cat. ", "A dog. ");
  expect(clauses(h)).toEqual([]);
  expect(h.signals("commit")).toEqual(["commit#1"]);
});

test("F-010 a filter without settings passes everything", () => {
  expect(clauses(reply({}, "A cat. ", "B. ")).join("")).toBe("A cat. B. ");
});

test("F-010 before the endpoint a filter keeps noise words out of turns and out of the conversation", () => {
  const h = hearing({ drop_words: ["uh"], min_chars: 3 });
  h.utter("uh");
  h.utter("no");
  expect(h.signals("turn_open_proposed")).toEqual([]);
  h.utter("what time is it");
  expect(h.signals("turn_open#")).toHaveLength(1);
  expect(conversation(h)).toEqual(["user: what time is it"]);
  expect(counted(h, "filter_dropped")).toEqual({ ear: 2 });
});

test("F-010 F-009 partials that are filtered leave no words behind when their final is dropped, too", () => {
  const h = hearing({ languages: ["en"] });
  h.hear(true, 6);
  const stt = h.open("stt");
  h.feed(h.textChunk(stt, "guten", { final: false, language: "" }));
  h.feed(h.textChunk(stt, "guten Tag", { final: true, language: "de" }), h.outcome(stt));
  h.hear(false, 6);
  expect(h.signals("turn_open_proposed")).toEqual([]);
  h.utter("good day", 6, "en-GB");
  expect(conversation(h)).toEqual(["user: good day"]);
});

test("F-010 final_only drops partials: the caller's transcript shows finals alone", () => {
  const h = hearing({ final_only: true });
  h.hear(true, 6);
  const stt = h.open("stt");
  h.feed(h.textChunk(stt, "good", { final: false }));
  h.feed(h.textChunk(stt, "good day", { final: true }));
  const told = h.log.flatMap(({ effect }) => (effect.type === "egress_text" ? [h.text(effect.spans)] : []));
  expect(told).toEqual(["good day"]);
});
