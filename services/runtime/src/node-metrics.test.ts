import { asMonoNs, type MonoNs } from "@rspp/base/brand";
import { edgeOffer } from "@rspp/kernel/edge-buffer";
import type { KernelEvent } from "@rspp/kernel/event";
import type { BufferSpec, GraphDefinition } from "@rspp/kernel/graph";
import { createSession } from "@rspp/kernel/state";
import { assistantGraph, testConfig } from "@rspp/kernel/testing/harness";
import { MetricRegistry } from "@rspp/telemetry/metric-registry";
import { prometheusText } from "@rspp/telemetry/prometheus";
import { describe, expect, test } from "vitest";
import { Metrics } from "./metrics.ts";
import { providerTimeNs } from "./metrics-overlap.ts";
import { GraphMetrics, SessionGraph } from "./node-metrics.ts";
import { Overhead, SAMPLED_STEPS } from "./overhead.ts";
import { type Bench, bench } from "./testing/bench.ts";

/** Values of one metric by its labels, as `label=value,…`. */
function values(registry: MetricRegistry, name: string): Record<string, number> {
  const metric = registry.collect().find(({ family }) => family.definition.name === name);
  if (metric === undefined) throw new Error(`${name} is no metric`);
  return Object.fromEntries(
    metric.family.series().map(({ labels, value }) => {
      const key = Object.entries(labels).map(([label, of]) => `${label}=${of}`);
      return [key.join(), "count" in value ? value.count : value.value];
    }),
  );
}

async function oneTurn(options: Parameters<typeof bench>[0] = {}): Promise<Bench> {
  const b = bench(options);
  const { session, line } = b.open();
  await b.talk(line, 20, 20);
  await b.until(() => line.sent.some((m) => m.kind === "media" && m.end));
  await b.pass(20_000);
  session.operator("end");
  await session.ended;
  return b;
}

const event = (seq: number, body: KernelEvent["body"]): KernelEvent => {
  const scope = { turn: 0, generation: 0, utterance: 0 };
  return { seq, lane: 1, ...scope, monoNs: asMonoNs(seq), cause: 0, body };
};
const frame = (seq: number): KernelEvent => {
  const format = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 };
  const payload = { ref: seq, hash: "", bytes: 640 };
  const rest = { segment: -1, segmentEnd: false, segmentChars: 0, words: null };
  return event(seq, { type: "audio", payload, format, mediaUs: seq * 20_000, durationUs: 20_000, ...rest });
};
const partial = (seq: number, revision: number): KernelEvent => {
  const rest = { spans: [], chars: 4, segment: 0, final: false, confidence: 1, language: "" };
  return event(seq, { type: "text", revision, ...rest });
};

/** Offers to the named edge of a session of its own, and what the registry then says of it. */
function offered(edgeId: string, buffer: Partial<BufferSpec>, events: readonly KernelEvent[]) {
  const base = assistantGraph();
  const edges = base.edges.map((edge) =>
    edge.id === edgeId ? { ...edge, buffer: { ...edge.buffer, ...buffer } } : edge,
  );
  const graph: GraphDefinition = { ...base, edges };
  const state = createSession(testConfig(graph));
  const registry = new MetricRegistry();
  const watched = new SessionGraph(new GraphMetrics(new Metrics(registry)).series(graph), state.run, () => undefined);
  const at = graph.edges.findIndex(({ id }) => id === edgeId);
  const edge = state.run.edges[at];
  const spec = graph.edges[at]?.buffer;
  if (edge === null || edge === undefined || spec === undefined) throw new Error(`${edgeId} is no edge of the session`);
  for (const one of events) edgeOffer(edge, spec, one, 0 as MonoNs);
  watched.depths(true);
  watched.collect();
  const of = (name: string) => values(registry, name)[`edge=${edgeId}`];
  return {
    events: of("rspp_edge_events_total"),
    dropped: of("rspp_edge_dropped_total"),
    merged: of("rspp_edge_merged_total"),
    depth: of("rspp_edge_depth_items"),
    high: of("rspp_edge_depth_high_items"),
  };
}

