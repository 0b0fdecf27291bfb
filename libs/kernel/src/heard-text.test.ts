import { describe, expect, test } from "vitest";
import { edgeTake } from "./edge-buffer.ts";
import { fenceRaise } from "./fence.ts";
import type { GraphDefinition } from "./graph.ts";
import { assistantGraph, KernelHarness, POLICY, testConfig } from "./testing/harness.ts";
import { addendum, asked, cancel, committed, conversation, speaking } from "./testing/scenes.ts";

/** The assistant with an output edge of few items that sheds after 100 ms. */
function tight(maxItems: number): GraphDefinition {
  const graph = assistantGraph();
  return {
    ...graph,
    edges: graph.edges.map((edge) =>
      edge.id === "e9" ? { ...edge, buffer: { ...edge.buffer, maxItems, maxBlockMs: 100 } } : edge,
    ),
  };
}

/** A turn whose voice runs far ahead of an output edge of 30 frames. */
function shedding(): KernelHarness {
  const h = new KernelHarness(testConfig(tight(30), { policy: { ...POLICY, bargeIn: false } }));
  h.connect();
  h.utter("tell me a story");
  const llm = h.open("llm");
  h.feed(h.textChunk(llm, "Once upon a time there was a fox. It lived in a wood. "), h.outcome(llm));
  const tts = h.open("tts");
  const chars = (h.state.invocations[tts]?.clauses ?? []).map((clause) => [clause.segment, 34] as const);
  for (const [segment, length] of chars)
    for (let i = 0; i < 60; i++) h.feed(h.audioChunk(tts, segment, length, { segmentEnd: i === 59 }));
  h.feed(h.outcome(tts));
  return h;
}

function playOut(h: KernelHarness, turn = 1): void {
  h.deliver(turn, "accepted", 0);
  h.deliver(turn, "started", 0);
  h.advance(3_000);
}

describe("F-039 heard text never says more than was heard", () => {
  test("audio shed by a full edge was not heard: the reply is cut to its share and marked as an estimate", () => {
    const h = shedding();
    playOut(h);
    const share = (h.state.turns[0]?.segments ?? []).reduce(
      (sum, segment) => sum + (segment.chars * segment.durationUs) / (segment.durationUs + segment.shedUs),
      0,
    );
    const shed = h.state.turns[0]?.segments.reduce((sum, segment) => sum + segment.shedUs, 0) ?? 0;
    const sent = h.state.turns[0]?.output.sentUs ?? 0;
    expect(h.signals("drop_notice").length).toBeGreaterThan(0);
    expect(shed + sent).toBe(120 * 20_000);
    h.deliver(1, "completed", sent);
    const told = addendum(h, 1);
    expect(told).toMatchObject({ outcome: "completed", heardBy: "proportional" });
    expect(told.heardChars as number).toBeLessThanOrEqual(share);
    expect(share).toBeLessThan(told.replyChars as number);
    expect(told.heardChars as number).toBeGreaterThan(0);
  });

  test("F-039 a clause that was cut does not run together with what was heard after it", () => {
    const h = shedding();
    const [first, second] = h.state.turns[0]?.segments ?? [];
    Object.assign(first ?? {}, { startUs: 0, durationUs: 200_000, shedUs: 400_000 });
    Object.assign(second ?? {}, { startUs: 200_000, durationUs: 400_000, shedUs: 0 });
    playOut(h);
    // What was cut is asked with, too, before its turn has settled.
    h.deliver(1, "completed", h.state.turns[0]?.output.sentUs ?? 0);
    const text = conversation(h).at(-1) ?? "";
    const said = new Set("assistant: Once upon a time there was a fox. It lived in a wood.".split(" "));
    expect(text).toContain(" It lived");
    expect(text.split(" ").filter((word) => !said.has(word))).toEqual([]);
    expect(addendum(h, 1).heardChars as number).toBeLessThan(text.length - "assistant: ".length);
  });

  test("a clause whose audio was all shed is left out, not the words after it", () => {
    const h = committed();
    const [first, second] = h.state.turns[0]?.segments ?? [];
    if (first === undefined || second === undefined) throw new Error("two clauses");
    h.advance(3_000);
    Object.assign(first, { startUs: -1, durationUs: 0, shedUs: 1_000_000 });
    Object.assign(second, { startUs: 0, shedUs: 0 });
    h.deliver(1, "completed", h.state.turns[0]?.output.sentUs ?? 0);
    expect(conversation(h).at(-1)).toBe("assistant: It lived in a wood.");
  });

  test("completed with less played than was sent counts what was played; a frame's rounding is forgiven", () => {
    for (const [missingUs, whole] of [
      [20_000, true],
      [400_000, false],
    ] as const) {
      const h = committed();
      h.advance(3_000);
      const { sentUs } = h.state.turns[0]?.output ?? { sentUs: 0 };
      h.deliver(1, "completed", sentUs - missingUs);
      const { heardChars, replyChars } = addendum(h, 1);
      expect(heardChars === replyChars).toBe(whole);
    }
  });

  test("a long chunk without word timings is heard by its share, with them to the word", () => {
    for (const [words, heard, by] of [
      [false, "assistant: Once upon a", "proportional"],
      [true, "assistant: Once upon a time", "word_timings"],
    ] as const) {
      const h = asked();
      h.feed(h.textChunk(h.open("llm"), "Once upon a time there was a fox. "));
      const timed = [
        { from: 0, to: 4, startUs: 0, endUs: 400_000 },
        { from: 5, to: 16, startUs: 400_000, endUs: 1_900_000 },
        { from: 17, to: 33, startUs: 1_900_000, endUs: 5_000_000 },
      ];
      h.feed(
        h.audioChunk(h.open("tts"), 0, 34, {
          durationUs: 5_000_000,
          segmentEnd: true,
          ...(words ? { words: timed } : {}),
        }),
      );
      h.deliver(1, "accepted", 0);
      h.deliver(1, "started", 0);
      h.feed(cancel(1));
      h.fenceAck(1, 2_000_000);
      expect(conversation(h).at(-1)).toBe(heard);
      expect(addendum(h, 1)).toMatchObject({ heardBy: by, playedUs: 2_000_000 });
    }
  });

  test("a clause still under way is no longer than what was sent of it: the rest of its words were not heard", () => {
    const h = speaking();
    h.feed(cancel(1));
    h.fenceAck(1, 300_000);
    expect(addendum(h, 1)).toMatchObject({ playedUs: 300_000, heardChars: 4, heardBy: "proportional" });
  });

  test("§6 the media position of a report that comes after the cut still feeds heard text", () => {
    const h = committed();
    h.feed(cancel(1));
    h.feed({ type: "delivery", epoch: 1, turn: 1, generation: 1, state: "started", playedUs: 480_000 });
    h.advance(6_000);
    expect(addendum(h, 1)).toMatchObject({ playedUs: 480_000, lateAfterCancel: 1 });
    expect(conversation(h).at(-1)).toBe("assistant: Once upon a");
  });
});

