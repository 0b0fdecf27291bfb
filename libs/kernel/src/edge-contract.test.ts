/** The edge contract in a session: bounds, strategies, cadence, and what each drop and merge leaves (`kernel.md` §5). */
import { describe, expect, test } from "vitest";
import type { BufferSpec } from "./graph.ts";
import { checkReplay } from "./testing/checked-replay.ts";
import { assistantWith, busyEdge, drain, frames, noticed, toldOf } from "./testing/edges.ts";
import type { KernelHarness } from "./testing/harness.ts";

/** Delivered, dropped, evicted and merged of the edge, which with what is queued is all that was offered. */
function counts(h: KernelHarness, e = 0) {
  const edge = h.state.run.edges[e];
  if (edge === null || edge === undefined) throw new Error("no such edge");
  const { delivered, dropped, evicted, merged } = edge;
  return { delivered, dropped, evicted, merged, queued: edge.queue.size, waiting: edge.waiting.size };
}

describe("F-143 each bound alone", () => {
  const large = { maxItems: 1_000, maxBytes: 1 << 20, maxQueueMs: 60_000 };
  // A frame is 640 bytes and 20 ms; the first of ten is taken at once.
  test.each<[string, Partial<BufferSpec>, number]>([
    ["max_items", { ...large, maxItems: 5 }, 5],
    ["max_bytes", { ...large, maxBytes: 640 * 4 }, 4],
    ["max_queue_ms", { ...large, maxQueueMs: 60 }, 3],
  ])("F-143 %s holds, whatever the others would let in", (reason, over, kept) => {
    const h = busyEdge({ strategy: "drop_oldest", ...over });
    frames(h, 10);
    expect(counts(h)).toEqual({ delivered: 1, dropped: 0, evicted: 9 - kept, merged: 0, queued: kept, waiting: 0 });
    expect(Object.keys(noticed(h))).toEqual([reason]);
    const newest = Array.from({ length: kept }, (_, i) => 200 - 20 * (kept - i));
    expect(drain(h)).toEqual(newest);
    checkReplay(h);
  });

  test("F-143 max_latency_ms: what has been on the edge for longer is not delivered any more", () => {
    const waits = (over: Partial<BufferSpec>): number[] => {
      const h = busyEdge({ ...large, ...over });
      const out: number[] = [];
      for (let i = 0; i < 40; i++) {
        frames(h, 1);
        // The node needs 40 ms a frame: half of them can be served.
        if (i % 2 === 1) for (const mediaMs of drain(h, 1)) out.push(h.nowNs / 1e6 - 21 - mediaMs);
      }
      checkReplay(h);
      if (over.maxLatencyMs !== undefined) expect(Object.keys(noticed(h))).toEqual(["max_latency_ms"]);
      return out;
    };
    const bounded = waits({ maxLatencyMs: 100 });
    const free = waits({});
    expect(Math.max(...bounded)).toBeLessThanOrEqual(100);
    expect(Math.max(...free)).toBeGreaterThan(300);
    expect(bounded.length).toBe(free.length);
  });

  test("F-143 drop_newest refuses what would come behind a late one; block lets no late one through either", () => {
    const newest = busyEdge({ ...large, strategy: "drop_newest", maxLatencyMs: 50 });
    frames(newest, 10);
    // Frames 2 to 5 came while the oldest was not late yet; those after them are the newest and go.
    expect(counts(newest)).toMatchObject({ dropped: 6, evicted: 0, queued: 3 });
    expect(drain(newest)).toEqual([]);
    expect(counts(newest)).toMatchObject({ evicted: 3 });
    const block = busyEdge({ ...large, strategy: "block", maxItems: 2, maxBlockMs: 1_000, maxLatencyMs: 50 });
    frames(block, 10);
    expect(drain(block).every((mediaMs) => block.nowNs / 1e6 - 21 - mediaMs <= 50)).toBe(true);
    expect(counts(block)).toMatchObject({ queued: 0, waiting: 0 });
    checkReplay(block);
  });
});

