import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Effect } from "./effect.ts";
import { LANE_DATA, LANE_TELEMETRY } from "./event.ts";
import type { InputBody } from "./input.ts";
import {
  lanePop,
  lanePush,
  lanesCreate,
  lanesForgetTurn,
  lanesReady,
  type ReadyItem,
  type WaitingLane,
} from "./lanes.ts";
import { QUANTUM_DISPATCHES, TELEMETRY_QUEUED_MAX, TELEMETRY_SHARE } from "./limits.ts";
import { replayJournal } from "./replay.ts";
import { assistantGraph, KernelHarness, node, POLICY, testConfig } from "./testing/harness.ts";

const laneOp = fc.oneof(
  fc.record({
    do: fc.constant("push" as const),
    lane: fc.constantFrom<WaitingLane>(LANE_DATA, LANE_TELEMETRY),
    due: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 20 })),
    turn: fc.integer({ min: 0, max: 3 }),
  }),
  fc.record({
    do: fc.constant("pop" as const),
    lane: fc.constantFrom<WaitingLane>(LANE_DATA, LANE_TELEMETRY),
    now: fc.integer({ min: 0, max: 20 }),
  }),
  fc.record({ do: fc.constant("forget" as const), turn: fc.integer({ min: 0, max: 3 }) }),
);

test("F-142 lanes against a sorted array: (due, sequence) inside a lane", () => {
  fc.assert(
    fc.property(fc.array(laneOp, { maxLength: 120 }), (ops) => {
      const lanes = lanesCreate();
      const model: ReadyItem[][] = [[], [], []];
      let seq = 0;
      for (const op of ops) {
        if (op.do === "push") {
          seq += 1;
          const item = { due: op.due, seq, turn: op.turn, edge: 0 };
          lanePush(lanes, op.lane, item);
          model[op.lane]?.push(item);
          model[op.lane]?.sort((a, b) => a.due - b.due || a.seq - b.seq);
        } else if (op.do === "pop") {
          const first = model[op.lane]?.[0];
          const expected = first !== undefined && first.due <= op.now ? model[op.lane]?.shift() : undefined;
          expect(lanePop(lanes, op.lane, op.now)).toBe(expected);
        } else {
          lanesForgetTurn(lanes, op.turn);
          model[LANE_DATA] = (model[LANE_DATA] ?? []).filter((i) => i.turn !== op.turn);
        }
        expect(lanesReady(lanes, 10)).toBe(model.some((items) => (items[0]?.due ?? 99) <= 10));
      }
      expect([lanes.data.length, lanes.telemetry.length]).toEqual(model.slice(1).map((items) => items.length));
    }),
  );
});

const fanGraph = () => ({
  pipelineVersion: "t@1",
  nodes: [
    node("caller", "ingress", "session"),
    ...Array.from({ length: 8 }, (_, i) => node(`f${i}`, "filter", "session")),
    node("vad", "vad", "session"),
    node("ep", "endpointing", "session"),
    node("speaker", "output", "session"),
  ],
  edges: [
    ...Array.from({ length: 8 }, (_, i) => [
      wire(`a${i}`, "caller", "audio", `f${i}`, "in"),
      wire(`b${i}`, `f${i}`, "out", "speaker", "audio"),
    ]).flat(),
    wire("v", "caller", "audio", "vad", "audio"),
    { ...wire("w", "vad", "activity", "ep", "activity"), type: "activity" as const },
  ],
});

const wire = (id: string, from: string, out: string, to: string, into: string) => ({
  id,
  from: { node: from, port: out },
  to: { node: to, port: into },
  type: "audio" as const,
  buffer: {
    maxItems: 256,
    maxBytes: 1 << 24,
    maxQueueMs: 60_000,
    strategy: "drop_oldest" as const,
    maxBlockMs: 0,
    source: "test",
  },
});

/** The effects of each step so far, as the replay sees them; it must be identical besides. */
function steps(h: KernelHarness, from = 0): Effect[][] {
  const seen: Effect[][] = [];
  const replay = replayJournal(h.config, h.journal, { onStep: (_batch, effects) => seen.push([...effects]) });
  expect(replay.divergences).toEqual([]);
  return seen.slice(from);
}

const metrics = (command: number, from: number, count: number): InputBody[] =>
  Array.from({ length: count }, (_, i) => ({
    type: "node_emitted",
    command,
    index: from + i,
    port: "activity",
    body: { type: "metrics", name: "level", value: i },
  }));

const activity = (command: number, index: number, speech: boolean): InputBody => ({
  type: "node_emitted",
  command,
  index,
  port: "activity",
  body: { type: "activity", speech, probability: 1, mediaUs: 0, durationUs: 20_000 },
});

const count = (effects: readonly Effect[], type: Effect["type"]) => effects.filter((e) => e.type === type).length;

