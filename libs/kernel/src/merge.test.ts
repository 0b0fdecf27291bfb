import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { NodeDefinition } from "./graph.ts";
import { MERGE_HELD_MAX } from "./limits.ts";
import { replayJournal } from "./replay.ts";
import { EAR_EDGES, EAR_NODES, graphOf, MODEL_NODES, VOICE_EDGES, VOICE_NODES } from "./testing/graphs.ts";
import { KernelHarness, node, testConfig } from "./testing/harness.ts";
import { clauses, counted, invocationOf } from "./testing/said.ts";

const MS = 1_000_000;

/** Two translators over one reply, brought together again; `a` goes a longer way. */
function two(settings: NodeDefinition["settings"]): { h: KernelHarness; a: number; b: number } {
  const graph = graphOf(
    [
      ...EAR_NODES,
      ...MODEL_NODES,
      node("a", "translator", "turn", { target_language: "de" }, ["a/x"]),
      node("b", "translator", "turn", { target_language: "fr" }, ["b/x"]),
      node("a1", "filter", "turn"),
      node("a2", "filter", "turn"),
      node("join", "merge", "turn", settings),
      ...VOICE_NODES.map((n) => (n.id === "segmenter" ? { ...n, settings: { first_min_chars: 1, min_chars: 1 } } : n)),
    ],
    [
      ...EAR_EDGES,
      "stt.text -> endpointing.text",
      "endpointing.utterance -> context.utterance",
      "context.messages -> llm.messages",
      "llm.text -> a.text",
      "llm.text -> b.text",
      "a.text -> a1.text",
      "a1.text -> a2.text",
      "a2.text -> join.text",
      "b.text -> join.text",
      "join.text -> segmenter.text",
      ...VOICE_EDGES,
    ],
  );
  const h = new KernelHarness(testConfig(graph));
  h.connect();
  h.utter("tell me");
  const llm = h.open("llm");
  h.feed(h.textChunk(llm, "Hello."), h.outcome(llm));
  return { h, a: invocationOf(h, "a"), b: invocationOf(h, "b") };
}

const said = (h: KernelHarness): string => clauses(h).join("").replace(/\s+/g, " ").trim();

describe("F-005 merge", () => {
  test("timestamp/v1 puts what took a longer way where its stamp belongs; arrival/v1 takes it as it arrives", () => {
    const run = (rule: string): string => {
      const { h, a, b } = two({ rule, wait_ms: 100 });
      h.nowNs += 10 * MS;
      h.feedAt([
        { body: h.textChunk(a, "One. "), atNs: h.nowNs - 2 * MS },
        { body: h.textChunk(b, "Two. "), atNs: h.nowNs - MS },
      ]);
      h.feed(h.outcome(a), h.outcome(b));
      expect(replayJournal(h.config, h.journal).identical).toBe(true);
      return said(h);
    };
    expect(run("timestamp/v1")).toBe("One. Two.");
    expect(run("arrival/v1")).toBe("Two. One.");
  });

  test("ties are decided by source priority", () => {
    const run = (priority: string[]): string => {
      const { h, a, b } = two({ rule: "timestamp/v1", priority, wait_ms: 50 });
      h.feed(h.textChunk(a, "One. "), h.textChunk(b, "Two. "));
      h.feed(h.outcome(a), h.outcome(b));
      return said(h);
    };
    expect(run(["a2", "b"])).toBe("One. Two.");
    expect(run(["b", "a2"])).toBe("Two. One.");
    expect(run([])).toBe("One. Two.");
  });

  test("the wait is bounded: an input that stays silent holds the others back no longer than wait_ms", () => {
    const { h, b } = two({ rule: "timestamp/v1", wait_ms: 40 });
    h.feed(h.textChunk(b, "Two. "));
    h.advance(39);
    expect(said(h)).toBe("");
    h.advance(2);
    expect(said(h)).toBe("Two.");
  });

  test("NF-004 what is held is bounded in number, too", () => {
    const { h, b } = two({ rule: "timestamp/v1", wait_ms: 5_000 });
    for (let i = 0; i < MERGE_HELD_MAX + 3; i++) h.feed(h.textChunk(b, `${i}. `));
    expect(said(h)).toBe("0. 1. 2.");
  });

  test("every input must end before the stream does; an unknown order of ends changes nothing", () => {
    const { h, a, b } = two({ rule: "arrival/v1" });
    h.feed(h.textChunk(b, "Two."), h.outcome(b));
    expect(h.signals("commit")).toEqual([]);
    h.feed(h.textChunk(a, "One."), h.outcome(a));
    h.speakPending(2);
    expect(h.signals("commit")).toEqual(["commit#1"]);
    expect(said(h)).toBe("Two. One.");
  });

  test("F-034 a cut turn leaves nothing held and no timer behind", () => {
    const { h, b } = two({ rule: "timestamp/v1", wait_ms: 5_000 });
    h.feed(h.textChunk(b, "Two. "));
    h.feed(h.control("stop", { turn: 1, reason: "user_stop" }));
    expect([...h.timers.keys()].filter((id) => id.startsWith("merge"))).toEqual([]);
    h.advance(6_000);
    expect(clauses(h)).toEqual([]);
  });

  test("timestamp/v1 gives one order for all interleavings and batches; the journal replays to the same", () => {
    const event = fc.record({ source: fc.boolean(), afterMs: fc.nat({ max: 3 }), batch: fc.boolean() });
    fc.assert(
      fc.property(fc.array(event, { minLength: 1, maxLength: 24 }), (drawn) => {
        const first = { afterMs: 0, batch: false };
        const events = [{ ...first, source: true }, { ...first, source: false }, ...drawn];
        const { h, a, b } = two({ rule: "timestamp/v1", wait_ms: 1_000, priority: ["b"] });
        const expected: { text: string; stamp: number; rank: number; at: number }[] = [];
        let waiting: Parameters<KernelHarness["feedAt"]>[0] = [];
        events.forEach(({ source, afterMs, batch }, at) => {
          h.nowNs += afterMs * MS;
          const text = `${source ? "a" : "b"}${at}.`;
          waiting = [...waiting, { body: h.textChunk(source ? a : b, `${text} `), atNs: h.nowNs }];
          expected.push({ text, stamp: h.nowNs, rank: source ? 1 : 0, at });
          if (batch) {
            h.feedAt(waiting);
            waiting = [];
          }
        });
        h.feedAt([...waiting, { body: h.outcome(a), atNs: h.nowNs }, { body: h.outcome(b), atNs: h.nowNs }]);
        expected.sort((x, y) => x.stamp - y.stamp || x.rank - y.rank || x.at - y.at);
        expect(said(h)).toBe(expected.map(({ text }) => text).join(" "));
        expect(counted(h, "merge_late")).toEqual({});
        expect(replayJournal(h.config, h.journal).identical).toBe(true);
      }),
      { numRuns: 150 },
    );
  });
});
