import type { MonoNs } from "@rspp/base/brand";
import { ringAt } from "@rspp/base/ring";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type EdgeState,
  edgeAdmitWaiting,
  edgeClear,
  edgeCreate,
  edgeOffer,
  edgeShedExpired,
  edgeTake,
} from "./edge-buffer.ts";
import type { EventBody, KernelEvent } from "./event.ts";
import type { BufferSpec, OverflowStrategy } from "./graph.ts";

const MS = 1_000_000;
const STRATEGIES: readonly OverflowStrategy[] = ["block", "drop_newest", "drop_oldest", "latest_only", "coalesce"];

const spec = (over: Partial<BufferSpec> = {}): BufferSpec => ({
  maxItems: 4,
  maxBytes: 1_000,
  maxQueueMs: 100,
  strategy: "block",
  maxBlockMs: 50,
  source: "test",
  ...over,
});

function event(seq: number, body: EventBody): KernelEvent {
  return { seq, lane: 1, turn: 0, generation: 0, utterance: 0, monoNs: 0 as MonoNs, cause: 0, body };
}

const audio = (bytes: number, durationUs: number): EventBody => ({
  type: "audio",
  payload: { ref: 1, hash: "", bytes },
  format: { codec: "pcm_s16le", rateHz: 16_000, channels: 1 },
  durationUs,
  mediaUs: 0,
  segment: -1,
  segmentEnd: false,
  segmentChars: 0,
  words: null,
});

const text = (segment: number, final: boolean, chars = 1): EventBody => ({
  type: "text",
  spans: [{ ref: 1, from: 0, to: chars }],
  chars,
  segment,
  revision: 1,
  final,
  confidence: 1,
  language: "",
});

const isFinal = (e: KernelEvent) => e.body.type === "text" && e.body.final;
const isKept = (e: KernelEvent) => e.body.type === "end" || isFinal(e);
const bytesOf = (e: KernelEvent) =>
  e.body.type === "audio" ? e.body.payload.bytes : e.body.type === "text" ? 2 * e.body.chars : 0;
const usOf = (e: KernelEvent) => (e.body.type === "audio" ? e.body.durationUs : 0);
const sum = (events: readonly KernelEvent[], of: (e: KernelEvent) => number) => events.reduce((n, e) => n + of(e), 0);

/** The contract as arrays and nothing clever. `gone` is what left without being delivered. */
class Model {
  queue: KernelEvent[] = [];
  waiting: { event: KernelEvent; sinceNs: number }[] = [];
  gone: KernelEvent[] = [];
  readonly spec: BufferSpec;

  constructor(bounds: BufferSpec) {
    this.spec = bounds;
  }

  fits(events: readonly KernelEvent[], e: KernelEvent): boolean {
    const all = [...events, e];
    return (
      all.length <= this.spec.maxItems &&
      sum(all, bytesOf) <= this.spec.maxBytes &&
      sum(all, usOf) <= this.spec.maxQueueMs * 1_000
    );
  }

  offer(e: KernelEvent, nowNs: number): void {
    const { strategy, maxItems, maxBytes, maxQueueMs } = this.spec;
    if (e.body.type === "end") {
      if (this.waiting.length > 0) this.waiting.push({ event: e, sinceNs: nowNs });
      else this.queue.push(e);
    } else if (bytesOf(e) > maxBytes || usOf(e) > maxQueueMs * 1_000) this.gone.push(e);
    else if (strategy === "block") {
      if (this.waiting.length === 0 && this.fits(this.queue, e)) this.queue.push(e);
      else if (this.waiting.length < maxItems) this.waiting.push({ event: e, sinceNs: nowNs });
      else this.gone.push(e);
    } else this.overflow(e);
  }

  overflow(e: KernelEvent): void {
    const { strategy } = this.spec;
    const older = this.elder(e);
    if (
      older !== undefined &&
      this.fits(
        this.queue.filter((q) => q !== older),
        e,
      )
    )
      this.remove(older);
    const mayEvict = strategy === "drop_oldest" || isFinal(e);
    while (mayEvict && !this.fits(this.queue, e)) {
      const free = this.queue.filter((q) => !isKept(q));
      const victim = strategy === "drop_newest" ? free.at(-1) : free[0];
      if (victim === undefined) break;
      this.remove(victim);
    }
    if (this.fits(this.queue, e)) this.queue.push(e);
    else this.gone.push(e);
  }

  /** What the new event takes the place of, by strategy. */
  elder(e: KernelEvent): KernelEvent | undefined {
    if (this.spec.strategy === "latest_only") return this.queue.find((q) => !isKept(q));
    if (this.spec.strategy !== "coalesce" || e.body.type !== "text") return undefined;
    const { segment } = e.body;
    return this.queue.findLast((q) => q.body.type === "text" && !q.body.final && q.body.segment === segment);
  }

  remove(e: KernelEvent): void {
    this.queue = this.queue.filter((q) => q !== e);
    this.gone.push(e);
  }

