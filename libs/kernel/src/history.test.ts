import { describe, expect, test } from "vitest";
import type { HistoryPolicy } from "./dialogue-policy.ts";
import { tokensOf } from "./history.ts";
import { replayJournal } from "./replay.ts";
import { assistantGraph, KernelHarness, POLICY, testConfig } from "./testing/harness.ts";
import { conversation, lastMessages } from "./testing/scenes.ts";

const PROMPT = "Sum it up.";
const SUMMED = { node: "llm", charsMax: 40 };

function call(history: Omit<HistoryPolicy, "estimator">): KernelHarness {
  const spoken = { "history.summary": [{ ref: 9_000, from: 0, to: PROMPT.length }] };
  const policy = { ...POLICY, history: { estimator: "chars/4@1" as const, ...history } };
  const h = new KernelHarness(testConfig(assistantGraph(), { policy, spoken }));
  h.texts.set(9_000, PROMPT);
  h.connect();
  return h;
}

/** A turn heard to its end, or up to `playedUs` of it. */
function turn(h: KernelHarness, number: number, asks: string, answer: string, playedUs = -1): void {
  h.utter(asks);
  const llm = h.state.turns[0]?.openInvocations[0] ?? 0;
  h.feed(h.textChunk(llm, answer), h.outcome(llm));
  h.speakPending();
  h.deliver(number, "accepted", 0);
  h.deliver(number, "started", 0);
  h.advance(500);
  const sentUs = h.state.turns[0]?.output.sentUs ?? 0;
  if (playedUs === -1) h.deliver(number, "completed", sentUs);
  else h.deliver(number, "lost", playedUs);
}

const summaries = (h: KernelHarness): string[] =>
  h.log.flatMap(({ effect }) =>
    effect.type === "telemetry" && effect.name.startsWith("history_summary") ? [effect.name] : [],
  );

/** The invocation that writes the summary, and what it was told. */
function writer(h: KernelHarness): { id: number; told: string[] } {
  const id = h.state.dialogue?.summary?.invocation ?? 0;
  return { id, told: lastMessages(h) };
}

function replays(h: KernelHarness): void {
  expect(replayJournal(h.config, h.journal)).toMatchObject({ identical: true, divergences: [] });
  expect(replayJournal(h.config, h.journal, { fns: h.fns })).toMatchObject({ identical: true });
}

describe("X-04 bounds of the history", () => {
  test("X-04 by turns: the last ones are told whole, and only what was heard of them", () => {
    const h = call({ turnsMax: 2 });
    turn(h, 1, "one", "First.");
    turn(h, 2, "two", "Second reply here.", 170_000);
    turn(h, 3, "three", "Third.");
    expect(conversation(h)).toEqual(["user: two", "assistant: Second", "user: three", "assistant: Third."]);
    h.utter("four");
    expect(lastMessages(h)).toEqual(["user: three", "assistant: Third.", "user: four"]);
    replays(h);
  });

  test("X-04 by tokens, as the policy says they are counted; the words just said stay, however many", () => {
    expect([0, 1, 4, 5].map(tokensOf)).toEqual([0, 1, 1, 2]);
    const h = call({ tokensMax: 8 });
    turn(h, 1, "one two three", "First.");
    expect(conversation(h)).toEqual(["user: one two three", "assistant: First."]);
    turn(h, 2, "four", "Second.");
    expect(conversation(h)).toEqual(["assistant: First.", "user: four", "assistant: Second."]);
    h.utter("a question of far more than eight tokens, all of which count");
    expect(lastMessages(h)).toEqual(["user: a question of far more than eight tokens, all of which count"]);
    const plan = h.log.findLast(({ effect }) => effect.type === "record" && effect.record.kind === "plan")?.effect;
    expect(plan).toMatchObject({ record: { plan: { policy: { history: { estimator: "chars/4@1", tokensMax: 8 } } } } });
  });

  test("X-04 a session without the policy is told everything, as before", () => {
    const h = new KernelHarness(testConfig(assistantGraph()));
    h.connect();
    for (let n = 1; n <= 5; n++) turn(h, n, `question ${n}`, "Yes.");
    expect(conversation(h)).toHaveLength(10);
    expect(h.state.dialogue).toBeUndefined();
  });
});

describe("X-04 summary", () => {
  test("X-04 what leaves is summed up in the background and told from the next turn on", () => {
    const h = call({ turnsMax: 1, summary: SUMMED });
    turn(h, 1, "my name is Ada", "Hello Ada.");
    turn(h, 2, "how are you", "Fine.");
    const { id, told } = writer(h);
    expect(told).toEqual([`system: ${PROMPT}`, "user: my name is Ada", "assistant: Hello Ada.", `user: ${PROMPT}`]);
    const sent = h.log.length;
    h.feed(h.textChunk(id, "The caller is Ada. "), h.textChunk(id, "She was greeted, and more."), h.outcome(id));
    expect(h.log.slice(sent).some(({ effect }) => effect.type.startsWith("egress"))).toBe(false);
    expect(summaries(h)).toEqual(["history_summary"]);
    h.utter("what is my name");
    expect(lastMessages(h)).toEqual(["system: The caller is Ada. She was greeted, and", "user: what is my name"]);
    replays(h);
  });

  test("X-04 it is adopted at a turn boundary, never in the middle of one", () => {
    const h = call({ turnsMax: 1, summary: SUMMED });
    turn(h, 1, "one", "First.");
    turn(h, 2, "two", "Second.");
    const { id } = writer(h);
    h.utter("three");
    h.feed(h.textChunk(id, "They counted."), h.outcome(id));
    expect(h.state.dialogue?.summary?.adopted).toBeUndefined();
    h.reply("Third.");
    h.advance(2_000);
    h.deliver(3, "accepted", 0);
    h.deliver(3, "started", 0);
    h.deliver(3, "completed", h.state.turns[0]?.output.sentUs ?? 0);
    expect(h.text([h.state.dialogue?.summary?.adopted ?? { ref: 0, from: 0, to: 0 }])).toBe("They counted.");
    // The next one is told of the one before.
    expect(writer(h).told).toEqual([
      `system: ${PROMPT}`,
      "system: They counted.",
      "user: two",
      "assistant: Second.",
      `user: ${PROMPT}`,
    ]);
    replays(h);
  });

  test.each([
    ["an error", (h: KernelHarness, id: number) => h.feed(h.outcome(id, "error"))],
    ["blank", (h: KernelHarness, id: number) => h.feed(h.textChunk(id, "  "), h.outcome(id))],
    ["no answer in time", (h: KernelHarness) => h.advance(20_000)],
    [
      "no end in time",
      (h: KernelHarness, id: number) => {
        for (let n = 0; n < 10; n++) {
          h.feed(h.textChunk(id, "and "));
          h.advance(2_000);
        }
      },
    ],
  ])("X-04 where it fails (%s) the old parts are gone and the call goes on", (_, fail) => {
    const h = call({ turnsMax: 1, summary: SUMMED });
    turn(h, 1, "one", "First.");
    turn(h, 2, "two", "Second.");
    fail(h, writer(h).id);
    expect(summaries(h)).toEqual(["history_summary_failed"]);
    expect(h.timers.has("summary")).toBe(false);
    turn(h, 3, "three", "Third.");
    expect(h.signals("commit#3")).toHaveLength(1);
    expect(h.state.dialogue?.summary?.adopted).toBeUndefined();
    expect(conversation(h)).toEqual(["user: three", "assistant: Third."]);
    replays(h);
  });
});
