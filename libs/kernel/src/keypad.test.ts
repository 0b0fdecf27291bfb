import type { MonoNs } from "@rspp/base/brand";
import { describe, expect, test } from "vitest";
import type { NodeDefinition } from "./graph.ts";
import { replayJournal } from "./replay.ts";
import type { SessionConfig } from "./session-config.ts";
import { EAR_EDGES, EAR_NODES, graphOf, MODEL_NODES, VOICE_EDGES, VOICE_NODES } from "./testing/graphs.ts";
import { assistantGraph, KernelHarness, node, POLICY, testConfig } from "./testing/harness.ts";
import { clauses } from "./testing/said.ts";
import { conversation, lastMessages } from "./testing/scenes.ts";

function menu(settings: NodeDefinition["settings"] = {}, over: Partial<SessionConfig> = {}): KernelHarness {
  const graph = graphOf(
    [...EAR_NODES, node("keypad", "dtmf", "session", settings), ...MODEL_NODES, ...VOICE_NODES],
    [
      ...EAR_EDGES,
      "stt.text -> endpointing.text",
      "endpointing.utterance -> context.utterance",
      "keypad.utterance -> context.utterance",
      "context.messages -> llm.messages",
      "llm.text -> segmenter.text",
      ...VOICE_EDGES,
    ],
  );
  const h = new KernelHarness(testConfig(graph, over));
  h.connect();
  return h;
}

const key = (h: KernelHarness, digits: string, name = "telephony.digit") =>
  h.feed(h.control("dtmf", { fields: { [name]: digits } }));