  admit(): void {
    for (let next = this.waiting[0]; next !== undefined; next = this.waiting[0]) {
      if (next.event.body.type !== "end" && !this.fits(this.queue, next.event)) return;
      this.queue.push(next.event);
      this.waiting.shift();
    }
  }

  shed(nowNs: number): void {
    const late = this.waiting.filter(
      (w) => w.event.body.type !== "end" && nowNs - w.sinceNs >= this.spec.maxBlockMs * MS,
    );
    this.gone.push(...late.map((w) => w.event));
    this.waiting = this.waiting.filter((w) => !late.includes(w));
  }
}

const queued = (edge: EdgeState) =>
  Array.from({ length: edge.queue.size }, (_, i) => ringAt(edge.queue, i) as KernelEvent);
const waiting = (edge: EdgeState) =>
  Array.from({ length: edge.waiting.size }, (_, i) => ringAt(edge.waiting, i) as KernelEvent);

const body = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(fc.integer({ min: 0, max: 600 }), fc.integer({ min: 0, max: 60_000 }))
      .map(([b, us]) => audio(b, us)),
  },
  { weight: 1, arbitrary: fc.constant(audio(5_000, 1)) },
  {
    weight: 4,
    arbitrary: fc
      .tuple(fc.integer({ min: 0, max: 2 }), fc.boolean(), fc.integer({ min: 0, max: 250 }))
      .map(([segment, final, chars]) => text(segment, final, chars)),
  },
);
const op = fc.oneof(
  { weight: 6, arbitrary: body.map((b) => ({ do: "offer" as const, body: b })) },
  { weight: 1, arbitrary: fc.constant({ do: "end" as const }) },
  { weight: 3, arbitrary: fc.constant({ do: "take" as const }) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 40 }).map((ms) => ({ do: "wait" as const, ms })) },
);

/** Runs random operations against edge and model; `check` sees both after each. */
function drive(bounds: BufferSpec, ops: readonly (typeof op extends fc.Arbitrary<infer T> ? T : never)[]) {
  const edge = edgeCreate(bounds);
  const model = new Model(bounds);
  const offered: KernelEvent[] = [];
  const delivered: KernelEvent[] = [];
  const ranges: [number, number][] = [];
  let nowNs = MS;
  let ends = 0;
  for (const o of ops) {
    if (o.do === "wait") {
      nowNs += o.ms * MS;
      edgeShedExpired(edge, bounds, nowNs as MonoNs);
      edgeAdmitWaiting(edge, bounds);
      model.shed(nowNs);
      model.admit();
    } else if (o.do === "take") {
      const taken = edgeTake(edge);
      edgeAdmitWaiting(edge, bounds);
      expect(taken).toBe(model.queue.shift());
      model.admit();
      if (taken !== undefined) delivered.push(taken);
    } else if (o.do === "offer" || ends < 2) {
      if (o.do === "end") ends += 1;
      const e = event(offered.length + 1, o.do === "end" ? { type: "end" } : o.body);
      offered.push(e);
      edgeOffer(edge, bounds, e, nowNs as MonoNs);
      model.offer(e, nowNs);
    }
    if (edge.noticeFrom !== 0) ranges.push([edge.noticeFrom, edge.noticeTo]);
    edge.noticeFrom = 0;
    edge.noticeTo = 0;
    expect(queued(edge)).toEqual(model.queue);
    expect(waiting(edge)).toEqual(model.waiting.map((w) => w.event));
    checkBounds(edge, bounds);
  }
  return { edge, model, offered, delivered, ranges };
}

function checkBounds(edge: EdgeState, bounds: BufferSpec): void {
  const inside = queued(edge).filter((e) => e.body.type !== "end");
  expect(inside.length).toBeLessThanOrEqual(bounds.maxItems);
  expect(waiting(edge).filter((e) => e.body.type !== "end").length).toBeLessThanOrEqual(bounds.maxItems);
  expect(sum(inside, bytesOf)).toBeLessThanOrEqual(bounds.maxBytes);
  expect(sum(inside, usOf)).toBeLessThanOrEqual(bounds.maxQueueMs * 1_000);
  expect(edge.bytes).toBe(sum(inside, bytesOf));
  expect(edge.queuedUs).toBe(sum(inside, usOf));
}

describe.each(STRATEGIES)("F-008 F-043 %s against a naive model", (strategy) => {
  test("order, bounds, conservation, notices; finals and end marks stay", () => {
    fc.assert(
      fc.property(
        fc.array(op, { maxLength: 60 }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 500, max: 1_500 }),
        (ops, maxItems, maxBytes) => {
          const { edge, model, offered, delivered, ranges } = drive(spec({ strategy, maxItems, maxBytes }), ops);
          const inOrder = [...delivered, ...queued(edge), ...waiting(edge)].map((e) => e.seq);
          expect(inOrder).toEqual([...inOrder].sort((a, b) => a - b));
          expect(new Set(inOrder).size).toBe(inOrder.length);
          const lost = offered.filter((e) => !inOrder.includes(e.seq));
          expect(lost.map((e) => e.seq)).toEqual(model.gone.map((e) => e.seq).sort((a, b) => a - b));
          for (const e of lost) expect(ranges.some(([from, to]) => from <= e.seq && e.seq <= to)).toBe(true);
          expect(lost.some((e) => e.body.type === "end")).toBe(false);
          expect(edge.accepted).toBe(edge.delivered + edge.queue.size + edge.evicted + edge.merged);
          expect(offered.length).toBe(edge.accepted + edge.waiting.size + edge.dropped);
        },
      ),
      { numRuns: 300 },
    );
  });
});

