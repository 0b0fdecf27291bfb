/** Watermarks, flow control, lane rules and presets of edges under overload (`kernel.md` §5; F-054, F-144, F-145, F-147). */
import { describe, expect, test } from "vitest";
import type { BufferSpec, GraphDefinition } from "./graph.ts";
import type { InputBody } from "./input.ts";
import { checkReplay } from "./testing/checked-replay.ts";
import { assistantWith, busyEdge, drain, frames, noticed, type Told, toldOf } from "./testing/edges.ts";
import { EAR_EDGES, EAR_NODES, graphOf, MODEL_NODES, VOICE_EDGES, VOICE_NODES } from "./testing/graphs.ts";
import { KernelHarness, node, testConfig } from "./testing/harness.ts";

const short = ({ signal, reason }: Told): string => (reason === "" ? signal : `${signal}(${reason})`);
const WATERMARK = { high: 0.8, low: 0.4 };

/** Twenty frames into ten places, then the node catches up. */
function overloaded(over: Partial<BufferSpec>): KernelHarness {
  const h = busyEdge({ maxItems: 10, maxBlockMs: 100, ...over });
  frames(h, 20);
  drain(h);
  return h;
}

describe("F-144 a watermark is told, and runs the action the plan froze", () => {
  test("F-144 crossings are told once up and once down, with edge, lane and action; a plain edge tells none", () => {
    const h = overloaded({ watermark: { ...WATERMARK, action: "drop" } });
    expect(toldOf(h, "watermark").map(({ reason, fields }) => [reason, fields])).toEqual([
      ["high", { edge: "e1", lane: "data", action: "drop", level: 80 }],
      ["low", { edge: "e1", lane: "data", action: "drop", level: 40 }],
    ]);
    checkReplay(h);
    expect(toldOf(overloaded({}), "watermark")).toEqual([]);
  });

  test("F-144 drop: nothing comes in between the marks, so the queue never reaches its bound", () => {
    const h = overloaded({ watermark: { ...WATERMARK, action: "drop" } });
    expect(noticed(h)).toEqual({ watermark: 11 });
    expect(h.state.run.edges[0]).toMatchObject({ dropped: 11, evicted: 0, delivered: 9 });
    // Below the low mark frames come in again.
    frames(h, 2);
    expect(h.state.run.edges[0]?.dropped).toBe(11);
  });

  test("F-144 block: the producer is stopped at the high mark and goes on at the low one, max_block_ms at most", () => {
    const h = busyEdge({ maxItems: 10, maxBlockMs: 100, watermark: { ...WATERMARK, action: "block" } });
    frames(h, 12);
    expect(toldOf(h, "flow_xoff", "flow_xon").map(short)).toEqual(["flow_xoff(watermark)"]);
    expect([h.state.run.edges[0]?.queue.size, h.state.run.edges[0]?.waiting.size]).toEqual([8, 3]);
    drain(h, 3);
    expect(toldOf(h, "flow_xon")).toEqual([]);
    const rest = drain(h);
    expect(toldOf(h, "flow_xon")).toHaveLength(1);
    expect(rest).toEqual([80, 100, 120, 140, 160, 180, 200, 220]);
    frames(h, 20);
    expect(Object.keys(noticed(h))).toEqual(["max_block_ms"]);
    checkReplay(h);
  });

  test("F-144 merge: text of one segment is joined instead of queued; not a word is lost", () => {
    const watermark = { ...WATERMARK, action: "merge" as const };
    const h = assistantWith({ e7: { maxItems: 10, watermark } });
    h.utter("tell me a story");
    const llm = h.open("llm");
    const parts = Array.from({ length: 30 }, (_, i) => `part ${i}, `);
    h.feed(...parts.map((part) => h.textChunk(llm, part)), h.outcome(llm));
    const edge = h.state.turns[0]?.run.edges[6];
    expect(edge).toMatchObject({ dropped: 0, evicted: 0, merged: 22, delivered: 9 });
    const spoken = h.log.flatMap(({ effect }) => (effect.type === "provider_push_text" ? [h.text(effect.spans)] : []));
    expect(spoken.join("")).toBe(parts.join(""));
    expect(toldOf(h, "watermark").map(short)).toEqual(["watermark(high)", "watermark(low)"]);
    const last = toldOf(h, "drop_notice").at(-1);
    expect([last?.reason, last?.fields.mergedCount]).toEqual(["merged", 22]);
    checkReplay(h);
  });

  test("F-144 degrade: the session is degraded while the edge is above, and says so when it is not", () => {
    const h = overloaded({ watermark: { ...WATERMARK, action: "degrade" } });
    expect(toldOf(h, "watermark", "degrade", "recovered").map(short)).toEqual([
      "watermark(high)",
      "degrade(watermark_degrade)",
      "watermark(low)",
      "recovered(watermark_low)",
    ]);
    expect(toldOf(h, "degrade")[0]?.fields).toEqual({ edge: "e1", node: "vad" });
    const statuses = h.log.flatMap(({ effect }) => (effect.type === "status" ? [effect.degraded] : []));
    expect(statuses.slice(-2)).toEqual([true, false]);
    checkReplay(h);
  });

  test("F-144 fallback: the node that cannot keep up is replaced for the turn, its invocation cut off", () => {
    const nodes = [...EAR_NODES, ...MODEL_NODES, ...VOICE_NODES].map((n) =>
      n.id === "tts" ? { ...n, fallback: "spare" } : n,
    );
    const graph = graphOf(
      [...nodes, node("spare", "tts", "turn", {}, ["sim/tts-b"])],
      [
        ...EAR_EDGES,
        "stt.text -> endpointing.text",
        "endpointing.utterance -> context.utterance",
        "context.messages -> llm.messages",
        "llm.text -> segmenter.text",
        ...VOICE_EDGES,
      ],
    );
    const run = (watermark?: BufferSpec["watermark"]): KernelHarness => {
      const edges: GraphDefinition["edges"] = graph.edges.map((edge) =>
        edge.to.node === "tts"
          ? { ...edge, buffer: { ...edge.buffer, maxItems: 10, ...(watermark === undefined ? {} : { watermark }) } }
          : edge,
      );
      const h = new KernelHarness(testConfig({ ...graph, edges }));
      h.connect();
      h.utter("tell me a story");
      const llm = h.open("llm");
      h.feed(h.textChunk(llm, "The first clause of them is here. "));
      // Nine clauses in one step: more than the mark.
      h.feed(h.textChunk(llm, "Then there is one more of those. ".repeat(9)), h.outcome(llm));
      return h;
    };
    const h = run({ ...WATERMARK, action: "fallback" });
    expect(toldOf(h, "watermark", "fallback").map(short).slice(0, 3)).toEqual([
      "watermark(high)",
      "watermark(low)",
      "fallback(watermark_fallback)",
    ]);
    expect(toldOf(h, "fallback")[0]?.fields).toMatchObject({ node: "tts", to: "spare" });
    const cancelled = h.log.flatMap(({ effect }) => (effect.type === "provider_cancel" ? [effect.reason] : []));
    expect(cancelled).toEqual(["watermark_fallback"]);
    h.speakPending(5);
    expect(h.signals("commit")).toHaveLength(1);
    checkReplay(h);
    expect(toldOf(run(), "fallback")).toEqual([]);
  });
});

