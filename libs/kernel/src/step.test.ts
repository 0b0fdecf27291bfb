import { expect, test } from "vitest";
import { replayJournal } from "./replay.ts";
import { assistantGraph, KernelHarness, testConfig } from "./testing/harness.ts";

test("F-025 F-014 a question opens a turn, is answered, committed, delivered and recorded", () => {
  const h = new KernelHarness(testConfig(assistantGraph()));
  h.connect();
  h.utter("tell me a story");
  expect(h.signals("turn_open")).toEqual(["turn_open_proposed", "turn_open#1"]);
  h.reply("Once upon a time there was a fox. It lived in a wood.");
  expect(h.signals("commit")).toEqual(["commit#1"]);
  expect(h.signals("close")).toEqual(["close#1"]);
  h.deliver(1, "accepted", 0);
  h.deliver(1, "started", 0);
  h.advance(3_000);
  h.deliver(1, "completed", 1_200_000);
  expect(h.state.turns).toHaveLength(0);
  expect(h.state.conversation.map((part) => `${part.role}: ${h.text(part.spans)}`)).toEqual([
    "user: tell me a story",
    "assistant: Once upon a time there was a fox. It lived in a wood.",
  ]);
  const media = h.log.filter(({ effect }) => effect.type === "egress_media");
  expect(media.at(-1)?.effect).toMatchObject({ end: true });
  const replay = replayJournal(h.config, JSON.parse(JSON.stringify(h.journal)));
  expect(replay.divergences).toEqual([]);
  expect(replay.identical).toBe(true);
});

test("F-033 F-039 a barge-in into a committed turn cuts what plays and keeps the words that were heard (T13)", () => {
  const h = new KernelHarness(testConfig(assistantGraph()));
  h.connect();
  h.utter("tell me a story");
  h.reply("Once upon a time there was a fox. It lived in a wood.", 40);
  h.deliver(1, "accepted", 0);
  h.deliver(1, "started", 0);
  h.advance(300);
  const effects = h.hear(true, 6);
  expect(h.signals()).toContain("output_hold#1(speech_candidate)");
  expect(h.signals()).toContain("playback_cancelled#1(barge_in)");
  const fence = effects.findIndex((effect) => effect.type === "egress_fence");
  expect(fence).toBeGreaterThan(-1);
  expect(effects.slice(fence).filter((effect) => effect.type === "egress_media")).toEqual([]);
  h.fenceAck(1, 480_000);
  expect(h.state.conversation.map((part) => h.text(part.spans))).toEqual(["tell me a story", "Once upon a"]);
  expect(h.signals("abort")).toEqual([]);
});
