import { describe, expect, test } from "vitest";
import type { Effect } from "./effect.ts";
import type { GraphDefinition } from "./graph.ts";
import type { InputBody } from "./input.ts";
import { replayJournal } from "./replay.ts";
import { KernelHarness, node, testConfig } from "./testing/harness.ts";

const edge = (
  id: string,
  from: string,
  to: string,
  over: Partial<GraphDefinition["edges"][number]["buffer"]> = {},
) => ({
  id,
  from: { node: from.split(".")[0] ?? "", port: from.split(".")[1] ?? "" },
  to: { node: to.split(".")[0] ?? "", port: to.split(".")[1] ?? "" },
  type: "audio" as const,
  buffer: {
    maxItems: 3,
    maxBytes: 1 << 20,
    maxQueueMs: 60_000,
    strategy: "drop_oldest" as const,
    maxBlockMs: 100,
    source: "test",
    ...over,
  },
});

/** A caller whose audio goes to a host node that answers only when it is told to. */
const vadGraph = (over: Parameters<typeof edge>[3] = {}): GraphDefinition => ({
  pipelineVersion: "t@1",
  nodes: [node("caller", "ingress", "session"), node("vad", "vad", "session"), node("ep", "endpointing", "session")],
  edges: [
    edge("e1", "caller.audio", "vad.audio", over),
    { ...edge("e2", "vad.activity", "ep.activity"), type: "activity" },
  ],
});

function started(graph: GraphDefinition): KernelHarness {
  const h = new KernelHarness(testConfig(graph));
  h.connect();
  return h;
}

const signalsOf = (effects: readonly Effect[]) =>
  effects.flatMap((effect) => (effect.type === "signal" ? [effect.event] : []));
const commands = (effects: readonly Effect[]) =>
  effects.flatMap((effect) => (effect.type === "node_event" ? [effect] : []));
const done = (command: number): InputBody => ({ type: "node_done", command });

describe("overflow of an edge into a busy host node", () => {
  test("F-043 N+1 frames meet the bound and leave a drop_notice with the sequence range", () => {
    const h = started(vadGraph());
    const [first] = commands(h.feed(h.frame()));
    for (let i = 0; i < 3; i++) expect(signalsOf(h.feed(h.frame()))).toEqual([]);
    const [notice, ...more] = signalsOf(h.feed(h.frame()));
    expect(more).toEqual([]);
    expect(notice).toMatchObject({ signal: "drop_notice", emitter: "edge", turn: 0, reason: "max_items" });
    expect(notice?.fields).toMatchObject({ edge: "e1", lane: "data" });
    expect(notice?.fields.fromSequence).toBe(notice?.fields.toSequence);
    const seen = [];
    for (let next = first; next !== undefined; [next] = commands(h.feed(done(next.command))))
      seen.push(next.payload.ref);
    expect(seen).toEqual([1, 3, 4, 5]);
    expect(replayJournal(h.config, h.journal).identical).toBe(true);
  });

  test("F-043 block: xoff, waiting admitted in order, shed after max_block_ms, xon", () => {
    const h = started(vadGraph({ strategy: "block" }));
    const [first] = commands(h.feed(h.frame()));
    for (let i = 0; i < 3; i++) h.feed(h.frame());
    const xoff = signalsOf(h.feed(h.frame()));
    expect(xoff.map((s) => [s.signal, s.reason])).toEqual([["flow_xoff", "edge_full"]]);
    h.advance(60);
    expect(signalsOf(h.feed(h.frame()))).toEqual([]);
    // Frame 5 has waited 100 ms and is shed; frame 6 waits on and gets its own deadline.
    expect(signalsOf(h.advance(40)).map((s) => [s.signal, s.reason])).toEqual([["drop_notice", "max_block_ms"]]);
    const [second] = commands(h.feed(done(first?.command ?? 0)));
    expect(h.signals("flow_xon")).toHaveLength(1);
    expect([...h.timers.keys()].filter((id) => id.startsWith("edge"))).toEqual([]);
    const seen = [];
    for (let next = second; next !== undefined; [next] = commands(h.feed(done(next.command))))
      seen.push(next.payload.ref);
    expect(seen).toEqual([2, 3, 4, 6]);
    expect(replayJournal(h.config, h.journal).identical).toBe(true);
  });

  test("F-043 a block timer that came early is set again: nothing waits past its deadline", () => {
    const h = started(vadGraph({ strategy: "block" }));
    const [first] = commands(h.feed(h.frame()));
    for (let i = 0; i < 4; i++) h.feed(h.frame());
    h.advance(50);
    h.feed(h.frame());
    h.feed(done(first?.command ?? 0));
    h.advance(99);
    expect(h.signals("drop_notice")).toEqual([]);
    h.advance(1);
    expect(h.signals("drop_notice")).toEqual(["drop_notice(max_block_ms)"]);
  });
});

test("F-004 a port with several edges gives each branch the same event once, in the order of the spec", () => {
  const h = started({
    pipelineVersion: "t@1",
    nodes: [
      node("caller", "ingress", "session"),
      node("f1", "filter", "session"),
      node("f2", "filter", "session"),
      node("speaker", "output", "session"),
    ],
    edges: [
      edge("a", "caller.audio", "f1.in"),
      edge("b", "caller.audio", "f2.in"),
      edge("c", "f1.out", "speaker.audio"),
      edge("d", "f2.out", "speaker.audio"),
    ],
  });
  for (let i = 1; i <= 20; i++) {
    const media = h.feed(h.frame()).flatMap((effect) => (effect.type === "egress_media" ? [effect] : []));
    expect(media.map((m) => m.payload?.ref)).toEqual([i, i]);
    expect(media.map((m) => m.sequence)).toEqual([2 * i - 1, 2 * i]);
  }
});

test("F-008 a burst replayed after a restart gives the same sequence", () => {
  const h = started(vadGraph({ maxItems: 8 }));
  h.feed(...Array.from({ length: 40 }, () => h.frame()));
  for (let i = 0; i < 8; i++) h.feed(done(h.state.nextCommand - 1));
  const replay = replayJournal(h.config, JSON.parse(JSON.stringify(h.journal)));
  expect(replay.divergences).toEqual([]);
  expect(replay.state).toEqual(h.state);
});
