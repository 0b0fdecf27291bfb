/** What an edge has beyond bounds and a strategy, against a straightforward array model, with random input (`quality.md`). */
import type { MonoNs } from "@rspp/base/brand";
import { ringAt } from "@rspp/base/ring";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  edgeAdmitWaiting,
  edgeCreate,
  edgeLevel,
  edgeOffer,
  edgeShedExpired,
  edgeShedLate,
  edgeTake,
} from "./edge-buffer.ts";
import type { EventBody, KernelEvent } from "./event.ts";
import type { BufferSpec } from "./graph.ts";

const MS = 1_000_000;

function event(seq: number, body: EventBody): KernelEvent {
  return { seq, lane: 1, turn: 0, generation: 0, utterance: 0, monoNs: 0 as MonoNs, cause: 0, body };
}

const text = (segment: number, final: boolean): EventBody => ({
  type: "text",
  spans: [{ ref: 1, from: 0, to: 2 }],
  chars: 2,
  segment,
  revision: 1,
  final,
  confidence: 1,
  language: "",
});

interface Item {
  seqs: number[];
  final: boolean;
  segment: number;
  sinceMs: number;
}

/** Lists, filters and a rule at a time. Events are text of 4 bytes, so that items are the bound. */
class Model {
  queue: Item[] = [];
  waiting: Item[] = [];
  gone: number[] = [];
  delivered: number[][] = [];
  /** Delivered and not yet granted again. */
  owed = 0;
  seen = 0;
  pressed = false;
  readonly spec: BufferSpec;

  constructor(spec: BufferSpec) {
    this.spec = spec;
  }

  free(): boolean {
    const { maxItems, credits = Number.POSITIVE_INFINITY } = this.spec;
    return this.queue.length < maxItems && this.queue.length + this.owed < credits;
  }

  late(item: Item, nowMs: number): boolean {
    return this.spec.maxLatencyMs !== undefined && nowMs - item.sinceMs > this.spec.maxLatencyMs && !item.final;
  }

  shedLate(nowMs: number): void {
    for (const item of this.queue.filter((q) => this.late(q, nowMs))) this.lose(item);
  }

  lose(item: Item): void {
    this.queue = this.queue.filter((q) => q !== item);
    this.gone.push(...item.seqs);
  }

  offer(seq: number, segment: number, final: boolean, nowMs: number): void {
    const { strategy, sampleEvery = 1, watermark } = this.spec;
    const item: Item = { seqs: [seq], segment, final, sinceMs: nowMs };
    if (strategy === "sample" && !final) {
      this.seen += 1;
      if ((this.seen - 1) % sampleEvery !== 0) return void this.gone.push(seq);
    }
    const first = this.queue[0];
    const head = strategy === "drop_newest" && !final && first !== undefined;
    const { maxLatencyMs = Number.POSITIVE_INFINITY } = this.spec;
    if (head && nowMs - first.sinceMs > maxLatencyMs) return void this.gone.push(seq);
    this.shedLate(nowMs);
    if (this.pressed && watermark?.action === "block") return this.wait(item);
    if (this.pressed && watermark?.action === "drop" && !final) return void this.gone.push(seq);
    if (this.pressed && watermark?.action === "merge" && this.merge(item)) return;
    this.place(item);
  }

  merge(item: Item): boolean {
    if (!item.final) return this.replacePartial(item);
    const last = this.queue.at(-1);
    if (this.waiting.length > 0 || last === undefined || !last.final || last.segment !== item.segment) return false;
    last.seqs.push(...item.seqs);
    return true;
  }

  replacePartial(item: Item): boolean {
    const elder = this.queue.findLast((q) => !q.final && q.segment === item.segment);
    if (elder === undefined) return false;
    // Without the elder the newer one must fit; credit is counted with what is queued.
    this.queue = this.queue.filter((q) => q !== elder);
    if (!this.free()) {
      throw new Error("the elder's place is always free for the newer");
    }
    this.queue.push({ ...item, seqs: [...elder.seqs, ...item.seqs] });
    return true;
  }