describe("F-069 depth, drops and merges per edge", () => {
  const frames = (count: number) => Array.from({ length: count }, (_, i) => frame(i + 1));
  const partials = (count: number) => Array.from({ length: count }, (_, i) => partial(i + 1, i));

  test("only the drop path counts drops", () => {
    expect(offered("e1", { strategy: "drop_oldest", maxItems: 5 }, frames(8))).toEqual({
      events: 8,
      dropped: 3,
      merged: 0,
      depth: 5,
      high: 5,
    });
    const newest = offered("e1", { strategy: "drop_newest", maxItems: 5 }, frames(8));
    expect(newest).toEqual({ events: 5, dropped: 3, merged: 0, depth: 5, high: 5 });
    expect(offered("e1", { strategy: "latest_only" }, frames(8))).toMatchObject({ dropped: 7, merged: 0, depth: 1 });
    // Two wait beside the two queued; the fifth finds no place to wait.
    expect(offered("e1", { strategy: "block", maxItems: 2 }, frames(5))).toEqual({
      events: 2,
      dropped: 1,
      merged: 0,
      depth: 4,
      high: 4,
    });
  });

  test("only the merge path counts merges", () => {
    const coalesced = offered("e4", { strategy: "coalesce" }, partials(6));
    expect(coalesced).toEqual({ events: 6, dropped: 0, merged: 5, depth: 1, high: 1 });
    expect(offered("e4", { strategy: "coalesce" }, [])).toMatchObject({ events: 0, dropped: 0, merged: 0 });
  });

  test("the same counts once, however often it is read, and a turn's edges after the turn too", async () => {
    const b = await oneTurn();
    const once = values(b.runtime.metrics.registry, "rspp_edge_events_total");
    expect(values(b.runtime.metrics.registry, "rspp_edge_events_total")).toEqual(once);
    // 40 frames of the caller; the turn's question and its end; words and their end; frames of the reply and their end.
    expect(once).toMatchObject({ "edge=e1": 40, "edge=e2": 40, "edge=e5": 2, "edge=e6": 2 });
    expect(once["edge=e9"]).toBeGreaterThan(10);
    expect(values(b.runtime.metrics.registry, "rspp_edge_depth_high_items")["edge=e9"]).toBeGreaterThan(0);
    expect(new Set(Object.values(values(b.runtime.metrics.registry, "rspp_edge_depth_items")))).toEqual(new Set([0]));
    expect(new Set(Object.values(values(b.runtime.metrics.registry, "rspp_edge_dropped_total")))).toEqual(new Set([0]));
  });
});