describe("F-145 flow control under overload", () => {
  /** Of the events the producer has sent, those that were granted no credit for. */
  function uncredited(h: KernelHarness): number {
    const edge = h.state.run.edges[0];
    const granted = toldOf(h, "credit_grant").reduce((sum, { fields }) => sum + Number(fields.amount), 0);
    return (edge?.accepted ?? 0) - (edge?.evicted ?? 0) - granted;
  }

  test("F-145 signal: xoff when the edge is full, xon when it has taken all that waited; no credits", () => {
    const h = busyEdge({ strategy: "block", maxItems: 3, maxBlockMs: 500, flow: "signal" });
    frames(h, 8);
    expect(toldOf(h, "flow_xoff", "flow_xon", "credit_grant").map(short)).toEqual(["flow_xoff(edge_full)"]);
    drain(h);
    expect(toldOf(h, "flow_xoff", "flow_xon").map(short)).toEqual(["flow_xoff(edge_full)", "flow_xon"]);
    expect(toldOf(h, "credit_grant")).toEqual([]);
    checkReplay(h);
  });

  test("F-145 credit: the producer stops at zero, each grant is one or more, nothing goes uncredited; no xoff", () => {
    const h = busyEdge({ strategy: "block", maxItems: 100, maxBlockMs: 10_000, flow: "credit", credits: 4 });
    const grants = (): number[] => toldOf(h, "credit_grant").map(({ fields }) => Number(fields.amount));
    frames(h, 12);
    // The window, and one for the first frame, which was taken at once. Four more, then the producer stops.
    expect(grants()).toEqual([4, 1]);
    expect([h.state.run.edges[0]?.queue.size, h.state.run.edges[0]?.waiting.size]).toEqual([4, 7]);
    const seen: number[] = [];
    for (let i = 0; i < 12; i++) {
      seen.push(...drain(h, 1));
      expect(uncredited(h)).toBeLessThanOrEqual(0);
    }
    expect(seen).toEqual([20, 40, 60, 80, 100, 120, 140, 160, 180, 200, 220]);
    expect(grants().every((amount) => amount >= 1)).toBe(true);
    expect(toldOf(h, "flow_xoff", "flow_xon")).toEqual([]);
    checkReplay(h);
  });

  test("F-145 credit with a strategy that drops: at zero the newest is shed, by its reason", () => {
    const h = busyEdge({ strategy: "drop_newest", maxItems: 100, flow: "credit", credits: 4 });
    frames(h, 12);
    expect(noticed(h)).toEqual({ credits: 7 });
    expect(drain(h)).toEqual([20, 40, 60, 80]);
    expect(uncredited(h)).toBeLessThanOrEqual(0);
  });

  test("F-145 hybrid: credits and, where the producer has to wait, xoff and xon", () => {
    const h = busyEdge({ strategy: "block", maxItems: 100, maxBlockMs: 10_000, flow: "hybrid", credits: 4 });
    frames(h, 12);
    expect(toldOf(h, "flow_xoff", "flow_xon").map(short)).toEqual(["flow_xoff(edge_full)"]);
    drain(h);
    expect(toldOf(h, "flow_xoff", "flow_xon").map(short)).toEqual(["flow_xoff(edge_full)", "flow_xon"]);
    expect(toldOf(h, "credit_grant").length).toBeGreaterThan(3);
    expect(uncredited(h)).toBeLessThanOrEqual(0);
    checkReplay(h);
  });
});