  place(item: Item): void {
    const { strategy } = this.spec;
    if (strategy === "block" && this.waiting.length > 0) return this.wait(item);
    if (strategy === "coalesce" && this.replacePartial(item)) return;
    if (this.free()) return void this.queue.push(item);
    if (strategy === "block") return this.wait(item);
    const mayEvict = strategy === "drop_oldest" || item.final;
    while (mayEvict && !this.free()) {
      const loose = this.queue.filter((q) => !q.final);
      const victim = strategy === "drop_newest" ? loose.at(-1) : loose[0];
      if (victim === undefined) break;
      this.lose(victim);
    }
    if (this.free()) this.queue.push(item);
    else this.gone.push(...item.seqs);
  }

  wait(item: Item): void {
    if (this.waiting.length < this.spec.maxItems) this.waiting.push(item);
    else this.gone.push(...item.seqs);
  }

  admit(): void {
    if (this.pressed && this.spec.watermark?.action === "block") return;
    while (this.waiting.length > 0 && this.free()) this.queue.push(this.waiting.shift() as Item);
  }

  take(nowMs: number): void {
    this.shedLate(nowMs);
    const item = this.queue.shift();
    if (item === undefined) return;
    this.delivered.push(item.seqs);
    if (this.spec.credits !== undefined) this.owed += 1;
  }

  shed(nowMs: number): void {
    const over = this.waiting.filter((w) => nowMs - w.sinceMs >= this.spec.maxBlockMs);
    this.waiting = this.waiting.filter((w) => !over.includes(w));
    for (const { seqs } of over) this.gone.push(...seqs);
  }

  /** As the kernel looks after each offer and take. */
  press(): void {
    const { watermark, maxItems, credits } = this.spec;
    if (watermark === undefined) return;
    const sent = credits === undefined ? 0 : (this.queue.length + this.owed) / credits;
    const level = Math.max(this.queue.length / maxItems, sent);
    if (!this.pressed && level >= watermark.high) this.pressed = true;
    else if (this.pressed && level <= watermark.low) this.pressed = false;
  }
}

const op = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("offer" as const), segment: fc.nat(1), final: fc.boolean() }) },
  { weight: 3, arbitrary: fc.constant({ do: "take" as const }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 40 }) }) },
  { weight: 1, arbitrary: fc.constant({ do: "grant" as const }) },
);
type Op = typeof op extends fc.Arbitrary<infer T> ? T : never;

/** The pressure and the credits as `edge-pressure.ts` keeps them, without the signals. */
function drive(spec: BufferSpec, ops: readonly Op[]): { model: Model; seen: number[][]; offered: number } {
  const edge = edgeCreate(spec);
  const x = edge.extras;
  if (x === undefined) throw new Error("the spec asks for more than bounds");
  const model = new Model(spec);
  const seen: number[][] = [];
  let nowMs = 1;
  let offered = 0;
  const now = (): MonoNs => (nowMs * MS) as MonoNs;
  const seqsOf = (e: KernelEvent): number[] => [...(e.merged?.from ?? []), e.seq];
  for (const o of ops) {
    if (o.do === "offer") {
      offered += 1;
      edgeOffer(edge, spec, event(offered, text(o.segment, o.final)), now());
      model.offer(offered, o.segment, o.final, nowMs);
    } else if (o.do === "take") {
      edgeShedLate(edge, spec, now());
      const taken = edgeTake(edge);
      if (taken !== undefined && spec.credits !== undefined) x.owed += 1;
      if (taken !== undefined) seen.push(seqsOf(taken));
      model.take(nowMs);
    } else if (o.do === "grant") {
      x.owed = 0;
      model.owed = 0;
    } else {
      nowMs += o.ms;
      edgeShedExpired(edge, spec, now());
      model.shed(nowMs);
    }
    const { watermark } = spec;
    if (watermark !== undefined) {
      const level = edgeLevel(edge, spec);
      if (!x.pressed && level >= watermark.high) x.pressed = true;
      else if (x.pressed && level <= watermark.low) x.pressed = false;
    }
    model.press();
    edgeAdmitWaiting(edge, spec);
    model.admit();
    const queued = Array.from({ length: edge.queue.size }, (_, i) => seqsOf(ringAt(edge.queue, i) as KernelEvent));
    expect(queued).toEqual(model.queue.map((item) => item.seqs));
    const waiting = Array.from({ length: edge.waiting.size }, (_, i) => (ringAt(edge.waiting, i) as KernelEvent).seq);
    expect(waiting).toEqual(model.waiting.flatMap((item) => item.seqs));
    expect(x.sinceNs === null ? edge.queue.size : x.sinceNs.size).toBe(edge.queue.size);
    expect(edge.accepted).toBe(edge.delivered + edge.queue.size + edge.evicted + edge.merged);
    expect(edge.bytes).toBe(model.queue.reduce((sum, item) => sum + bytes(item), 0));
  }
  expect(seen).toEqual(model.delivered);
  return { model, seen, offered };
}

