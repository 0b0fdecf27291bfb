import { describe, expect, test } from "vitest";
import type { Effect } from "./effect.ts";
import type { InputBody } from "./input.ts";
import type { KernelHarness } from "./testing/harness.ts";
import { asked, committed, idle, sealed } from "./testing/scenes.ts";

type NodeEvent = Extract<Effect, { type: "node_event" }>;
const asks = (effects: readonly Effect[]) => effects.filter((e): e is NodeEvent => e.type === "node_event");

/** A frame without its voice activity yet. */
function unanswered(h: KernelHarness): NodeEvent[] {
  return [...asks(h.advance(20)), ...asks(h.feed(h.frame()))];
}

function answers(h: KernelHarness, command: NodeEvent, speech: boolean): Effect[] {
  const { mediaUs, durationUs } = command;
  const body = { type: "activity", speech, probability: 1, mediaUs, durationUs } as const;
  return h.feed(
    { type: "node_emitted", command: command.command, index: 0, port: "activity", body },
    { type: "node_done", command: command.command },
  );
}

/** `frames` whose activity comes only after the control. */
function lateAfter(h: KernelHarness, frames: number, control: () => InputBody): Effect[] {
  const first = unanswered(h);
  for (let i = 1; i < frames; i++) unanswered(h);
  const effects = h.feed(control());
  for (let [command] = first; command !== undefined; ) {
    const out = answers(h, command, true);
    effects.push(...out);
    [command] = asks(out);
  }
  return effects;
}

const ended = (h: KernelHarness) => () =>
  h.control("end_of_utterance", { controlClass: "positioned", lastMediaSequence: h.audioSequence });

describe("F-042 a control that ends an utterance", () => {
  for (const name of ["end_of_utterance", "mute"] as const)
    test(`${name}: late voice activity of frames before it opens no second utterance and no barge-in`, () => {
      const h = idle();
      h.hear(true, 8);
      lateAfter(h, 6, () => h.control(name, { controlClass: "positioned", lastMediaSequence: h.audioSequence }));
      expect(h.state.prelude.utterance).toMatchObject({ number: 1, phase: "none" });
      const stt = Object.values(h.state.invocations).find((inv) => inv.modality === "stt")?.id ?? 0;
      h.feed(h.textChunk(stt, "hello"), h.outcome(stt));
      h.reply("Fine.");
      h.advance(100);
      expect(h.signals("barge_in")).toEqual([]);
      expect(h.signals("commit")).toEqual(["commit#1"]);
    });

  test("what is said after it is another utterance, whose recogniser is given nothing of the first", () => {
    const h = idle();
    h.hear(true, 8);
    h.feed(ended(h)());
    const before = h.audioSequence;
    const effects = h.hear(true, 6);
    expect(h.state.prelude.utterance).toMatchObject({ number: 2, phase: "confirmed" });
    const opened = effects.findIndex((effect) => effect.type === "provider_open");
    const pushed = effects.slice(opened).filter((effect) => effect.type === "provider_push_audio");
    expect(pushed).toHaveLength(h.audioSequence - before);
  });
});

describe("F-042 push to talk before any voice was found", () => {
  const talk = { endpointing: { mode: "push_to_talk" } };

  test("what was heard since the last utterance is recognised at once", () => {
    const h = idle({}, {}, talk);
    h.hear(false, 30);
    const effects = h.feed(ended(h)());
    const pushed = effects.filter((effect) => effect.type === "provider_push_audio");
    expect(pushed).toHaveLength(30);
    expect(effects.map((effect) => effect.type)).toContain("provider_finish");
    const stt = Object.values(h.state.invocations).find((inv) => inv.modality === "stt")?.id ?? 0;
    h.feed(h.textChunk(stt, "psst"), h.outcome(stt));
    expect(h.signals("turn_open#1")).toEqual(["turn_open#1"]);
    h.reply("Yes.");
    expect(sealed(h, 1).missing).toEqual([]);
    h.hear(false, 2);
    expect(h.feed(ended(h)()).filter((effect) => effect.type === "provider_push_audio")).toHaveLength(2);
  });

  test("with nothing held, or where voice activity decides, it is ignored and marked", () => {
    for (const h of [idle({}, {}, talk), idle()]) {
      if (h.config.graph.nodes.some((node) => node.settings.mode === "push_to_talk")) h.hear(false, 0);
      else h.hear(false, 20);
      const effects = h.feed(ended(h)());
      expect(effects.some((effect) => effect.type === "provider_open")).toBe(false);
      expect(effects).toContainEqual(expect.objectContaining({ type: "telemetry", name: "end_of_utterance_ignored" }));
    }
  });
});

describe("§10 cancel_accepted of a barge-in", () => {
  test("is the stamp of the frame that decided it, not that of its voice activity", () => {
    const h = committed({ holdOnCandidate: false });
    let stampNs = 0;
    for (let i = 0; i < 10 && h.signals("barge_in").length === 0; i++) {
      const [command] = unanswered(h);
      stampNs = h.nowNs;
      h.advance(7);
      if (command !== undefined) answers(h, command, true);
    }
    expect(h.signals("barge_in")).toEqual(["barge_in#1(barge_in)"]);
    expect(h.state.turns[0]?.anchors.cancelAcceptedNs).toBe(stampNs);
  });

  test("of an Active turn it stands in the evidence", () => {
    const h = asked({ holdOnCandidate: false });
    h.hear(true, 3);
    expect(sealed(h, 1).manifest.cancel?.acceptedNs).toBe(h.nowNs);
  });
});
