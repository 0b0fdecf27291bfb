import { NS_PER_MS } from "@rspp/base/brand";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Effect } from "./effect.ts";
import { replayJournal } from "./replay.ts";
import { assistantGraph, KernelHarness, node, POLICY, testConfig } from "./testing/harness.ts";

type Media = Extract<Effect, { type: "egress_media" }>;

function mediaOf(h: KernelHarness, turn = 1): { atNs: number; media: Media }[] {
  return h.log.flatMap(({ atNs, effect }) =>
    effect.type === "egress_media" && effect.turn === turn ? [{ atNs, media: effect }] : [],
  );
}

/** A turn whose clause has been pushed to the voice; nothing synthesised yet. */
function speaking(): { h: KernelHarness; tts: number; chars: number } {
  const h = new KernelHarness(testConfig(assistantGraph()));
  h.connect();
  h.utter("tell me a story");
  h.feed(h.textChunk(h.open("llm"), "Once upon a time. "), h.outcome(h.open("llm")));
  const tts = h.open("tts");
  return { h, tts, chars: h.state.invocations[tts]?.clauses[0]?.spans[0]?.to ?? 0 };
}

/** Playout at the adapter as it must be: when each frame begins, given that it plays as soon and as gaplessly as it can. */
function playout(sent: readonly { atNs: number; media: Media }[]): { gaps: number; maxAheadNs: number } {
  let endNs = -1;
  let gaps = 0;
  let maxAheadNs = 0;
  for (const { atNs, media } of sent) {
    if (media.end) continue;
    if (endNs >= 0 && atNs > endNs) gaps += 1;
    endNs = Math.max(endNs, atNs) + media.durationUs * 1_000;
    maxAheadNs = Math.max(maxAheadNs, endNs - atNs);
  }
  return { gaps, maxAheadNs };
}

