import { describe, expect, test } from "vitest";
import type { Effect } from "./effect.ts";
import type { KernelHarness } from "./testing/harness.ts";
import {
  asked,
  cancel,
  committed,
  conversation,
  idle,
  lastMessages,
  records,
  sealed,
  speaking,
  told,
} from "./testing/scenes.ts";

const opens = (effects: readonly Effect[]) =>
  effects.flatMap((effect) => (effect.type === "provider_open" ? [`${effect.provider} ${effect.attempt}`] : []));
const cancels = (effects: readonly Effect[]) =>
  effects.flatMap((effect) => (effect.type === "provider_cancel" ? [`${effect.invocation} ${effect.reason}`] : []));

describe("T10 F-133 provider failures", () => {
  test("before the first chunk the next candidate is asked the same; after the last one the turn aborts", () => {
    const h = asked({}, {}, { llm: ["sim/a", "sim/b", "sim/c"] });
    const first = h.feed(h.outcome(h.open("llm"), "error"));
    expect(opens(first)).toEqual(["sim/b 2"]);
    expect(told(first)).toEqual(["provider_error#1(error)", "provider_switch#1(error)"]);
    expect(lastMessages(h)).toEqual(["user: tell me a story"]);
    const second = h.advance(1_000);
    expect(cancels(second)).toEqual([expect.stringContaining("timeout")]);
    expect(opens(second)).toEqual(["sim/c 3"]);
    const third = h.feed(h.outcome(h.open("llm"), "success"));
    expect(told(third)).toEqual(["provider_error#1(empty)", "abort#1(provider_failure)", "close#1"]);
    expect(sealed(h, 1).manifest.invocations.map((inv) => `${inv.provider} ${inv.outcome}`)).toEqual([
      "sim/stt success",
      "sim/a error",
      "sim/b timeout",
      "sim/c empty",
    ]);
  });

  test("after the first chunk there is no way on", () => {
    const h = asked({}, {}, { llm: ["sim/a", "sim/b"] });
    h.feed(h.textChunk(h.open("llm"), "Once upon "));
    expect(told(h.feed(h.outcome(h.open("llm"), "error")))).toContain("abort#1(provider_failure)");
  });

  test("a voice that fails between clauses is switched and goes on with the clauses still to be spoken", () => {
    const h = asked({}, {}, { tts: ["sim/a", "sim/b"] });
    const llm = h.open("llm");
    h.feed(h.textChunk(llm, "Once upon a time. There was a fox. It sang. "), h.outcome(llm));
    h.feed(h.audioChunk(h.open("tts"), 0, 18, { segmentEnd: true }));
    const effects = h.feed(h.outcome(h.open("tts"), "error"));
    expect(opens(effects)).toEqual(["sim/b 2"]);
    const pushed = effects.flatMap((effect) =>
      effect.type === "provider_push_text" ? [h.text(effect.spans).trim()] : [],
    );
    expect(pushed.join(" ")).toBe("There was a fox. It sang.");
    expect(effects.at(-1)).toMatchObject({ type: "provider_finish" });
  });

  test("F3 a stream that goes silent in the middle is cut off, not waited for for ever", () => {
    const h = speaking();
    const effects = h.advance(6_000);
    expect(cancels(effects)[0]).toContain("timeout");
    expect(h.signals("abort")).toEqual(["abort#1(provider_failure)"]);
  });

  test("a language model that answers slowly but steadily is left alone", () => {
    const h = asked();
    for (let i = 0; i < 5; i++) {
      h.feed(h.textChunk(h.open("llm"), "word "));
      h.advance(1_900);
      if (h.state.turns[0]?.output.sentUs === 0) {
        h.feed(h.textChunk(h.open("llm"), "and a whole clause, "));
        h.feed(h.audioChunk(h.open("tts"), 0, 20, { segmentEnd: true }));
      }
    }
    expect(h.signals("abort")).toEqual([]);
  });

  test("F3 a voice that reports success before all its text was given is gone: the next takes over, else the turn fails", () => {
    const early = (tts: string[]) => {
      const h = asked({}, {}, { tts });
      h.feed(h.textChunk(h.open("llm"), "Once upon a time there was a fox. "));
      h.feed(h.audioChunk(h.open("tts"), 0, 34, { segmentEnd: true }), h.outcome(h.open("tts")));
      return h;
    };
    const h = early(["sim/a"]);
    expect([...h.signals("commit"), ...h.signals("abort")]).toEqual(["abort#1(provider_failure)"]);
    const outcomes = sealed(h, 1).manifest.invocations.map((inv) => `${inv.modality} ${inv.outcome}`);
    expect(outcomes).toContain("tts disconnect");
    expect(outcomes).toContain("llm cancelled");
    expect(sealed(h, 1).missing).toEqual([]);
    const g = early(["sim/a", "sim/b"]);
    expect(g.signals("provider_switch")).toEqual(["provider_switch#1(disconnect)"]);
    g.feed(g.textChunk(g.open("llm"), "It ran. "), g.outcome(g.open("llm")));
    g.speakPending();
    expect(g.signals("commit")).toEqual(["commit#1"]);
  });

  test("a chunk of the wrong kind, out of order or of an unknown invocation changes nothing and is released", () => {
    const h = asked();
    const llm = h.open("llm");
    const effects = h.feed(
      h.audioChunk(llm, 0, 4),
      { ...h.textChunk(llm, "skipped"), index: 7 } as never,
      h.textChunk(99, "unknown"),
    );
    expect(effects.map((effect) => effect.type)).toEqual(["release", "release", "release"]);
    expect(h.state.invocations[llm]?.chunks).toBe(0);
  });

  test("F-037 a cancelled invocation that never answers: forgotten and degraded after the grace period", () => {
    const h = asked();
    const llm = h.open("llm");
    h.feed(cancel(1));
    h.advance(74);
    expect(h.state.degraded).toBe(false);
    const effects = h.advance(2);
    expect(effects).toContainEqual(
      expect.objectContaining({ type: "status", degraded: true, reason: "cancel_ignored" }),
    );
    expect(h.state.invocations[llm]).toBeUndefined();
  });

  test("F-037 so does one that was given up for its silence, whether or not another candidate took over", () => {
    for (const llm of [["sim/a"], ["sim/a", "sim/b"]]) {
      const h = asked({}, {}, { llm });
      const first = h.open("llm");
      h.advance(1_000);
      expect(h.state.degraded).toBe(false);
      h.advance(76);
      expect(h.state.degraded).toBe(true);
      expect(h.state.invocations[first]).toBeUndefined();
      const g = asked({}, {}, { llm });
      const late = g.open("llm");
      g.advance(1_000);
      g.feed(g.textChunk(late, "too late"), g.outcome(late, "timeout"));
      g.advance(76);
      expect(g.state.degraded).toBe(false);
      expect(g.state.invocations[late]).toBeUndefined();
    }
  });

  test("F-036 one that acknowledges in time leaves the session whole", () => {
    const h = asked();
    const llm = h.open("llm");
    h.feed(cancel(1));
    h.feed({ type: "provider_outcome", invocation: llm, outcome: "cancelled", detail: "", usage: null });
    h.advance(200);
    expect(h.state.degraded).toBe(false);
  });
});

