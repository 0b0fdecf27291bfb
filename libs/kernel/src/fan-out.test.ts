import fc from "fast-check";
import { expect, test } from "vitest";
import type { Effect } from "./effect.ts";
import type { GraphDefinition } from "./graph.ts";
import { EAR_EDGES, EAR_NODES, graphOf, MODEL_NODES, VOICE_EDGES, VOICE_NODES } from "./testing/graphs.ts";
import { assistantGraph, KernelHarness, node, testConfig } from "./testing/harness.ts";
import { askedOf, invocationOf } from "./testing/said.ts";

/** The assistant with a second voice beside the first: the segmenter's clauses fan out to both. */
function forked(): GraphDefinition {
  const graph = assistantGraph();
  const text = graph.edges.find((edge) => edge.to.node === "tts");
  if (text === undefined) throw new Error("the assistant has a voice");
  return {
    ...graph,
    nodes: [...graph.nodes, node("tts2", "tts", "turn", {}, ["sim/tts"])],
    edges: [...graph.edges, { ...text, id: "fork", to: { node: "tts2", port: "text" } }],
  };
}

const cancelled = (effects: readonly Effect[]): number[] =>
  effects.flatMap((effect) => (effect.type === "provider_cancel" ? [effect.invocation] : []));

function speaking(): { h: KernelHarness; llm: number; voices: number[] } {
  const h = new KernelHarness(testConfig(forked()));
  h.connect();
  h.utter("tell me a story");
  const llm = h.open("llm");
  h.feed(h.textChunk(llm, "Once upon a time there was a fox. It lived in"));
  const voices = Object.values(h.state.invocations)
    .filter((inv) => inv.modality === "tts")
    .map((inv) => inv.id);
  return { h, llm, voices };
}

test("F-034 F-004 a fan-out gives every branch each clause once; a turn cancel stops all branches, the next turn goes on", () => {
  const { h, llm, voices } = speaking();
  expect(voices).toHaveLength(2);
  const clauses = voices.map((id) => h.state.invocations[id]?.clauses.map((clause) => h.text(clause.spans)));
  expect(clauses).toEqual([["Once upon a time there was a fox. "], ["Once upon a time there was a fox. "]]);
  const effects = h.feed(h.control("stop", { turn: 1, reason: "user_stop" }));
  expect(cancelled(effects).sort()).toEqual([llm, ...voices].sort());
  const late = h.feed(...voices.map((id) => h.audioChunk(id, 0, 34)));
  expect(late.filter((effect) => effect.type === "egress_media")).toEqual([]);
  h.fenceAck(1, 0);
  h.utter("and again");
  expect(h.signals("turn_open#2")).toHaveLength(1);
  expect(h.open("llm")).not.toBe(0);
});

test("F-034 a cancel of one branch's node leaves its sibling speaking", () => {
  const { h, llm, voices } = speaking();
  const fields = { scope: "node", node: "tts2" };
  const effects = h.feed(h.control("cancel", { turn: 1, reason: "user_cancel", fields }));
  const cut = cancelled(effects);
  expect(cut).toHaveLength(1);
  expect(h.config.graph.nodes[h.state.invocations[cut[0] ?? 0]?.node ?? -1]?.id ?? "tts2").toBe("tts2");
  const sibling = voices.find((id) => id !== cut[0]) ?? 0;
  expect(h.state.invocations[sibling]?.status).toBe("open");
  expect(h.state.invocations[llm]?.status).toBe("open");
  const out = h.feed(h.audioChunk(sibling, 0, 34));
  expect(out.filter((effect) => effect.type === "egress_media")).toHaveLength(1);
  expect(h.signals("abort")).toEqual([]);
});

test("F-004 one output feeds many nodes: every branch gets each event once, in the edge's order, however it is cut up", () => {
  const branches = ["a", "b", "c"];
  const graph = graphOf(
    [
      ...EAR_NODES,
      ...MODEL_NODES,
      ...branches.map((id) => node(id, "translator", "turn", { target_language: "de" }, ["sim/llm"])),
      node("join", "merge", "turn", { rule: "arrival/v1" }),
      ...VOICE_NODES,
    ],
    [
      ...EAR_EDGES,
      "stt.text -> endpointing.text",
      "endpointing.utterance -> context.utterance",
      "context.messages -> llm.messages",
      ...branches.flatMap((id) => [`llm.text -> ${id}.text`, `${id}.text -> join.text`]),
      "join.text -> segmenter.text",
      ...VOICE_EDGES,
    ],
  );
  const text = "One fox. Two dogs and a cat. Three. Four birds sang in a tree. ";
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: 1, max: text.length - 1 }), { maxLength: 10 }), (cuts) => {
      const h = new KernelHarness(testConfig(graph));
      h.connect();
      h.utter("tell me a story");
      const llm = invocationOf(h, "llm");
      const at = [...cuts].sort((x, y) => x - y);
      for (const [i, end] of [...at, text.length].entries()) h.feed(h.textChunk(llm, text.slice(at[i - 1] ?? 0, end)));
      h.feed(h.outcome(llm));
      for (const id of branches)
        for (let inv = invocationOf(h, id); inv !== 0; inv = invocationOf(h, id))
          h.feed(h.textChunk(inv, "Ja. "), h.outcome(inv));
      for (const id of branches) expect(askedOf(h, id).join("")).toBe(text);
    }),
    { numRuns: 60 },
  );
});
