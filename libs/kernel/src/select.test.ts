import { expect, test } from "vitest";
import { parseChoice } from "./choice.ts";
import { replayJournal } from "./replay.ts";
import { EAR_EDGES, EAR_NODES, graphOf, MODEL_NODES, VOICE_EDGES, VOICE_NODES } from "./testing/graphs.ts";
import { KernelHarness, node, testConfig } from "./testing/harness.ts";
import { clauses, counted, decisions, invocationOf } from "./testing/said.ts";

/** The reply as it is, or translated. */
function bilingual(choose: string[], variables: Record<string, string> = {}): KernelHarness {
  const graph = graphOf(
    [
      ...EAR_NODES,
      ...MODEL_NODES,
      node("de", "translator", "turn", { target_language: "de" }, ["a/x", "b/y"]),
      node("pick", "select", "turn", { choose }),
      ...VOICE_NODES,
    ],
    [
      ...EAR_EDGES,
      "stt.text -> endpointing.text",
      "endpointing.utterance -> context.utterance",
      "context.messages -> llm.messages",
      "llm.text -> de.text",
      "de.text -> pick.text",
      "llm.text -> pick.text",
      "pick.text -> segmenter.text",
      ...VOICE_EDGES,
    ],
  );
  const h = new KernelHarness(testConfig(graph, { variables }));
  h.connect();
  return h;
}

function turn(h: KernelHarness, language: string): void {
  h.utter("hello", 6, language);
  const llm = invocationOf(h, "llm");
  h.feed(h.textChunk(llm, "Good day."), h.outcome(llm));
  const de = invocationOf(h, "de");
  if (de !== 0) h.feed(h.textChunk(de, "Guten Tag."), h.outcome(de));
  h.speakPending(5);
  const number = h.state.lastTurn;
  h.deliver(number, "accepted", 0);
  h.deliver(number, "started", 0);
  h.advance(1_000);
  h.deliver(number, "completed", h.state.turns[0]?.output.sentUs ?? 0);
}

test("F-006 F-010 a language that flips in mid-session changes the choice and leaves an audit event", () => {
  const h = bilingual(["de: language = de", "llm: otherwise"]);
  turn(h, "en-US");
  turn(h, "de-DE");
  turn(h, "de");
  turn(h, "en");
  expect(clauses(h)).toEqual(["Good day.", "Guten Tag.", "Guten Tag.", "Good day."]);
  expect(decisions(h)).toEqual([
    'condition {"node":"pick","condition":"otherwise","input":"llm"}',
    'condition {"node":"pick","condition":"language=de","input":"de","inputBefore":"llm"}',
    'condition {"node":"pick","condition":"otherwise","input":"llm","inputBefore":"de"}',
  ]);
  expect(h.signals("commit")).toHaveLength(4);
  // In a German turn the untranslated reply, in an English one whatever of the translation came in time, is not heard.
  expect(counted(h, "select_dropped").pick).toBeGreaterThanOrEqual(2);
  expect(replayJournal(h.config, h.journal).identical).toBe(true);
});

test("F-006 a session variable chooses; a value that is not listed does not", () => {
  const chosen = (tier: string): string[] => {
    const h = bilingual(["de: variable.tier = gold, silver", "llm: otherwise"], { tier });
    turn(h, "en");
    return clauses(h);
  };
  expect(chosen("silver")).toEqual(["Guten Tag."]);
  expect(chosen("bronze")).toEqual(["Good day."]);
});

test("F-006 the provider that serves a branch, and its health, choose", () => {
  const h = bilingual(["llm: provider = sim/llm-b", "de: health = healthy", "llm: otherwise"]);
  turn(h, "en");
  expect(clauses(h)).toEqual(["Guten Tag."]);
  // The first model fails, the second serves: the first condition holds.
  h.utter("hello");
  h.feed(h.outcome(invocationOf(h, "llm"), "error"));
  const llm = invocationOf(h, "llm");
  h.feed(h.textChunk(llm, "Good day."), h.outcome(llm));
  expect(clauses(h).at(-1)).toBe("Good day.");
  expect(decisions(h).at(-1)).toContain("provider=sim/llm-b");
});

test("F-006 conditions of another form are none", () => {
  expect(parseChoice("de: language = de, fr")).toEqual({ input: "de", attribute: "language", values: ["de", "fr"] });
  expect(parseChoice("llm: otherwise")).toEqual({ input: "llm", attribute: "", values: [] });
  for (const line of [
    "de",
    "de: language",
    "de: colour = red",
    "de: language = ",
    "de: language = a,,b",
    ": otherwise",
  ])
    expect(parseChoice(line), line).toBeNull();
});