describe("F-044 one edge per strategy overflows as declared, counted", () => {
  const small: Partial<BufferSpec> = { maxItems: 3 };
  test.each<[BufferSpec["strategy"], Partial<BufferSpec>, number[], ReturnType<typeof counts>]>([
    [
      "block",
      { maxBlockMs: 60 },
      [20, 40, 60, 140, 160, 180],
      { delivered: 7, dropped: 3, evicted: 0, merged: 0, queued: 0, waiting: 0 },
    ],
    ["drop_newest", {}, [20, 40, 60], { delivered: 4, dropped: 6, evicted: 0, merged: 0, queued: 0, waiting: 0 }],
    ["drop_oldest", {}, [140, 160, 180], { delivered: 4, dropped: 0, evicted: 6, merged: 0, queued: 0, waiting: 0 }],
    ["latest_only", {}, [180], { delivered: 2, dropped: 0, evicted: 8, merged: 0, queued: 0, waiting: 0 }],
    [
      "sample",
      { sampleEvery: 3 },
      [60, 120, 180],
      { delivered: 4, dropped: 6, evicted: 0, merged: 0, queued: 0, waiting: 0 },
    ],
  ])("F-044 %s", (strategy, over, delivered, expected) => {
    const h = busyEdge({ ...small, strategy, ...over });
    frames(h, 10);
    expect(drain(h)).toEqual(delivered);
    expect(counts(h)).toEqual(expected);
    checkReplay(h);
  });

  test("F-044 what sample leaves out is told by ranges, one for each run of them", () => {
    const h = busyEdge({ maxItems: 100, strategy: "sample", sampleEvery: 4 });
    frames(h, 9);
    const notices = toldOf(h, "drop_notice");
    expect(notices.map(({ reason }) => reason)).toEqual(["sampled", "sampled"]);
    for (const { fields } of notices) expect(Number(fields.toSequence) - Number(fields.fromSequence)).toBe(2);
  });

  test("F-044 F-053 coalesce: partials of a burst become the latest, finals all pass; the lineage is told", () => {
    const h = assistantWith({ e4: { strategy: "coalesce", coalesceMs: 1 } });
    h.hear(true, 6);
    const stt = h.open("stt");
    const burst = [1, 2, 3, 4, 5].map((revision) => h.textChunk(stt, `one ${revision}`, { final: false, revision }));
    h.feed(...burst, h.textChunk(stt, "one two three", { revision: 9 }));
    const edge = h.state.run.edges[3];
    expect([edge?.merged, edge?.delivered, edge?.queue.size]).toEqual([5, 1, 0]);
    const notices = toldOf(h, "drop_notice").filter(({ fields }) => fields.edge === "e4");
    expect(notices.map(({ reason }) => reason)).toEqual(Array.from({ length: 5 }, () => "coalesced"));
    const last = notices.at(-1)?.fields;
    expect(last).toMatchObject({ mergeGroup: 1, mergedCount: 5 });
    // Every event it stands for, in order; the last of them is the range of the notice itself.
    const from = String(last?.mergedFrom).split(",").map(Number);
    expect(from).toHaveLength(5);
    expect(from.at(-1)).toBe(last?.fromSequence);
    expect([...from].sort((a, b) => a - b)).toEqual(from);
    expect(Number(last?.mergedInto)).toBeGreaterThan(Number(last?.toSequence));
    checkReplay(h);
  });

  test("F-044 the lineage of a merge is bounded, its count is not", () => {
    const h = assistantWith({ e4: { strategy: "coalesce", coalesceMs: 1 } });
    h.hear(true, 6);
    const stt = h.open("stt");
    h.feed(...Array.from({ length: 40 }, (_, i) => h.textChunk(stt, `w ${i}`, { final: false, revision: i + 1 })));
    const last = toldOf(h, "drop_notice").at(-1)?.fields;
    expect(String(last?.mergedFrom).split(",")).toHaveLength(16);
    expect(last?.mergedCount).toBe(39);
  });
});