describe("F-142 all three lanes saturated", () => {
  function busyVad(): { h: KernelHarness; command: number } {
    const h = new KernelHarness(testConfig(fanGraph()));
    h.connect();
    const command = h.feed(h.frame()).flatMap((e) => (e.type === "node_event" ? [e.command] : []))[0] ?? 0;
    return { h, command };
  }

  test("the quantum is respected and what is left keeps the session runnable", () => {
    const { h } = busyVad();
    const before = h.journal.length;
    h.feed(...Array.from({ length: 100 }, () => h.frame()));
    // 100 frames over eight branches, each dispatched once; the output pulls.
    const perStep = steps(h, before).map((effects) => count(effects, "egress_media"));
    expect(perStep.reduce((a, b) => a + b, 0)).toBe(800);
    expect(Math.max(...perStep)).toBe(QUANTUM_DISPATCHES);
    expect(perStep).toHaveLength(Math.ceil(800 / QUANTUM_DISPATCHES));
    expect(lanesReady(h.state.lanes, h.nowNs)).toBe(false);
  });

  test("a cancel and an end of utterance act in the step they come in", () => {
    const h = new KernelHarness(testConfig(assistantGraph(), { policy: { ...POLICY, bargeIn: false } }));
    h.connect();
    h.utter("tell me a story");
    h.feed(h.textChunk(h.open("llm"), "Once upon a time. "));
    h.hear(true, 4);
    expect(h.state.prelude.utterance.phase).toBe("confirmed");
    const before = h.journal.length;
    h.feed(
      ...Array.from({ length: 150 }, () => h.frame()),
      h.control("cancel", { turn: 1, reason: "user" }),
      h.control("end_of_utterance", { controlClass: "positioned", lastMediaSequence: h.audioSequence }),
    );
    const all = steps(h, before);
    expect(all.length).toBeGreaterThan(1);
    const types = (all[0] ?? []).map((e) => e.type);
    expect(types).toContain("egress_fence");
    expect(types).toContain("provider_finish");
    expect(h.state.prelude.utterance.phase).toBe("none");
  });

  test("telemetry neither delays data nor costs it room, and has its share of a step", () => {
    const { h, command } = busyVad();
    const before = h.journal.length;
    const flood = TELEMETRY_QUEUED_MAX - 10;
    h.feed(...metrics(command, 0, flood), activity(command, flood, true), h.frame(), h.frame());
    const all = steps(h, before);
    expect(h.state.prelude.onsetFrames).toBe(1);
    expect(count(all[0] ?? [], "egress_media")).toBe(16);
    for (const effects of all) expect(count(effects, "telemetry")).toBeLessThanOrEqual(TELEMETRY_SHARE);
    expect(all.flat().filter((e) => e.type === "telemetry" && e.name === "level")).toHaveLength(flood);
    expect(h.signals("drop_notice")).toEqual([]);
  });

  test("no telemetry is told while data waits", () => {
    const { h, command } = busyVad();
    const before = h.journal.length;
    h.feed(...metrics(command, 0, 100), ...Array.from({ length: 60 }, () => h.frame()));
    const all = steps(h, before);
    const levels = (effects: readonly Effect[]) => effects.filter((e) => e.type === "telemetry" && e.name === "level");
    const full = all.filter((effects) => count(effects, "egress_media") === QUANTUM_DISPATCHES);
    expect(full).toHaveLength(7);
    expect(full.flatMap(levels)).toEqual([]);
    expect(all.flatMap(levels)).toHaveLength(100);
  });

  test("telemetry beyond its bound is dropped and counted", () => {
    const { h, command } = busyVad();
    h.feed(...metrics(command, 0, 250));
    expect(h.state.counters.telemetryDropped).toBe(250 - TELEMETRY_QUEUED_MAX);
    expect(h.state.telemetry.size).toBe(0);
  });
});

test("F-009 partials flow while the utterance runs, the final comes once at its end", () => {
  const h = new KernelHarness(testConfig(assistantGraph()));
  h.connect();
  h.hear(true, 5);
  const stt = h.open("stt");
  const texts = () =>
    h.log.flatMap(({ effect }) => (effect.type === "egress_text" && effect.role === "user" ? [effect] : []));
  for (const [i, part] of ["tell", "tell me", "tell me a"].entries()) {
    h.feed(h.textChunk(stt, part, { final: false, revision: i + 1 }));
    expect(
      texts()
        .map((t) => [h.text(t.spans), t.final, t.revision])
        .at(-1),
    ).toEqual([part, false, i + 1]);
  }
  expect(h.state.prelude.utterance.phase).toBe("confirmed");
  h.hear(false, 6);
  h.feed(h.textChunk(stt, "tell me a story", { final: true, revision: 4 }), h.outcome(stt));
  expect(texts().filter((t) => t.final)).toHaveLength(1);
  expect(texts().map((t) => t.revision)).toEqual([1, 2, 3, 4]);
  expect(h.signals("turn_open")).toEqual(["turn_open_proposed", "turn_open#1"]);
});