/** Joined text weighs what its parts do. */
const bytes = ({ final, seqs }: Item): number => (final ? 4 * seqs.length : 4);

const base: BufferSpec = {
  maxItems: 4,
  maxBytes: 1 << 20,
  maxQueueMs: 60_000,
  strategy: "drop_oldest",
  maxBlockMs: 50,
  source: "test",
};

const cases: Readonly<Record<string, Partial<BufferSpec>>> = {
  "max_latency_ms, drop_oldest": { maxLatencyMs: 30 },
  "max_latency_ms, drop_newest": { maxLatencyMs: 30, strategy: "drop_newest" },
  "max_latency_ms, block": { maxLatencyMs: 30, strategy: "block" },
  sample: { strategy: "sample", sampleEvery: 3 },
  "credits, block": { strategy: "block", flow: "credit", credits: 3 },
  "credits, drop_oldest": { flow: "hybrid", credits: 3 },
  "watermark block": { watermark: { high: 0.75, low: 0.25, action: "block" } },
  "watermark drop": { watermark: { high: 0.75, low: 0.25, action: "drop" } },
  "watermark drop over credits": { flow: "credit", credits: 4, watermark: { high: 0.75, low: 0.25, action: "drop" } },
};

describe("edges with more than bounds, against arrays", () => {
  test.each(Object.entries(cases))("F-044 F-143 F-144 F-145 %s", (_, over) => {
    fc.assert(
      fc.property(fc.array(op, { maxLength: 80 }), (ops) => {
        const { model, seen, offered } = drive({ ...base, ...over }, ops);
        const all = [...seen.flat(), ...model.queue.flatMap((q) => q.seqs), ...model.waiting.flatMap((q) => q.seqs)];
        // In order, at most once, and what is not there is declared gone (F-008).
        expect(all).toEqual([...all].sort((p, q) => p - q));
        expect([...all, ...model.gone].sort((p, q) => p - q)).toEqual(Array.from({ length: offered }, (_, i) => i + 1));
      }),
      { numRuns: 300 },
    );
  });

  test("F-144 merge: text that is joined under pressure keeps every part, in order, with its lineage", () => {
    fc.assert(
      fc.property(fc.array(op, { maxLength: 60 }), (ops) => {
        const spec: BufferSpec = { ...base, maxItems: 8, watermark: { high: 0.5, low: 0.25, action: "merge" } };
        const finalsOnly = ops.map((o) => (o.do === "offer" ? { ...o, final: true } : o));
        const { model, seen, offered } = drive(spec, finalsOnly);
        const kept = [...seen, ...model.queue.map((q) => q.seqs)].flat();
        expect([...kept, ...model.gone].sort((p, q) => p - q)).toEqual(
          Array.from({ length: offered }, (_, i) => i + 1),
        );
      }),
      { numRuns: 200 },
    );
  });
});

test("F-143 a plain edge has none of it", () => {
  expect(edgeCreate(base).extras).toBeUndefined();
  expect(edgeCreate({ ...base, flow: "signal" }).extras).toBeUndefined();
  expect(edgeCreate({ ...base, sync: { group: "g", policy: "no_sync", scope: "edge_local" } }).extras).toBeUndefined();
  for (const over of Object.values(cases)) expect(edgeCreate({ ...base, ...over }).extras).toBeDefined();
});