describe("budgets (§9)", () => {
  test("budget_warning comes before budget_exhausted, then T10", () => {
    const h = asked({}, {}, { llm: ["sim/a", "sim/b", "sim/c"] });
    h.advance(2_000);
    expect(h.signals("budget")).toEqual([
      "budget_warning#1(turn_first_output)",
      "budget_exhausted#1(turn_first_output)",
    ]);
    expect(h.signals("abort")).toEqual(["abort#1(budget_exhausted)"]);
  });

  test("also when one late poll brings both timers, in the wrong order", () => {
    const h = asked({}, {}, { llm: ["sim/a", "sim/b", "sim/c"] });
    h.nowNs += 5_000_000_000;
    h.feed({ type: "timer", id: "first_output:1" }, { type: "timer", id: "first_output_warning:1" });
    expect(h.signals("budget")).toEqual([
      "budget_warning#1(turn_first_output)",
      "budget_exhausted#1(turn_first_output)",
    ]);
  });

  test("none after the terminal, though nothing has been sent yet", () => {
    const h = asked();
    const llm = h.open("llm");
    h.feed(h.textChunk(llm, "Hello. "), h.outcome(llm));
    h.hear(true, 2);
    h.speakPending();
    h.advance(5_000);
    expect(h.signals("budget")).toEqual([]);
  });

  test("a timer that fires early is asked for again", () => {
    const h = asked();
    const at = h.state.timers["first_output:1"];
    expect(h.feed({ type: "timer", id: "first_output:1" })).toEqual([
      { type: "timer_set", id: "first_output:1", atNs: at },
    ]);
  });
});