describe("F-010 DTMF", () => {
  test("digits up to the terminator are the caller's words of a turn, answered like speech", () => {
    const h = menu();
    for (const digit of "42#") key(h, digit);
    expect(h.signals("turn_open#")).toEqual(["turn_open#1"]);
    expect(lastMessages(h)).toEqual(["user: 42"]);
    h.reply("Forty-two it is.", 5);
    expect(clauses(h)).toEqual(["Forty-two it is."]);
    expect(h.signals("commit")).toEqual(["commit#1"]);
    expect(conversation(h)[0]).toBe("user: 42");
    expect(replayJournal(h.config, h.journal).identical).toBe(true);
  });

  test("the greatest length proposes without a terminator; what follows is another input", () => {
    const h = menu({ max_digits: 4 });
    key(h, "123456#", "dtmf.digits");
    expect(h.signals("turn_open_proposed")).toHaveLength(2);
    expect(conversation(h)[0]).toBe("user: 1234");
  });

  test("a menu turns its digits into words; what is not in it stays as keyed in", () => {
    const h = menu({ max_digits: 2, menu: ["1: when do you open", "12: tell me a story"] });
    key(h, "1#12#21#", "dtmf.digits");
    expect(conversation(h).slice(0, 1)).toEqual(["user: when do you open"]);
    h.reply("At nine.", 2);
    h.advance(20_000);
    expect(conversation(h).filter((part) => part.startsWith("user"))).toEqual([
      "user: when do you open",
      "user: tell me a story",
      "user: 21",
    ]);
  });

  test("a pause proposes what was keyed in; each digit starts the pause again", () => {
    const h = menu({ timeout_ms: 500 });
    key(h, "7");
    h.advance(400);
    key(h, "8");
    h.advance(400);
    expect(h.signals("turn_open_proposed")).toEqual([]);
    h.advance(200);
    expect(conversation(h)).toEqual(["user: 78"]);
  });

  test("a bare terminator, keys that are none, and another graph propose nothing", () => {
    const h = menu();
    key(h, "#");
    key(h, "x!");
    h.feed(h.control("dtmf", { fields: { "telephony.volume": 5 } }));
    h.advance(5_000);
    const plain = new KernelHarness(testConfig(assistantGraph()));
    plain.connect();
    key(plain, "5#");
    plain.advance(5_000);
    for (const one of [h, plain]) expect(one.signals("turn_open_proposed")).toEqual([]);
  });

  test.each(["#", "*"])(
    "X-01 a key (%s) is no silence: its time begins anew, and so does the count of prompts",
    (pressed) => {
      const silence = { afterMs: 5_000, prompts: 1, maxPrompts: 1, andThen: "hang_up" } as const;
      const spoken = { "silence[0]": [{ ref: 9_000, from: 0, to: 6 }] };
      const h = menu({ timeout_ms: 1_000 }, { policy: { ...POLICY, silence }, spoken });
      h.texts.set(9_000, "Hello?");
      h.advance(4_000);
      key(h, "#");
      h.advance(4_999);
      expect(h.signals("turn_open#")).toEqual([]);
      h.advance(1);
      expect(h.signals("turn_open#")).toEqual(["turn_open#1"]);
      h.speakPending();
      h.deliver(1, "completed", h.state.turns[0]?.output.sentUs ?? 0);
      expect(h.state.dialogue?.prompted).toBe(1);
      key(h, pressed);
      expect(h.state.dialogue?.prompted).toBe(0);
      expect(replayJournal(h.config, h.journal).identical).toBe(true);
    },
  );

  test("F-034 the first digit cuts the reply, as speech does; without barge-in it does not", () => {
    const playing = (bargeIn: boolean): KernelHarness => {
      const h = menu({}, { policy: { ...testConfig(assistantGraph()).policy, bargeIn } });
      key(h, "1#");
      h.reply("Once upon a time there was a fox.", 40);
      h.deliver(1, "accepted", 0);
      h.deliver(1, "started", 0);
      h.advance(200);
      key(h, "2");
      return h;
    };
    expect(playing(true).signals("barge_in")).toEqual(["barge_in#1(barge_in)"]);
    expect(playing(true).signals("playback_cancelled")).toHaveLength(1);
    expect(playing(false).signals("barge_in")).toEqual([]);
  });

  test("speech still opens its own turn, with its own words only", () => {
    const h = menu();
    h.utter("hello there");
    expect(lastMessages(h)).toEqual(["user: hello there"]);
  });

  test("digits are personal data: no signal and no state shows one, whatever the recording level", () => {
    const h = menu({}, { recording: { ...testConfig(assistantGraph()).recording, ceiling: "L2" } });
    key(h, "7391", "dtmf.digits");
    expect(h.signals("dtmf")).toEqual(["dtmf"]);
    const shown = JSON.stringify([h.state.keypad, h.log.map(({ effect }) => effect)]);
    expect(shown).not.toMatch(/7391|"7"/);
    expect(h.journal.flatMap(({ facts }) => facts).map(({ fn }) => fn)).toEqual(["cut", "cut", "cut", "cut"]);
  });

  test("NF-004 what one input holds is bounded", () => {
    const h = menu({ max_digits: 1_000 });
    for (let i = 0; i < 40; i++) key(h, "1");
    expect(h.state.keypad?.spans.length).toBe(8);
    expect(h.signals("turn_open_proposed")).toHaveLength(1);
  });

  test("without the lease what was keyed in is let go", () => {
    const h = menu();
    key(h, "12");
    h.feed({ type: "authority", kind: "revoked", epoch: 1, deadlineNs: h.config.authority.deadlineNs });
    expect(h.state.keypad).toBeUndefined();
    h.advance(10_000);
    expect(h.signals("turn_open_proposed")).toEqual([]);
  });

  test("F-156 digits keyed in before the lease was lost begin nothing after it", () => {
    const deadlineNs = 10_000_000_000 as MonoNs;
    const h = menu({}, { authority: { epoch: 1, incarnation: "store-1", deadlineNs } });
    key(h, "4");
    h.nowNs = 10_001_000_000;
    h.feed({ type: "timer", id: "none" });
    h.feed({ type: "authority", kind: "renewed", epoch: 1, deadlineNs: 9_000_000_000_000 as MonoNs });
    for (const digit of "2#") key(h, digit);
    expect(lastMessages(h)).toEqual(["user: 2"]);
  });
});
