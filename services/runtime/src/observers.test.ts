import { expect, test } from "vitest";
import { Metrics } from "./metrics.ts";
import { EVENT_KINDS, type EventKind, type ObservedEvent, Observers } from "./observers.ts";

const format = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 };
const samples: Record<EventKind, ObservedEvent> = {
  audio: {
    kind: "audio",
    atNs: 0,
    direction: "out",
    turn: 1,
    generation: 1,
    mediaUs: 0,
    durationUs: 20_000,
    format,
    bytes: new Uint8Array(2),
  },
  text: { kind: "text", atNs: 0, turn: 1, role: "user", text: "hi", final: true, segment: 0, revision: 1 },
  control: {
    kind: "control",
    atNs: 0,
    signal: "turn_open",
    emitter: "arbiter",
    turn: 1,
    generation: 1,
    reason: "",
    fields: {},
    seq: 1,
    cause: 0,
  },
  metrics: { kind: "metrics", atNs: 0, name: "x", value: 1, turn: 0, node: "", edge: "" },
  debug: { kind: "debug", atNs: 0, text: "step", fields: {} },
  error: { kind: "error", atNs: 0, code: "x", detail: "" },
};

test("F-022 a filtered subscriber sees only its kinds", () => {
  const observers = new Observers((run) => run());
  const all = observers.subscribe({ kinds: EVENT_KINDS });
  const some = observers.subscribe({ kinds: ["text", "error"] });
  for (const kind of EVENT_KINDS) observers.emit(samples[kind]);
  const taken = (s: typeof all) => Array.from({ length: s?.waiting() ?? 0 }, () => s?.take()?.kind);
  expect(taken(all)).toEqual([...EVENT_KINDS]);
  expect(taken(some)).toEqual(["text", "error"]);
  all?.close();
  expect(EVENT_KINDS.filter((kind) => observers.wants(kind))).toEqual(["text", "error"]);
});

test("a slow subscriber loses its own oldest events, counted, and is called once per burst", () => {
  const deferred: (() => void)[] = [];
  const observers = new Observers((run) => void deferred.push(run));
  let calls = 0;
  const slow = observers.subscribe({
    kinds: ["metrics"],
    capacity: 4,
    onReady: () => {
      calls += 1;
    },
  });
  for (let value = 0; value < 10; value++)
    observers.emit({ kind: "metrics", atNs: 0, name: "n", value, turn: 0, node: "", edge: "" });
  for (const run of deferred) run();
  expect([calls, slow?.waiting(), slow?.dropped()]).toEqual([1, 4, 6]);
  expect(slow?.take()).toMatchObject({ value: 6 });
  for (let i = 0; i < 15; i++) expect(observers.subscribe({ kinds: ["text"] })).not.toBeNull();
  expect(observers.subscribe({ kinds: ["text"] })).toBeNull();
});

test("F-040 cancel latency per node and end to end has readable percentiles", () => {
  const metrics = new Metrics();
  expect(metrics.read("cancel_fence_ms")).toBeNull();
  for (let i = 1; i <= 100; i++) {
    metrics.record("cancel_fence_ms", i * 1e6);
    metrics.recordNode("node_cancel_ms", i % 2 === 0 ? "tts" : "llm", i * 1e6);
  }
  const fence = metrics.read("cancel_fence_ms");
  expect(fence?.count).toBe(100);
  expect(fence?.p50Ms).toBeCloseTo(50, 0);
  expect(fence?.p95Ms).toBeCloseTo(95, 0);
  expect(fence?.p99Ms).toBeCloseTo(99, 0);
  expect(metrics.read("node_cancel_ms", "tts")?.count).toBe(50);
  expect(Object.keys(metrics.snapshot())).toContain("node_cancel_ms{node=llm}");
});