describe("speculation (§2)", () => {
  const speculating = (over: Parameters<typeof idle>[1] = {}): KernelHarness => {
    const h = idle({ speculation: true }, over, { endpointing: { speculate_ms: 40 }, llm: ["sim/a", "sim/b"] });
    h.hear(true, 6);
    h.feed(h.textChunk(h.open("stt"), "tell me a story", { final: false, revision: 1 }));
    h.hear(false, 3);
    return h;
  };
  const finish = (h: KernelHarness, text: string): Effect[] => {
    h.hear(false, 3);
    const stt = h.open("stt");
    return h.feed(h.textChunk(stt, text, { revision: 2 }), h.outcome(stt));
  };
  const egress = (h: KernelHarness) =>
    h.log.filter(
      ({ effect }) => effect.type === "egress_media" || (effect.type === "egress_text" && effect.role === "assistant"),
    );

  test("adopted for the same words, by id; no egress before turn_open", () => {
    const h = speculating();
    const llm = h.open("llm");
    expect(lastMessages(h)).toEqual(["user: tell me a story"]);
    h.feed(h.textChunk(llm, "Once upon a time there was a fox. "));
    expect(egress(h)).toEqual([]);
    const effects = finish(h, "Tell me a story.");
    expect(opens(effects)).toEqual(["sim/tts 1"]);
    expect(h.state.invocations[llm]?.turn).toBe(1);
    expect(conversation(h)).toEqual(["user: Tell me a story."]);
    const openAt = h.log.findIndex(({ effect }) => effect.type === "signal" && effect.event.signal === "turn_open");
    expect(
      h.log.findIndex(({ effect }) => effect.type === "egress_text" && effect.role === "assistant"),
    ).toBeGreaterThan(openAt);
    h.feed(h.outcome(llm));
    h.speakPending();
    expect(sealed(h, 1).manifest.invocations.map((inv) => inv.outcome)).toEqual(["success", "success", "success"]);
  });

  test("cancelled for other words", () => {
    const h = speculating();
    const llm = h.open("llm");
    const effects = finish(h, "tell me a joke");
    expect(cancels(effects)).toEqual([`${llm} not_adopted`]);
    expect(lastMessages(h)).toEqual(["user: tell me a joke"]);
  });

  test("cancelled when the caller goes on speaking, or the proposal is refused", () => {
    const h = speculating();
    expect(cancels(h.hear(true, 1))).toEqual([expect.stringContaining("speech_resumed")]);
    const g = speculating();
    g.feed({ type: "capacity", admit: false, outcome: "reject", reason: "load", evidenceQuotaBytes: -1 });
    expect(cancels(finish(g, "tell me a story"))).toEqual([expect.stringContaining("refused")]);
    expect(g.state.prelude.speculation).toBeNull();
  });

  test("not adopted when the conversation it was asked with has changed since", () => {
    const h = committed({ speculation: true }, {}, { endpointing: { speculate_ms: 40 } });
    h.hear(true, 6);
    h.feed(h.textChunk(h.open("stt"), "and then", { final: false, revision: 1 }));
    h.hear(false, 3);
    h.fenceAck(1, 300_000);
    const effects = finish(h, "and then");
    expect(cancels(effects)).toEqual([expect.stringContaining("not_adopted")]);
    expect(lastMessages(h)).toEqual(["user: tell me a story", "assistant: Once", "user: and then"]);
  });

  test("budgeted: one that gave nothing in time is not adopted", () => {
    const h = speculating();
    const llm = h.open("llm");
    expect(cancels(h.advance(1_000))).toEqual([`${llm} timeout`]);
    expect(opens(finish(h, "tell me a story"))).toEqual(["sim/a 1"]);
    expect(h.open("llm")).not.toBe(llm);
    h.advance(500);
    expect(h.state.degraded).toBe(false);
  });

  test("one that had answered in full is not asked for an acknowledgement", () => {
    const h = speculating();
    const llm = h.open("llm");
    h.feed(h.textChunk(llm, "Once. "), h.outcome(llm));
    const effects = finish(h, "something else");
    expect(cancels(effects)).toEqual([]);
    h.advance(500);
    expect(h.state.degraded).toBe(false);
  });

  test("after its adoption another candidate is asked the same words", () => {
    const h = speculating();
    finish(h, "tell me a story");
    const effects = h.feed(h.outcome(h.open("llm"), "error"));
    expect(opens(effects)).toEqual(["sim/b 2"]);
    expect(lastMessages(h)).toEqual(["user: tell me a story"]);
  });
});

test("F-013 F-153 events and effects of a turn carry its number, epoch and invocation names; evidence has them all", () => {
  const h = committed();
  h.advance(4_000);
  h.deliver(1, "completed", 2_120_000);
  const names = new Set<string>();
  for (const { effect } of h.log) {
    // The recogniser worked before the turn.
    if (effect.type === "provider_open") {
      expect(effect).toMatchObject({ epoch: 1, generation: effect.modality === "stt" ? 0 : 1 });
      expect(effect.idempotencyKey).toBe(`session-1/${effect.invocationId}/${effect.attempt}`);
      names.add(effect.invocationId);
    }
    if (effect.type === "egress_media") expect(effect).toMatchObject({ turn: 1, epoch: 1, generation: 1 });
    if (effect.type === "signal") expect(effect.event.epoch).toBe(1);
  }
  const evidence = sealed(h, 1);
  expect(new Set(evidence.manifest.invocations.map((inv) => inv.invocationId))).toEqual(names);
  expect(evidence.manifest).toMatchObject({
    planHash: expect.stringMatching(/^[0-9a-f]{64}$/),
    seed: "seed-1",
    mergeRuleId: "arrival",
    epochAtOpen: 1,
    epochAtTerminal: 1,
    snapshots: h.config.snapshots,
  });
  expect(records(h, "plan")).toMatchObject([{ turn: 1, hash: evidence.manifest.planHash }]);
});
