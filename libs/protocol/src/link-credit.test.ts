import { describe, expect, test } from "vitest";
import { limits } from "./limits.ts";
import { linkSend } from "./link.ts";
import type { EventFrame, LinkConfig } from "./link-types.ts";
import type { LinkPair } from "./testkit/link-pair.ts";
import {
  advance,
  connect,
  data,
  deliver,
  heard,
  open,
  overtaking,
  pairCreate,
  positioned,
  step,
  tick,
} from "./testkit/link-pair.ts";

// Room for three events of 20 ms and 640 bytes.
const small: Partial<LinkConfig> = {
  windowAudioUs: 60_000,
  windowBytes: 1_920,
  initialAudioUs: 60_000,
  initialBytes: 1_920,
  dataQueueItemsMax: 2,
};

function opened(config: Partial<LinkConfig> = small): { pair: LinkPair; ref: number } {
  const pair = pairCreate(config);
  connect(pair);
  const ref = open(pair);
  deliver(pair);
  return { pair, ref };
}

function send(pair: LinkPair, ref: number, names: string): void {
  for (const name of names) step(pair, "adapter", { kind: "send", ref, item: data(name, { turn: null }) });
  tick(pair, "adapter");
  deliver(pair);
}

describe("F-145 credits in audio and bytes", () => {
  test("exhausted credit queues, a grant lets go", () => {
    const { pair, ref } = opened();
    send(pair, ref, "abcde");
    expect(heard(pair, "runtime")).toEqual(["a", "b", "c"]);
    step(pair, "runtime", { kind: "consumed", ref, audioUs: 20_000, bytes: 640 });
    deliver(pair);
    tick(pair, "adapter");
    deliver(pair);
    expect(heard(pair, "runtime")).toEqual(["a", "b", "c", "d"]);
  });

  test("bytes run out as well as audio", () => {
    const { pair, ref } = opened({ ...small, windowBytes: 700, initialBytes: 700 });
    send(pair, ref, "ab");
    expect(heard(pair, "runtime")).toEqual(["a"]);
  });

  test("control is never held by credit", () => {
    const { pair, ref } = opened();
    send(pair, ref, "abcd");
    step(pair, "adapter", { kind: "send", ref, item: positioned("mute", false) });
    deliver(pair);
    expect(heard(pair, "runtime").at(-1)).toBe("mute");
  });

  test("drop_oldest: the queue's bound holds and the loss is declared, not a gap", () => {
    const { pair, ref } = opened();
    send(pair, ref, "abcdef");
    expect(pair.outputs.adapter).toContainEqual({ kind: "dropped", ref, lane: "data", items: 1, reason: "overflow" });
    expect(pair.outputs.runtime).toContainEqual({
      kind: "skipped",
      ref,
      lane: "data",
      fromSeq: 4,
      toSeq: 4,
      reason: "overflow",
    });
    step(pair, "runtime", { kind: "consumed", ref, audioUs: 60_000, bytes: 1_920 });
    deliver(pair);
    tick(pair, "adapter");
    deliver(pair);
    expect(heard(pair, "runtime")).toEqual(["a", "b", "c", "e", "f"]);
    expect(pair.outputs.runtime.some((o) => o.kind === "gap")).toBe(false);
  });

  test("drop_newest keeps what waits; refuse gives the event back", () => {
    const newest = opened({ ...small, dataOverflow: "drop_newest" });
    send(newest.pair, newest.ref, "abcdef");
    step(newest.pair, "runtime", { kind: "consumed", ref: newest.ref, audioUs: 60_000, bytes: 1_920 });
    deliver(newest.pair);
    tick(newest.pair, "adapter");
    deliver(newest.pair);
    expect(heard(newest.pair, "runtime")).toEqual(["a", "b", "c", "d", "e"]);
    const refuse = opened({ ...small, dataOverflow: "refuse" });
    send(refuse.pair, refuse.ref, "abcde");
    const sixth = linkSend(refuse.pair.ends.adapter, refuse.ref, data("f"), refuse.pair.nowNs, []);
    expect(sixth).toEqual({ ok: false, error: "no_credit" });
  });

  test("an event that could never be paid for is refused", () => {
    const { pair, ref } = opened();
    const result = linkSend(pair.ends.adapter, ref, data("x", { audioUs: 60_001 }), pair.nowNs, []);
    expect(result).toEqual({ ok: false, error: "too_large" });
  });

  test("a loss leaks no credit: totals travel with every event", () => {
    const { pair, ref } = opened();
    for (const name of ["a", "b"]) step(pair, "adapter", { kind: "send", ref, item: data(name, { turn: null }) });
    tick(pair, "adapter");
    pair.wires.splice(0, 1);
    deliver(pair);
    advance(pair, limits.LINK_REORDER_HOLD_MS);
    tick(pair, "runtime");
    expect(pair.outputs.runtime).toContainEqual({ kind: "gap", ref, lane: "data", fromSeq: 1, toSeq: 1 });
    expect(pair.ends.runtime.sessions[ref]?.inCredit).toMatchObject({
      arrivedAudioUs: 40_000,
      releasedAudioUs: 20_000,
    });
  });

  test("a sender that overdraws breaks its own session only", () => {
    const { pair, ref } = opened();
    const other = open(pair, "adapter", "s2");
    deliver(pair);
    const frame: EventFrame<string> = {
      kind: "event",
      ref,
      lane: "data",
      seq: 1,
      turn: null,
      generation: 0,
      audioUs: 60_001,
      bytes: 1,
      sentAudioUs: 60_001,
      sentBytes: 1,
      payload: "x",
    };
    step(pair, "runtime", { kind: "frame", connection: "media", incarnation: 1, frame });
    deliver(pair);
    expect(pair.outputs.adapter.at(-1)).toMatchObject({ kind: "session_broken", ref, reason: "credit_violation" });
    expect(Object.keys(pair.ends.adapter.sessions)).toEqual([String(other)]);
  });

  function frameOf(ref: number, seq: number, totals: Partial<EventFrame<string>>): EventFrame<string> {
    const cost = { audioUs: 20_000, bytes: 640, sentAudioUs: 20_000 * seq, sentBytes: 640 * seq };
    return { kind: "event", ref, lane: "data", seq, turn: 1, generation: 1, ...cost, payload: `p${seq}`, ...totals };
  }

  function receive(pair: LinkPair, frame: EventFrame<string>): void {
    step(pair, "runtime", { kind: "frame", connection: "media", incarnation: 1, frame });
  }

  test.each([
    ["no totals at all", { sentAudioUs: 0, sentBytes: 0 }],
    ["audio that stands still", { sentAudioUs: 20_000 }],
    ["bytes that stand still", { sentBytes: 640 }],
    ["audio short by one", { sentAudioUs: 39_999 }],
    ["bytes short by one", { sentBytes: 1_279 }],
    ["a total that is no count", { sentBytes: 1_280.5 }],
    ["a cost below nothing", { audioUs: -20_000 }],
  ])("a sender that understates its totals breaks its session: %s", (_what, totals) => {
    const { pair, ref } = opened();
    receive(pair, frameOf(ref, 1, {}));
    receive(pair, frameOf(ref, 2, totals));
    expect(heard(pair, "runtime")).toEqual(["p1"]);
    expect(pair.outputs.runtime.at(-1)).toMatchObject({ kind: "session_broken", ref, reason: "credit_violation" });
    // What was given before may still be consumed: nothing throws.
    step(pair, "runtime", { kind: "consumed", ref, audioUs: 40_000, bytes: 1_280 });
    deliver(pair);
    expect(pair.outputs.adapter.at(-1)).toMatchObject({ kind: "session_broken", ref, reason: "credit_violation" });
  });

  test("understated totals of a frame that is fenced break the session and do not throw", () => {
    const { pair, ref } = opened();
    step(pair, "runtime", { kind: "send", ref, item: overtaking("cut", 1, 2) });
    receive(pair, frameOf(ref, 1, { sentAudioUs: 0, sentBytes: 0 }));
    expect(pair.outputs.runtime.at(-1)).toMatchObject({ kind: "session_broken", ref, reason: "credit_violation" });
  });

  test("held frames are judged when they are taken; nothing behind the false one is", () => {
    const { pair, ref } = opened();
    const small = (seq: number) => ({ audioUs: 10_000, bytes: 100, sentAudioUs: 10_000 * seq, sentBytes: 100 * seq });
    for (const seq of [4, 2]) receive(pair, frameOf(ref, seq, small(seq)));
    receive(pair, frameOf(ref, 3, { ...small(3), sentAudioUs: 0 }));
    expect(pair.outputs.runtime.some((o) => o.kind === "session_broken")).toBe(false);
    receive(pair, frameOf(ref, 1, small(1)));
    expect(heard(pair, "runtime")).toEqual(["p1", "p2"]);
    expect(pair.outputs.runtime.filter((o) => o.kind === "session_broken")).toHaveLength(1);
  });

  test("a hole that time declares leads to a false total: one break, and the tick goes on", () => {
    const { pair, ref } = opened();
    const other = open(pair, "adapter", "s2");
    deliver(pair);
    for (const seq of [2, 3, 5]) receive(pair, frameOf(ref, seq, { sentAudioUs: 0, sentBytes: 0 }));
    receive(pair, frameOf(other, 2, {}));
    advance(pair, limits.LINK_REORDER_HOLD_MS);
    tick(pair, "runtime");
    expect(pair.outputs.runtime.filter((o) => o.kind === "session_broken")).toHaveLength(1);
    expect(Object.keys(pair.ends.runtime.sessions)).toEqual([String(other)]);
    expect(heard(pair, "runtime")).toEqual(["p2"]);
  });

  test("a full hold that leads to a false total breaks the session once", () => {
    const { pair, ref } = opened();
    for (let n = 0; n <= limits.LINK_REORDER_ITEMS_MAX; n++) {
      receive(pair, frameOf(ref, 2 + 2 * n, { sentAudioUs: 0, sentBytes: 0 }));
    }
    expect(pair.outputs.runtime.filter((o) => o.kind === "session_broken")).toHaveLength(1);
    expect(heard(pair, "runtime")).toEqual([]);
  });

  test("consuming more than arrived is a bug of the application", () => {
    const { pair, ref } = opened();
    send(pair, ref, "a");
    expect(() => step(pair, "runtime", { kind: "consumed", ref, audioUs: 20_001, bytes: 0 })).toThrow(/consumed/);
  });
});

