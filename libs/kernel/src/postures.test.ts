import { describe, expect, test } from "vitest";
import type { Effect } from "./effect.ts";
import type { DegradeDefinition } from "./resilience-definition.ts";
import { checkReplay } from "./testing/checked-replay.ts";
import { assistantGraph, KernelHarness, testConfig } from "./testing/harness.ts";
import { conversation, lastMessages, records, told } from "./testing/scenes.ts";

const POSTURES = [
  { id: "brief", nodes: { context: { history_parts: 1 }, llm: { max_tokens: 60 } } },
  { id: "plain", nodes: { llm: { max_tokens: 20 }, tts: { voice: "plain", rate: 8_000 } } },
];

function open(degrade: Partial<DegradeDefinition> = {}, tts = ["sim/tts"]): KernelHarness {
  const plain = assistantGraph({ llm: ["sim/a", "sim/b", "sim/c"], tts });
  const definition = { postures: POSTURES, calmMs: 10_000, textOnly: false, ...degrade };
  const h = new KernelHarness(testConfig({ ...plain, degrade: definition }));
  h.connect();
  return h;
}

function overloaded(h: KernelHarness): Effect[] {
  const invocation = h.open("llm");
  return h.feed({ type: "provider_outcome", invocation, outcome: "overload", detail: "", usage: null });
}

function played(h: KernelHarness, turn: number): void {
  h.deliver(turn, "accepted", 0);
  h.deliver(turn, "started", 0);
  h.advance(1_000);
  h.deliver(turn, "completed", h.state.turns.find((t) => t.number === turn)?.output.sentUs ?? 0);
}

const settingsOf = (effects: readonly Effect[], node: string) =>
  effects.flatMap((e) => (e.type === "provider_open" && e.node === node ? [e.settings] : []));

describe("F-048 degrade postures", () => {
  test("F-048 steps down add up within a turn, stand for the next, and are lifted after calm", () => {
    const h = open();
    h.utter("tell me a story");
    expect(settingsOf(overloaded(h), "llm")).toEqual([{ max_tokens: 60 }]);
    expect(settingsOf(overloaded(h), "llm")).toEqual([{ max_tokens: 20 }]);
    expect(h.state.turns[0]?.posture).toBe(2);
    const reply = h.reply("A fox lived in a wood.");
    expect(settingsOf(reply, "tts")).toEqual([{ voice: "plain", rate: 8_000 }]);
    played(h, 1);
    const next = h.utter("and now");
    expect(settingsOf(next, "llm")).toEqual([{ max_tokens: 20 }]);
    expect(lastMessages(h)).toEqual(["user: and now"]);
    const plans = records(h, "plan").map((r) =>
      r.kind === "plan" ? (r.plan as { resilience: object }).resilience : {},
    );
    expect(plans).toMatchObject([{ degrade: { calmMs: 10_000 } }, { posture: "plain" }]);
    h.reply("It sang.");
    played(h, 2);
    h.advance(10_000);
    const calm = h.utter("once more");
    expect(settingsOf(calm, "llm")).toEqual([{}]);
    expect(told(calm)).toContain("recovered(calm)");
    expect(h.state.degraded).toBe(false);
    expect(lastMessages(h).length).toBeGreaterThan(3);
    expect(h.signals("degrade")).toEqual(["degrade#1(provider_overload)", "degrade#1(provider_overload)"]);
    checkReplay(h);
  });

  test("NF-006 a shell that cannot keep up asks for a step down; whoever may come in still may", () => {
    const h = open();
    const overload = { type: "capacity", admit: false, outcome: "reject", reason: "", evidenceQuotaBytes: -1 } as const;
    h.feed({ ...overload, overload: true });
    expect(h.signals("degrade")).toEqual(["degrade(overload)"]);
    expect(settingsOf(h.utter("tell me a story"), "llm")).toEqual([{ max_tokens: 60 }]);
    h.reply("A fox.");
    expect(h.signals("commit")).toEqual(["commit#1"]);
    checkReplay(h);
  });

  test("F-048 a turn without cause runs with the settings it has", () => {
    const h = open();
    expect(settingsOf(h.utter("tell me a story"), "llm")).toEqual([{}]);
    expect(h.state.turns[0]).not.toHaveProperty("posture");
    checkReplay(h);
  });
});

describe("F-137 text only", () => {
  test("F-137 the voice dies: the reply goes on as text, the client is told, the turn commits and is remembered", () => {
    const h = open({ textOnly: true }, ["sim/tts", "sim/tts-b"]);
    h.utter("tell me a story");
    const llm = h.open("llm");
    h.feed(h.textChunk(llm, "Once upon a time there was a fox. "));
    h.feed(h.outcome(h.open("tts"), "error"));
    const effects = h.feed(h.outcome(h.open("tts"), "error"));
    expect(told(effects)).toEqual(["provider_error#1(error)", "degraded(text_only)"]);
    const degraded = effects.find((e) => e.type === "signal" && e.event.signal === "degraded");
    expect(degraded).toMatchObject({
      egress: true,
      event: { fields: { capability: "voice", node: "tts", error: "error" } },
    });
    h.advance(3_000);
    h.feed(h.textChunk(llm, "It lived in a wood, all alone. "), h.outcome(llm));
    const shown = h.log.flatMap(({ effect }) =>
      effect.type === "egress_text" && effect.role === "assistant" ? [h.text(effect.spans)] : [],
    );
    expect(shown.join("")).toBe("Once upon a time there was a fox. It lived in a wood, all alone. ");
    expect(h.signals("commit")).toEqual(["commit#1"]);
    expect(conversation(h).at(-1)).toBe("assistant: Once upon a time there was a fox. It lived in a wood, all alone.");
    expect(h.state.degraded).toBe(true);
    checkReplay(h);
  });

  test("F-137 it is tried again in every turn: when it is well, the client is told, and hears it", () => {
    const h = open({ textOnly: true });
    h.utter("tell me a story");
    h.feed(h.textChunk(h.open("llm"), "Once upon a time there was a fox. "));
    h.feed(h.outcome(h.open("tts"), "error"), h.outcome(h.open("llm")));
    expect(h.signals("commit")).toEqual(["commit#1"]);
    h.utter("and now");
    h.feed(h.textChunk(h.open("llm"), "It sang in the wood all day. "));
    h.feed(h.outcome(h.open("tts"), "error"), h.outcome(h.open("llm")));
    expect(h.signals("degraded")).toHaveLength(1);
    h.utter("once more");
    const effects = h.reply("It slept.");
    expect(told(effects)).toContain("recovered(node_answers_again)");
    expect(effects.some((e) => e.type === "egress_media")).toBe(true);
    expect(h.state.degraded).toBe(false);
    expect(h.signals("commit")).toEqual(["commit#1", "commit#2", "commit#3"]);
    checkReplay(h);
  });

  test("without the setting the same failure ends the turn", () => {
    const h = open();
    h.utter("tell me a story");
    h.feed(h.textChunk(h.open("llm"), "Once upon a time there was a fox. "));
    h.feed(h.outcome(h.open("tts"), "error"));
    expect(h.signals("abort")).toEqual(["abort#1(provider_failure)"]);
  });
});