describe("F-175 the fence is the authority at the output", () => {
  test("what stands in the queue below the fence is refused there and counted", () => {
    const h = committed();
    const queued = h.state.turns[0]?.run.edges.reduce((sum, edge) => sum + (edge?.queue.size ?? 0), 0) ?? 0;
    expect(queued).toBeGreaterThan(5);
    fenceRaise(h.state.fence, 1, 2);
    const before = h.log.length;
    h.advance(10);
    h.feed(h.frame());
    expect(h.log.slice(before).some(({ effect }) => effect.type === "egress_media")).toBe(false);
    expect(h.state.turns[0]?.rejectedOutputs).toBe(queued);
    expect(h.state.counters.rejectedOutputs).toBe(queued);
  });
});

describe("F-038 after a cancel", () => {
  test("the turn's queues are empty, its nodes reset and ended, nothing of it waits for dispatch", () => {
    const h = asked();
    const llm = h.open("llm");
    h.feed(h.textChunk(llm, "Once upon a time there was a fox. And so"));
    for (let i = 0; i < 30; i++) h.feed(h.audioChunk(h.open("tts"), 0, 34));
    const turn = h.state.turns[0];
    const held = () => turn?.run.edges.reduce((sum, edge) => sum + (edge?.queue.size ?? 0), 0);
    expect(held()).toBeGreaterThan(0);
    expect(turn?.run.nodes.some((node) => (node?.segmenter?.chars ?? 0) > 0)).toBe(true);
    h.feed(cancel(1), h.textChunk(llm, " late. "));
    expect(held()).toBe(0);
    for (const node of turn?.run.nodes ?? []) {
      if (node === null) continue;
      expect(node).toMatchObject({ invocation: 0, ended: true });
      if (node.segmenter !== null) expect(node.segmenter).toMatchObject({ spans: [], chars: 0 });
    }
    expect(h.state.lanes.data.filter((item) => item.turn === 1)).toEqual([]);
    for (const edge of turn?.run.edges ?? []) if (edge !== null) expect(edgeTake(edge)).toBeUndefined();
  });
});

describe("F6 the adapter gives a turn up", () => {
  for (const state of ["lost", "cancelled"] as const)
    test(`${state} on an Active turn aborts it, instead of speaking on unheard`, () => {
      const h = speaking();
      h.deliver(1, state, 60_000);
      expect(h.signals("abort")).toEqual(["abort#1(transport_disconnect_or_stall)"]);
      expect(h.open("llm")).toBe(0);
      h.fenceAck(1, 60_000);
      expect(addendum(h, 1)).toMatchObject({ outcome: state, playedUs: 60_000 });
    });

  test("so does a stall; a committed turn may still be played", () => {
    const h = speaking();
    h.feed(h.control("stall", { reason: "no_route" }));
    expect(h.signals("abort")).toEqual(["abort#1(transport_disconnect_or_stall)"]);
    const g = committed();
    g.feed(g.control("stall", { reason: "no_route" }));
    expect([...g.signals("abort"), ...g.signals("cancel")]).toEqual([]);
    expect(g.state.turns).toHaveLength(1);
  });
});

describe("F-024 finals of several segments", () => {
  test("do not run together", () => {
    const h = asked({ secondProposal: "preempt" });
    h.feed(cancel(1));
    h.fenceAck(1, 0);
    h.hear(true, 6);
    const stt = h.open("stt");
    h.feed(
      h.textChunk(stt, "yes", { segment: 0, revision: 1 }),
      h.textChunk(stt, "please ", { segment: 1, revision: 1 }),
    );
    h.feed(h.textChunk(stt, "now", { segment: 2, revision: 1, final: false }));
    h.hear(false, 6);
    h.feed(h.outcome(stt));
    expect(conversation(h).at(-1)).toBe("user: yes please now");
  });
});
