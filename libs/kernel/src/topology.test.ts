import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { GraphDefinition } from "./graph.ts";
import { replayJournal } from "./replay.ts";
import { assistantGraph, KernelHarness, node, testConfig } from "./testing/harness.ts";
import { buildTopology } from "./topology.ts";

describe("buildTopology", () => {
  test("numbers nodes and edges in the order of the spec", () => {
    const graph = assistantGraph();
    const t = buildTopology(graph);
    expect(t.edgeFrom.map((n) => graph.nodes[n]?.id)).toEqual(graph.edges.map((e) => e.from.node));
    expect(t.edgeTo.map((n) => graph.nodes[n]?.id)).toEqual(graph.edges.map((e) => e.to.node));
    expect([t.ingress, t.endpointing, t.llm, t.recognisers, t.outputs, t.entryEdges]).toEqual([0, 3, 5, [2], [8], [4]]);
    expect(t.out[0]).toEqual({ audio: [0, 1] });
    expect(t.into[3]).toEqual([2, 3]);
  });

  test("refuses what the spec's compiler must have refused", () => {
    const graph = assistantGraph();
    const [first] = graph.edges;
    if (first === undefined) throw new Error("the graph has edges");
    const broken: GraphDefinition[] = [
      { ...graph, nodes: [...graph.nodes, node("vad", "vad", "session")] },
      { ...graph, edges: [{ ...first, to: { node: "nobody", port: "audio" } }] },
      { ...graph, edges: [{ ...first, from: { node: "caller", port: "video" } }] },
    ];
    for (const bad of broken) expect(() => buildTopology(bad)).toThrow();
  });
});

const echo = (filters: readonly number[]): GraphDefinition => {
  const branches = filters.map((length, b) => Array.from({ length }, (_, i) => `f${b}_${i}`));
  const nodes = [
    node("caller", "ingress", "session"),
    ...branches.flat().map((id) => node(id, "filter", "session")),
    node("speaker", "output", "session"),
  ];
  const edges = branches.flatMap((ids) =>
    ["caller", ...ids].map((from, i) => ({
      id: `${from}>${ids[i] ?? "speaker"}#${ids.join()}`,
      from: { node: from, port: i === 0 ? "audio" : "out" },
      to: { node: ids[i] ?? "speaker", port: i < ids.length ? "in" : "audio" },
      type: "audio" as const,
      buffer: {
        maxItems: 256,
        maxBytes: 1 << 24,
        maxQueueMs: 60_000,
        strategy: "drop_oldest" as const,
        maxBlockMs: 0,
        source: "test",
      },
    })),
  );
  return { pipelineVersion: "echo@1", nodes, edges };
};

test("F-004 F-008 whatever the branches, each brings every frame to the output once and in order", () => {
  const shapes = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 });
  const bursts = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(shapes, bursts, (shape, sizes) => {
      const h = new KernelHarness(testConfig(echo(shape)));
      h.connect();
      const seen: number[] = [];
      for (const size of sizes) {
        const effects = h.feed(...Array.from({ length: size }, () => h.frame()));
        for (const e of effects) if (e.type === "egress_media") seen.push(e.payload?.ref ?? 0);
      }
      const total = sizes.reduce((a, b) => a + b, 0);
      expect(seen).toHaveLength(total * shape.length);
      const times = new Map<number, number>();
      for (const ref of seen) {
        times.set(ref, (times.get(ref) ?? 0) + 1);
        // No branch is ahead of another by a frame it has not had itself.
        if (ref > 1) expect(times.get(ref)).toBeLessThanOrEqual(times.get(ref - 1) ?? 0);
      }
      expect([...times.values()].every((n) => n === shape.length)).toBe(true);
      expect(replayJournal(h.config, h.journal).identical).toBe(true);
    }),
    { numRuns: 60 },
  );
});
