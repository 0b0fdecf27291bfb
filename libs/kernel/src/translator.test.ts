import { expect, test } from "vitest";
import { INVOCATIONS_PER_TURN_MAX, TRANSLATIONS_PER_TURN_MAX } from "./limits.ts";
import { replayJournal } from "./replay.ts";
import { EAR_EDGES, EAR_NODES, graphOf, guardedGraph, VOICE_EDGES, VOICE_NODES } from "./testing/graphs.ts";
import { KernelHarness, node, testConfig } from "./testing/harness.ts";
import { askedOf, clauses, invocationOf } from "./testing/said.ts";
import { say, sealed } from "./testing/scenes.ts";

const TO_GERMAN = node("de", "translator", "turn", { source_language: "en", target_language: "de" }, ["a/x", "b/y"]);

/** Speech in, the same in another language out: no language model of its own. */
const INTERPRETER = graphOf(
  [...EAR_NODES, TO_GERMAN, ...VOICE_NODES],
  [
    ...EAR_EDGES,
    "stt.text -> endpointing.text",
    "endpointing.utterance -> de.text",
    "de.text -> segmenter.text",
    ...VOICE_EDGES,
  ],
);

function call(graph = guardedGraph([TO_GERMAN])): KernelHarness {
  const h = new KernelHarness(testConfig(graph));
  h.connect();
  return h;
}

function translated(h: KernelHarness, text: string): void {
  const de = invocationOf(h, "de");
  h.feed(h.textChunk(de, text), h.outcome(de));
}

test("F-010 an interpreter: what the caller said is asked for, and its translation is spoken and committed", () => {
  const h = call(INTERPRETER);
  h.utter("how are you");
  expect(askedOf(h, "de")).toEqual(["how are you"]);
  translated(h, "Wie geht es dir?");
  h.speakPending(20);
  expect(clauses(h)).toEqual(["Wie geht es dir?"]);
  expect(h.signals("commit")).toEqual(["commit#1"]);
  expect(sealed(h, 1).manifest.invocations?.map((inv) => `${inv.node} ${inv.modality} ${inv.outcome}`)).toContain(
    "de llm success",
  );
  expect(replayJournal(h.config, h.journal).identical).toBe(true);
});

test("F-010 clauses are translated while the reply still comes, one invocation at a time, in order", () => {
  const h = call();
  h.utter("tell me");
  const llm = h.open("llm");
  h.feed(h.textChunk(llm, "Once upon a time there was a fox. It li"));
  expect(askedOf(h, "de")).toEqual(["Once upon a time there was a fox. "]);
  h.feed(h.textChunk(llm, "ved in a wood. It slept. "));
  expect(askedOf(h, "de")).toHaveLength(1);
  translated(h, "Es war einmal ein Fuchs.");
  expect(askedOf(h, "de").at(-1)).toBe("It lived in a wood. It slept. ");
  h.feed(h.outcome(llm));
  translated(h, "Er lebte im Wald. Er schlief.");
  h.speakPending(5);
  // The white space that parted the originals parts the translations, too.
  expect(clauses(h).join("").trimEnd()).toBe("Es war einmal ein Fuchs. Er lebte im Wald. Er schlief.");
  expect(h.signals("commit")).toEqual(["commit#1"]);
});

test("F-010 the next candidate translates the same stretch when the first fails", () => {
  const h = call(INTERPRETER);
  h.utter("good morning");
  h.feed(h.outcome(invocationOf(h, "de"), "error"));
  translated(h, "Guten Morgen.");
  expect(askedOf(h, "de")).toEqual(["good morning", "good morning"]);
  expect(h.signals("provider_switch")).toEqual(["provider_switch#1(error)"]);
  expect(clauses(h)).toEqual(["Guten Morgen."]);
});

test("F-010 with no candidate left the turn aborts for its provider", () => {
  const h = call(INTERPRETER);
  h.utter("good morning");
  h.feed(h.outcome(invocationOf(h, "de"), "error"));
  h.feed(h.outcome(invocationOf(h, "de"), "error"));
  expect(h.signals("abort")).toEqual(["abort#1(provider_failure)"]);
});

test("F-010 a long reply opens a bounded number of invocations; the last takes the rest", () => {
  const h = call();
  h.utter("tell me");
  const llm = h.open("llm");
  for (let i = 0; i < 40; i++) {
    h.feed(h.textChunk(llm, `This is sentence number ${i} of many. `));
    if (invocationOf(h, "de") !== 0) translated(h, `Satz ${i}.`);
  }
  h.feed(h.outcome(llm));
  translated(h, "Der Rest.");
  const asked = askedOf(h, "de");
  expect(asked).toHaveLength(TRANSLATIONS_PER_TURN_MAX);
  expect(asked.at(-1)).toContain("number 39");
  expect(asked.join("").match(/number/g)).toHaveLength(40);
  h.speakPending(1);
  expect(h.signals("commit")).toEqual(["commit#1"]);
  expect(sealed(h, 1).manifest.invocations?.length).toBeLessThanOrEqual(INVOCATIONS_PER_TURN_MAX);
});

test("F-010 F-034 barge-in cancels the translation; nothing of it is heard, the next turn translates anew", () => {
  const h = call();
  h.utter("tell me");
  h.feed(h.textChunk(h.open("llm"), "Once upon a time there was a fox. "));
  const de = invocationOf(h, "de");
  h.hear(true, 6);
  expect(h.signals("abort")).toEqual(["abort#1(cancelled)"]);
  expect(h.feed(h.textChunk(de, "Es war")).filter(({ type }) => type === "egress_text")).toEqual([]);
  expect(clauses(h)).toEqual([]);
  h.fenceAck(1, 0);
});

test("F-010 given text of an interpreter is spoken as it is; that of an assistant is translated like any reply", () => {
  const interpreter = call(INTERPRETER);
  interpreter.feed(say(interpreter, "Willkommen."));
  interpreter.speakPending(5);
  expect(askedOf(interpreter, "de")).toEqual([]);
  expect(clauses(interpreter)).toEqual(["Willkommen."]);
  expect(interpreter.signals("commit")).toEqual(["commit#1"]);
  const assistant = call();
  assistant.feed(say(assistant, "Welcome."));
  expect(askedOf(assistant, "de")).toEqual(["Welcome."]);
});

test("F-010 given text of an interpreter into two languages at once is said once", () => {
  const graph = graphOf(
    [
      ...EAR_NODES,
      TO_GERMAN,
      { ...TO_GERMAN, id: "fr", settings: { target_language: "fr" } },
      node("join", "merge", "turn", { rule: "arrival/v1" }),
      ...VOICE_NODES,
    ],
    [
      ...EAR_EDGES,
      "stt.text -> endpointing.text",
      "endpointing.utterance -> de.text",
      "endpointing.utterance -> fr.text",
      "de.text -> join.text",
      "fr.text -> join.text",
      "join.text -> segmenter.text",
      ...VOICE_EDGES,
    ],
  );
  const h = call(graph);
  h.feed(say(h, "Welcome."));
  h.speakPending(5);
  expect(clauses(h)).toEqual(["Welcome."]);
  expect(h.signals("commit")).toEqual(["commit#1"]);
});