describe("pacing", () => {
  test("F-175 never more than outputLeadMs ahead, no gap while there is something to play, everything once in order", () => {
    const bursts = fc.array(
      fc.record({ waitMs: fc.integer({ min: 0, max: 300 }), frames: fc.integer({ min: 1, max: 40 }) }),
      { minLength: 1, maxLength: 8 },
    );
    fc.assert(
      fc.property(bursts, fc.constantFrom(10_000, 20_000, 40_000, 100_000), (steps, durationUs) => {
        const { h, tts, chars } = speaking();
        const refs: number[] = [];
        for (const step of steps) {
          h.advance(step.waitMs);
          for (let i = 0; i < step.frames; i++) {
            const chunk = h.audioChunk(tts, 0, chars, { durationUs });
            if (chunk.type === "provider_chunk") refs.push(chunk.chunk.payload.ref);
            h.feed(chunk);
            checkFed(h, durationUs);
          }
        }
        h.feed(h.audioChunk(tts, 0, chars, { durationUs, segmentEnd: true }), h.outcome(tts));
        h.advance(60_000);
        const sent = mediaOf(h);
        expect(sent.at(-1)?.media.end).toBe(true);
        expect(sent.slice(0, refs.length).map(({ media }) => media.payload?.ref)).toEqual(refs);
        expect(sent.map(({ media }) => media.sequence)).toEqual(sent.map((_, i) => i + 1));
        expect(playout(sent).maxAheadNs).toBeLessThanOrEqual(h.config.outputLeadMs * NS_PER_MS);
        expect(replayJournal(h.config, h.journal).identical).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  /** Queued audio means that what was sent still plays, or will until the timer: half the lead at least. */
  function checkFed(h: KernelHarness, durationUs: number): void {
    const turn = h.state.turns[0];
    const queued = turn?.run.edges.reduce((n, edge) => n + (edge?.queuedUs ?? 0), 0) ?? 0;
    if (turn === undefined || queued === 0) return;
    const aheadNs = turn.output.startNs + turn.output.sentUs * 1_000 - h.nowNs;
    expect(aheadNs).toBeGreaterThan(Math.floor((h.config.outputLeadMs * NS_PER_MS) / 2) - durationUs * 1_000);
    expect(h.timers.get("output:1")).toBeLessThanOrEqual(h.nowNs + aheadNs);
  }

  test("a long reply plays without a gap", () => {
    const { h, tts, chars } = speaking();
    for (let i = 0; i < 200; i++) h.feed(h.audioChunk(tts, 0, chars, { segmentEnd: i === 199 }));
    h.feed(h.outcome(tts));
    h.advance(10_000);
    const { gaps, maxAheadNs } = playout(mediaOf(h));
    expect(gaps).toBe(0);
    expect(maxAheadNs).toBe(h.config.outputLeadMs * NS_PER_MS);
  });

  test("frames longer than the lead still leave before the last one has played out", () => {
    const { h, tts, chars } = speaking();
    for (let i = 0; i < 5; i++) h.feed(h.audioChunk(tts, 0, chars, { durationUs: 500_000, segmentEnd: i === 4 }));
    h.feed(h.outcome(tts));
    h.advance(10_000);
    expect(playout(mediaOf(h))).toEqual({ gaps: 0, maxAheadNs: 600 * NS_PER_MS });
  });
});

test("the end mark comes once, after the commit, with the commit's last Data sequence", () => {
  const { h, tts, chars } = speaking();
  for (let i = 0; i < 30; i++) h.feed(h.audioChunk(tts, 0, chars, { segmentEnd: i === 29 }));
  expect(mediaOf(h).some(({ media }) => media.end)).toBe(false);
  h.feed(h.outcome(tts));
  h.advance(5_000);
  const types = h.log.flatMap(({ effect }) => {
    if (effect.type === "signal" && effect.event.signal === "commit")
      return [`commit ${effect.event.fields.lastDataSequence}`];
    return effect.type === "egress_media" && effect.end ? [`end ${effect.sequence}`] : [];
  });
  expect(types).toEqual(["commit 31", "end 31"]);
});

test("the end mark carries the commit's last Data sequence even where the edge has shed audio", () => {
  const graph = assistantGraph();
  const edges = graph.edges.map((edge) =>
    edge.id === "e9" ? { ...edge, buffer: { ...edge.buffer, strategy: "drop_newest" as const, maxItems: 5 } } : edge,
  );
  const h = new KernelHarness(testConfig({ ...graph, edges }));
  h.connect();
  h.utter("tell me a story");
  h.feed(h.textChunk(h.open("llm"), "Once upon a time. "), h.outcome(h.open("llm")));
  const tts = h.open("tts");
  for (let i = 0; i < 30; i++) h.feed(h.audioChunk(tts, 0, 18, { segmentEnd: i === 29 }));
  h.feed(h.outcome(tts));
  h.advance(5_000);
  expect(h.signals("drop_notice").length).toBeGreaterThan(0);
  const end = mediaOf(h).at(-1)?.media;
  const commit = h.log.flatMap(({ effect }) =>
    effect.type === "signal" && effect.event.signal === "commit" ? [effect.event.fields.lastDataSequence] : [],
  );
  expect(end).toMatchObject({ end: true, sequence: commit[0] });
});

test("a hold stops the output at once and a resume goes on exactly where it stood", () => {
  const h = new KernelHarness(
    testConfig(
      assistantGraph({ endpointing: { min_speech_ms: 400, candidate_silence_ms: 60, endpoint_silence_ms: 500 } }),
    ),
  );
  h.connect();
  h.hear(true, 25);
  h.hear(false, 26);
  const stt = h.open("stt");
  h.feed(h.textChunk(stt, "tell me a story"), h.outcome(stt));
  h.feed(h.textChunk(h.open("llm"), "Once upon a time. "), h.outcome(h.open("llm")));
  const tts = h.open("tts");
  for (let i = 0; i < 100; i++) h.feed(h.audioChunk(tts, 0, 18, { segmentEnd: i === 99 }));
  h.feed(h.outcome(tts));
  h.hear(false, 10);
  h.hear(true, 3);
  const turn = h.state.turns[0];
  expect(turn?.output.heldSinceNs).toBeGreaterThan(0);
  const held = { sent: mediaOf(h).length, sinceNs: turn?.output.heldSinceNs ?? 0, startNs: turn?.output.startNs ?? 0 };
  h.hear(false, 2);
  expect(mediaOf(h)).toHaveLength(held.sent);
  h.hear(false, 1);
  expect(h.signals("output_resume")).toEqual(["output_resume#1(too_short)"]);
  expect(turn?.output.startNs).toBe(held.startNs + (h.nowNs - held.sinceNs));
  const refs = mediaOf(h).map(({ media }) => media.payload?.ref ?? 0);
  expect(refs).toEqual(refs.map((_, i) => (refs[0] ?? 0) + i));
  h.advance(10_000);
  expect(mediaOf(h)).toHaveLength(101);
  expect(mediaOf(h).at(-1)?.media.end).toBe(true);
  expect(replayJournal(h.config, h.journal).identical).toBe(true);
});

describe("session-scoped output (echo)", () => {
  const graph = {
    pipelineVersion: "echo@1",
    nodes: [node("caller", "ingress", "session"), node("f", "filter", "session"), node("speaker", "output", "session")],
    edges: (["caller.audio f.in", "f.out speaker.audio"] as const).map((line, i) => {
      const [from = "", to = ""] = line.split(" ");
      const end = (s: string) => ({ node: s.split(".")[0] ?? "", port: s.split(".")[1] ?? "" });
      return {
        id: `e${i}`,
        from: end(from),
        to: end(to),
        type: "audio" as const,
        buffer: {
          maxItems: 100,
          maxBytes: 1 << 20,
          maxQueueMs: 5_000,
          strategy: "drop_oldest" as const,
          maxBlockMs: 0,
          source: "test",
        },
      };
    }),
  };

  test("every frame goes out in the step it came in, numbered, in media time", () => {
    const h = new KernelHarness(testConfig(graph, { policy: POLICY }));
    h.connect();
    for (let i = 1; i <= 50; i++) {
      h.advance(20);
      const out = h.feed(h.frame()).filter((e) => e.type === "egress_media");
      expect(out).toMatchObject([
        { turn: 0, sequence: i, offsetUs: (i - 1) * 20_000, payload: { ref: i }, end: false },
      ]);
    }
  });

  test("F-156 nothing goes out once the lease is gone", () => {
    const h = new KernelHarness(testConfig(graph));
    h.connect();
    const effects = h.feed(
      { type: "authority", kind: "revoked", epoch: 1, deadlineNs: h.config.authority.deadlineNs },
      h.frame(),
    );
    expect(effects.filter((e) => e.type === "egress_media")).toEqual([]);
  });
});

test("F-156 the end mark of a committed turn does not leave after the lease is gone", () => {
  const { h, tts, chars } = speaking();
  for (let i = 0; i < 30; i++) h.feed(h.audioChunk(tts, 0, chars, { segmentEnd: i === 29 }));
  h.feed(h.outcome(tts));
  const before = mediaOf(h).length;
  h.feed({ type: "authority", kind: "revoked", epoch: 1, deadlineNs: h.config.authority.deadlineNs });
  h.advance(5_000);
  expect(mediaOf(h)).toHaveLength(before);
});