describe("F-053 partial transcripts at a set cadence", () => {
  const user = (h: KernelHarness) =>
    h.log.flatMap(({ atNs, effect }) =>
      effect.type === "egress_text" && effect.role === "user"
        ? [{ atMs: Math.round(atNs / 1e6), text: h.text(effect.spans), final: effect.final }]
        : [],
    );

  /** A partial every 20 ms for a second, then the final. */
  function speak(coalesceMs?: number): KernelHarness {
    const h = assistantWith(coalesceMs === undefined ? {} : { e4: { strategy: "coalesce", coalesceMs } });
    h.hear(true, 6);
    const stt = h.open("stt");
    for (let i = 1; i <= 50; i++) {
      h.feed(h.textChunk(stt, `word ${i}`, { final: false, revision: i }));
      h.hear(true, 1);
    }
    h.feed(h.textChunk(stt, "word 50 and the end", { revision: 99 }));
    return h;
  }

  test("F-053 with 200 ms a sixth of the partials is told, the latest each time; the final comes at once", () => {
    const paced = speak(200);
    const plain = speak();
    const told = user(paced);
    expect(user(plain)).toHaveLength(51);
    const partials = told.filter(({ final }) => !final);
    expect(partials.length).toBeGreaterThanOrEqual(5);
    expect(partials.length).toBeLessThanOrEqual(6);
    for (const [i, one] of partials.entries())
      if (i > 0) expect(one.atMs - (partials[i - 1]?.atMs ?? 0)).toBeGreaterThanOrEqual(200);
    expect(told.at(-1)).toEqual({ ...user(plain).at(-1) });
    expect(told.at(-1)?.text).toBe("word 50 and the end");
    checkReplay(paced);
    checkReplay(plain);
  });

  test("F-053 a final does not wait for the time of the partial it takes the place of", () => {
    const h = assistantWith({ e4: { strategy: "coalesce", coalesceMs: 10_000 } });
    h.hear(true, 6);
    const stt = h.open("stt");
    const edge = () => h.state.run.edges[3];
    h.feed(h.textChunk(stt, "one", { final: false, revision: 1 }));
    h.feed(h.textChunk(stt, "one two", { final: false, revision: 2 }));
    expect([edge()?.delivered, edge()?.queue.size]).toEqual([1, 1]);
    h.feed(h.textChunk(stt, "one two three", { revision: 3 }));
    expect([edge()?.delivered, edge()?.queue.size, edge()?.merged]).toEqual([2, 0, 1]);
  });

  test("F-053 the turn's words are those of the finals, whatever the cadence; no timer is left", () => {
    const h = speak(10_000);
    h.hear(false, 6);
    const stt = Object.values(h.state.invocations).find((inv) => inv.modality === "stt" && inv.finished)?.id ?? 0;
    h.feed(h.outcome(stt));
    expect(h.state.turns).toHaveLength(1);
    expect(h.text(h.state.conversation[0]?.spans ?? [])).toBe("word 50 and the end");
    expect(user(h).filter(({ final }) => !final)).toHaveLength(1);
    h.advance(12_000);
    expect([...h.timers.keys()].filter((id) => id.startsWith("edge"))).toEqual([]);
    checkReplay(h);
  });
});

describe("F-148 blocking", () => {
  test("F-148 no event waits for longer than max_block_ms; the same input sheds the same", () => {
    const run = (): KernelHarness => {
      const h = busyEdge({ strategy: "block", maxItems: 2, maxBlockMs: 70 });
      for (let i = 0; i < 60; i++) {
        frames(h, 1);
        if (i % 7 === 6) drain(h, 2);
        const since = h.state.run.edges[0]?.waitingSinceNs;
        for (let w = 0; w < (since?.size ?? 0); w++) {
          const slot = ((since?.head ?? 0) + w) % (since?.items.length ?? 1);
          expect(h.nowNs - (since?.items[slot] ?? 0)).toBeLessThan(70 * 1e6);
        }
      }
      return h;
    };
    const one = run();
    const two = run();
    const shed = (h: KernelHarness) =>
      toldOf(h, "drop_notice").map(({ atMs, fields }) => [atMs, fields.fromSequence, fields.toSequence]);
    expect(shed(one).length).toBeGreaterThan(5);
    expect(shed(two)).toEqual(shed(one));
    expect(two.journal.at(-1)?.digest).toBe(one.journal.at(-1)?.digest);
    checkReplay(one);
  });
});