test("F-043 N+1 events meet the bound, whatever the strategy", () => {
  for (const strategy of STRATEGIES) {
    const bounds = spec({ strategy, maxItems: 8, maxQueueMs: 60_000 });
    const edge = edgeCreate(bounds);
    for (let seq = 1; seq <= 9; seq++) edgeOffer(edge, bounds, event(seq, audio(1, 1)), 0 as MonoNs);
    expect(edge.queue.size).toBe(strategy === "latest_only" ? 1 : 8);
  }
});

test("F-008 a coalesced partial does not overtake what was queued after its elder", () => {
  const bounds = spec({ strategy: "coalesce" });
  const edge = edgeCreate(bounds);
  edgeOffer(edge, bounds, event(1, text(0, false)), 0 as MonoNs);
  edgeOffer(edge, bounds, event(2, text(1, false)), 0 as MonoNs);
  expect(edgeOffer(edge, bounds, event(3, text(0, false)), 0 as MonoNs)).toBe("merged");
  expect(queued(edge).map((e) => e.seq)).toEqual([2, 3]);
  expect([edge.noticeFrom, edge.noticeTo, edge.noticeReason]).toEqual([1, 1, "coalesced"]);
});

test("F-043 a final makes room among partials instead of being shed", () => {
  for (const strategy of ["drop_newest", "drop_oldest", "coalesce"] as const) {
    const bounds = spec({ strategy, maxItems: 2 });
    const edge = edgeCreate(bounds);
    edgeOffer(edge, bounds, event(1, text(0, false)), 0 as MonoNs);
    edgeOffer(edge, bounds, event(2, text(1, false)), 0 as MonoNs);
    expect(edgeOffer(edge, bounds, event(3, text(2, true)), 0 as MonoNs)).toBe("replaced");
    expect(queued(edge).map((e) => e.seq)).toEqual(strategy === "drop_newest" ? [1, 3] : [2, 3]);
  }
});

test("F-043 text counts against max_bytes", () => {
  const bounds = spec({ strategy: "drop_newest", maxBytes: 100 });
  const edge = edgeCreate(bounds);
  expect(edgeOffer(edge, bounds, event(1, text(0, true, 30)), 0 as MonoNs)).toBe("queued");
  expect(edgeOffer(edge, bounds, event(2, text(0, true, 30)), 0 as MonoNs)).toBe("dropped");
  expect(edge.noticeReason).toBe("max_bytes");
});

test("F-043 what waited max_block_ms is shed, what came later still waits", () => {
  const bounds = spec({ maxItems: 1, maxBlockMs: 50 });
  const edge = edgeCreate(bounds);
  const at = (ms: number) => (ms * MS) as MonoNs;
  for (const [seq, ms] of [
    [1, 0],
    [2, 10],
  ] as const)
    edgeOffer(edge, bounds, event(seq, audio(1, 1)), at(ms));
  expect(edgeShedExpired(edge, bounds, at(59))).toBe(0);
  expect(edgeShedExpired(edge, bounds, at(60))).toBe(1);
  expect([edge.noticeFrom, edge.noticeReason]).toEqual([2, "max_block_ms"]);
});

test("F-043 an end mark outlives the waiting events before it", () => {
  const bounds = spec({ maxItems: 1, maxBlockMs: 50 });
  const edge = edgeCreate(bounds);
  edgeOffer(edge, bounds, event(1, audio(1, 1)), 0 as MonoNs);
  edgeOffer(edge, bounds, event(2, audio(1, 1)), 0 as MonoNs);
  edgeOffer(edge, bounds, event(3, { type: "end" }), 0 as MonoNs);
  expect(edgeShedExpired(edge, bounds, (50 * MS) as MonoNs)).toBe(1);
  expect(waiting(edge).map((e) => e.seq)).toEqual([3]);
  expect(edgeAdmitWaiting(edge, bounds)).toBe(1);
  expect(queued(edge).map((e) => e.seq)).toEqual([1, 3]);
});

test("F-038 clearing empties the edge and says how much went", () => {
  const bounds = spec({ maxItems: 1 });
  const edge = edgeCreate(bounds);
  edgeOffer(edge, bounds, event(1, audio(9, 9)), 0 as MonoNs);
  edgeOffer(edge, bounds, event(2, audio(9, 9)), 0 as MonoNs);
  expect(edgeClear(edge)).toBe(2);
  expect([edge.queue.size, edge.waiting.size, edge.bytes, edge.queuedUs, edge.xoff]).toEqual([0, 0, 0, 0, false]);
});