describe("F-068 F-010 latency per node", () => {
  test("every built-in node of a turn: first output and whole run; provider calls by provider and outcome", async () => {
    const { runtime } = await oneTurn();
    const { registry } = runtime.metrics;
    const runs = values(registry, "rspp_node_run_seconds");
    for (const key of ["node=context,kind=context", "node=llm,kind=llm", "node=segmenter,kind=segmenter"])
      expect(runs[key], key).toBe(1);
    for (const key of ["node=tts,kind=tts", "node=speaker,kind=output", "node=stt,kind=stt"])
      expect(runs[key], key).toBe(1);
    const first = values(registry, "rspp_node_first_output_seconds");
    for (const key of ["node=llm,kind=llm", "node=segmenter,kind=segmenter", "node=stt,kind=stt"])
      expect(first[key], key).toBe(1);
    expect(first["node=vad,kind=vad"]).toBeGreaterThan(0);
    expect(first["node=endpointing,kind=endpointing"]).toBeGreaterThan(0);
    expect(values(registry, "rspp_provider_outcomes_total")).toEqual({
      "provider=sim/stt,modality=stt,outcome=success": 1,
      "provider=sim/llm,modality=llm,outcome=success": 1,
      "provider=sim/tts,modality=tts,outcome=success": 1,
    });
    expect(values(registry, "rspp_turns_closed_total")).toEqual({ "outcome=commit,reason=": 1 });
    expect(values(registry, "rspp_turns_opened_total")).toEqual({ "origin=endpoint": 1 });
    expect(values(registry, "rspp_sessions_open")).toEqual({ "": 0 });
    const text = prometheusText(registry, { service: "runtime", instanceId: "r", build: "t" });
    expect(text).toContain('rspp_node_run_seconds_bucket{node="llm",kind="llm",le="+Inf"} 1');
    expect(text).not.toContain("session-1");
  });

  test("a language model of 300 ms to its first word is told so, and the segmenter is not", async () => {
    const b = bench();
    const { open } = b.providers;
    b.providers.open = (request, sink) => {
      if (request.modality !== "llm") return open(request, sink);
      const slow = open(request, sink);
      const push: typeof slow.push = (input) => {
        b.clock.timerAt(asMonoNs(b.clock.nowNs() + 300e6), () => slow.push(input));
      };
      return {
        push,
        finish: () => b.clock.timerAt(asMonoNs(b.clock.nowNs() + 300e6), () => slow.finish()),
        cancel: (r) => slow.cancel(r),
      };
    };
    const { session, line } = b.open();
    await b.talk(line, 20, 20);
    await b.until(() => line.signals().includes("commit/1"));
    await b.pass(20_000);
    session.operator("end");
    await session.ended;
    const { of } = b.runtime.metrics;
    expect(of.nodeFirstOutput.with("llm", "llm").summary().p50Ms).toBeCloseTo(301, 0);
    expect(of.nodeFirstOutput.with("segmenter", "segmenter").summary().p50Ms).toBeLessThan(50);
    expect(of.providerFirstOutput.with("sim/llm", "llm").summary().p50Ms).toBeCloseTo(301, 0);
    // F-052: the providers' time is not the platform's.
    expect(b.runtime.metrics.read("first_output_ms")?.maxMs).toBeGreaterThan(301);
    expect(b.runtime.metrics.read("turn_overhead_ms")?.maxMs).toBeLessThan(5);
  });
});

describe("F-052 overhead apart from node time", () => {
  test("one step in so many is timed, part by part, telemetry by itself", () => {
    const metrics = new Metrics();
    let nowMs = 0;
    const overhead = new Overhead(metrics, () => nowMs);
    let timed = 0;
    for (let i = 0; i < SAMPLED_STEPS * 3; i++) {
      if (!overhead.begin()) continue;
      timed += 1;
      nowMs += 2;
      overhead.ended("kernel");
      nowMs += 1;
      overhead.ended("telemetry");
    }
    expect([timed, metrics.of.steps.with().value]).toEqual([3, SAMPLED_STEPS * 3]);
    expect(metrics.of.stepTime.with("kernel").summary()).toMatchObject({ count: 3, maxMs: 2 });
    expect(metrics.of.stepTime.with("telemetry").summary()).toMatchObject({ count: 3, maxMs: 1 });
  });

  test("time in which a provider was waited for: overlaps once, gaps not at all", () => {
    const work = (openedNs: number, firstNs: number, endNs: number) => ({ openedNs, firstNs, endNs });
    // Language model from 10, first word at 50, voice opened at 70 while it still runs, first sound at 90.
    expect(providerTimeNs([work(10, 50, 200), work(70, 90, 300)], 0, 100)).toBe(80);
    // The first had ended at 60: until 70 nobody worked.
    expect(providerTimeNs([work(10, 50, 60), work(70, 90, 300)], 0, 100)).toBe(70);
    expect(providerTimeNs([], 0, 100)).toBe(0);
    expect(providerTimeNs([work(0, 0, 0)], 20, 100)).toBe(80);
    expect(providerTimeNs([work(0, 500, 600), work(5, 400, 0)], 20, 100)).toBe(80);
  });
});