describe("telemetry (kernel.md §4)", () => {
  test("is bounded, dropped newest first and counted, and takes a bounded share of a flush", () => {
    const { pair, ref } = opened();
    for (let n = 0; n < limits.LINK_TELEMETRY_QUEUE_ITEMS_MAX + 5; n++) {
      step(pair, "adapter", { kind: "send", ref, item: { lane: "telemetry", bytes: 10, payload: `t${n}` } });
    }
    expect(pair.ends.adapter.sessions[ref]?.outTelemetry.droppedItems).toBe(5);
    step(pair, "adapter", { kind: "send", ref, item: data("a", { turn: null }) });
    tick(pair, "adapter");
    deliver(pair);
    expect(heard(pair, "runtime")).toHaveLength(1 + limits.LINK_TELEMETRY_PER_FLUSH_MAX);
    expect(heard(pair, "runtime")[0]).toBe("a");
    for (let n = 0; n < 20; n++) tick(pair, "adapter");
    deliver(pair);
    expect(heard(pair, "runtime")).toHaveLength(1 + limits.LINK_TELEMETRY_QUEUE_ITEMS_MAX);
    expect(pair.outputs.runtime.at(-1)).toMatchObject({ kind: "skipped", lane: "telemetry", reason: "overflow" });
  });
});