describe("F-147 lane rules of an edge", () => {
  /** A node that puts data, metrics and errors on one port, into one step. */
  function mixed(lanes?: BufferSpec["lanes"]): KernelHarness {
    const h = busyEdge({ maxItems: 100 });
    const graph = h.config.graph;
    const edges = graph.edges.map((edge) =>
      edge.id === "e2"
        ? { ...edge, buffer: { ...edge.buffer, maxItems: 4, ...(lanes === undefined ? {} : { lanes }) } }
        : edge,
    );
    const made = new KernelHarness(testConfig({ ...graph, edges }));
    made.connect();
    made.feed(made.frame());
    const emitted: InputBody[] = [];
    for (let i = 0; i < 60; i++) {
      const kind = i % 6;
      emitted.push({
        type: "node_emitted",
        command: 1,
        index: i,
        port: "activity",
        body:
          kind === 5
            ? { type: "error", code: `e${i}` }
            : kind >= 3
              ? { type: "metrics", name: "level", value: i }
              : { type: "activity", speech: false, probability: 0, mediaUs: i, durationUs: 20_000 },
      });
    }
    made.feed(...emitted);
    return made;
  }
  const levels = (h: KernelHarness): number[] =>
    h.log.flatMap(({ effect }) => (effect.type === "telemetry" && effect.name === "level" ? [effect.value] : []));

  test("F-147 mixed traffic: data by its strategy, telemetry by its rule, control never dropped", () => {
    const h = mixed({ control: "block", telemetry: { strategy: "sample", maxItems: 100, sampleEvery: 4 } });
    const edge = h.state.run.edges[1];
    // 30 of data through 4 places in one step; all ten errors beside them.
    expect(edge).toMatchObject({ dropped: 0, evicted: 26, delivered: 14 });
    expect(noticed(h, "e2")).toEqual({ lane_rule: 1, max_items: 26 });
    expect(levels(h)).toEqual([3, 15, 27, 39, 51]);
    const lane = toldOf(h, "drop_notice").find(({ reason }) => reason === "lane_rule");
    expect(lane?.fields).toMatchObject({ edge: "e2", lane: "telemetry" });
    checkReplay(h);
  });

  test.each([
    ["drop_newest", [3, 4, 9]],
    ["drop_oldest", [52, 57, 58]],
    ["latest_only", [58]],
  ] as const)("F-147 telemetry of its own edge by %s", (strategy, kept) => {
    const h = mixed({ telemetry: { strategy, maxItems: 3 } });
    expect(levels(h)).toEqual(kept.map((value) => value));
    expect(h.state.counters.telemetryDropped).toBe(20 - kept.length);
    checkReplay(h);
  });

  test("F-147 without a rule telemetry shares the session's queue and takes no room of data", () => {
    const h = mixed();
    expect(levels(h)).toHaveLength(20);
    expect(noticed(h, "e2").lane_rule).toBeUndefined();
  });
});
