import { describe, expect, test } from "vitest";
import { limits } from "./limits.ts";
import { linkSend } from "./link.ts";
import { linkNextDeadline } from "./link-tick.ts";
import type { LinkPair } from "./testkit/link-pair.ts";
import {
  advance,
  connect,
  constants,
  data,
  deliver,
  heard,
  kinds,
  open,
  overtaking,
  pairCreate,
  positioned,
  step,
  tick,
} from "./testkit/link-pair.ts";

function up(config = {}): LinkPair {
  const pair = pairCreate(config);
  connect(pair);
  return pair;
}

function opened(config = {}): { pair: LinkPair; ref: number } {
  const pair = up(config);
  const ref = open(pair);
  deliver(pair);
  return { pair, ref };
}

const refusals = (pair: LinkPair, role: "adapter" | "runtime"): string[] =>
  pair.outputs[role].flatMap((o) => (o.kind === "frame_refused" ? [o.reason] : []));

describe("binding", () => {
  test("a bind opens the session at both ends under one reference and is answered", () => {
    const { pair, ref } = opened();
    expect(pair.outputs.runtime).toContainEqual({ kind: "session_opened", ref, constants, origin: "peer" });
    expect(pair.outputs.adapter).toContainEqual({ kind: "session_bound", ref });
  });

  test("references are odd for the adapter, even for the runtime, and never reused in an incarnation", () => {
    const pair = up();
    const refs = [open(pair), open(pair, "runtime"), open(pair)];
    step(pair, "adapter", { kind: "unbind", ref: 3, reason: "done" });
    refs.push(open(pair));
    expect(refs).toEqual([1, 2, 3, 5]);
    deliver(pair);
    step(pair, "runtime", {
      kind: "frame",
      connection: "control",
      incarnation: 1,
      frame: { kind: "bind", ref: 3, constants, supersedes: null },
    });
    expect(refusals(pair, "runtime")).toEqual(["ref_reused"]);
  });

  test("an event that overtakes its bind waits for it", () => {
    const pair = up();
    const ref = open(pair);
    step(pair, "adapter", { kind: "send", ref, item: data("a") });
    tick(pair, "adapter");
    deliver(pair, "media");
    expect(heard(pair, "runtime")).toEqual([]);
    deliver(pair);
    expect(heard(pair, "runtime")).toEqual(["a"]);
  });

  test("an event whose bind does not come is refused after the deadline, with the reason", () => {
    const pair = up();
    const ref = open(pair);
    step(pair, "adapter", { kind: "send", ref, item: data("a") });
    tick(pair, "adapter");
    deliver(pair, "media");
    advance(pair, limits.LINK_UNKNOWN_REF_WAIT_MS - 1);
    tick(pair, "runtime");
    expect(refusals(pair, "runtime")).toEqual([]);
    advance(pair, 1);
    tick(pair, "runtime");
    expect(refusals(pair, "runtime")).toEqual(["unknown_ref_timeout"]);
    expect(pair.ends.runtime.unknownBytes).toBe(0);
  });

  test("the queue for unknown references is bounded", () => {
    const pair = up();
    const frame = (seq: number) =>
      ({ kind: "skip", ref: 1, lane: "data", seq, toSeq: seq, reason: "overflow" }) as const;
    for (let seq = 1; seq <= limits.LINK_UNKNOWN_REF_ITEMS_MAX + 2; seq++) {
      step(pair, "runtime", { kind: "frame", connection: "media", incarnation: 1, frame: frame(seq) });
    }
    expect(pair.ends.runtime.unknown.length).toBe(limits.LINK_UNKNOWN_REF_ITEMS_MAX);
    expect(refusals(pair, "runtime")).toEqual(["unknown_ref_overflow", "unknown_ref_overflow"]);
  });

  test("after an unbind late events of the reference are refused at once", () => {
    const { pair, ref } = opened();
    step(pair, "runtime", { kind: "send", ref, item: data("late") });
    tick(pair, "runtime");
    step(pair, "adapter", { kind: "unbind", ref, reason: "hang-up" });
    deliver(pair);
    expect(refusals(pair, "adapter")).toContain("unbound_ref");
    expect(pair.outputs.runtime.at(-1)).toMatchObject({ kind: "session_closed", reason: "hang-up", by: "peer" });
    expect(pair.ends.runtime.sessionCount).toBe(0);
  });

  test("a bind past the bound is refused here and broken there", () => {
    const pair = up({ sessionsMax: 1 });
    open(pair);
    deliver(pair);
    expect(kinds(step(pair, "adapter", { kind: "bind", constants, supersedes: null }))).toEqual(["bind_refused"]);
    step(pair, "runtime", {
      kind: "frame",
      connection: "control",
      incarnation: 1,
      frame: { kind: "bind", ref: 3, constants, supersedes: null },
    });
    expect(pair.wires.at(-1)?.frame).toEqual({ kind: "break", ref: 3, reason: "sessions_full" });
  });

  test("a bind that is never answered breaks its session", () => {
    const pair = up();
    open(pair);
    advance(pair, limits.LINK_BIND_DEADLINE_MS);
    tick(pair, "adapter");
    expect(pair.outputs.adapter.at(-1)).toMatchObject({ kind: "session_broken", reason: "bind_timeout" });
  });

  test("a reference that supersedes another keeps its fences", () => {
    const { pair, ref } = opened();
    step(pair, "runtime", { kind: "send", ref, item: overtaking("cancel", 4, 3) });
    deliver(pair);
    step(pair, "adapter", { kind: "bind", constants: { ...constants, epoch: 2 }, supersedes: ref });
    deliver(pair);
    const fenced = linkSend(pair.ends.runtime, 3, data("x", { turn: 4, generation: 2 }), pair.nowNs, []);
    expect(fenced).toEqual({ ok: false, error: "fenced" });
  });
});

describe("incarnations", () => {
  test("the pair is up with both connections and dead with either", () => {
    const { pair, ref } = opened();
    step(pair, "adapter", { kind: "send", ref, item: data("a") });
    tick(pair, "adapter");
    deliver(pair);
    advance(pair, limits.LINK_RECEIPT_EVERY_MS);
    tick(pair, "runtime");
    deliver(pair);
    const out = step(pair, "adapter", { kind: "disconnected", connection: "media", incarnation: 1 });
    expect(kinds(out)).toEqual(["close_connection", "session_broken", "pair_dead"]);
    expect(out[1]).toMatchObject({ reason: "pair_dead", peerAcked: { control: 0, data: 1, telemetry: 0 } });
    expect(linkSend(pair.ends.adapter, ref, data("b"), pair.nowNs, [])).toEqual({ ok: false, error: "not_up" });
  });

  test("frames and connections of an older incarnation are refused", () => {
    const { pair, ref } = opened();
    step(pair, "adapter", { kind: "send", ref, item: data("old") });
    tick(pair, "adapter");
    connect(pair, 2);
    deliver(pair);
    expect(refusals(pair, "runtime")).toContain("old_incarnation");
    expect(heard(pair, "runtime")).toEqual([]);
    const out = step(pair, "runtime", { kind: "connected", connection: "media", incarnation: 1 });
    expect(out).toEqual([{ kind: "close_connection", connection: "media", incarnation: 1, reason: "old_incarnation" }]);
    expect(kinds(step(pair, "runtime", { kind: "disconnected", connection: "media", incarnation: 1 }))).toEqual([]);
  });

  test("a spent incarnation does not come back", () => {
    const { pair } = opened();
    step(pair, "adapter", { kind: "disconnected", connection: "control", incarnation: 1 });
    expect(kinds(step(pair, "adapter", { kind: "connected", connection: "control", incarnation: 1 }))).toEqual([
      "close_connection",
    ]);
  });

  test("half a pair dies at its deadline", () => {
    const pair = pairCreate();
    step(pair, "adapter", { kind: "connected", connection: "control", incarnation: 1 });
    advance(pair, limits.LINK_PAIR_UP_DEADLINE_MS);
    expect(kinds(tick(pair, "adapter"))).toEqual(["close_connection", "pair_dead"]);
  });

  test("media on the control connection is refused", () => {
    const { pair, ref } = opened();
    step(pair, "runtime", {
      kind: "frame",
      connection: "control",
      incarnation: 1,
      frame: { kind: "skip", ref, lane: "data", seq: 1, toSeq: 1, reason: "overflow" },
    });
    expect(refusals(pair, "runtime")).toEqual(["wrong_connection"]);
  });
});

describe("control classes (kernel.md §6)", () => {
  test("overtaking acts at once and cuts queued and arriving media of the turn, at both ends", () => {
    const { pair, ref } = opened();
    step(pair, "runtime", { kind: "send", ref, item: data("on the wire") });
    tick(pair, "runtime");
    step(pair, "runtime", { kind: "send", ref, item: data("queued") });
    step(pair, "runtime", { kind: "send", ref, item: data("newer", { generation: 2 }) });
    step(pair, "runtime", { kind: "send", ref, item: data("caller", { turn: null }) });
    step(pair, "runtime", { kind: "send", ref, item: overtaking("cancel", 1, 2) });
    expect(pair.outputs.runtime).toContainEqual({ kind: "dropped", ref, lane: "data", items: 1, reason: "fenced" });
    deliver(pair, "control");
    expect(heard(pair, "adapter")).toEqual(["cancel"]);
    tick(pair, "runtime");
    deliver(pair);
    expect(heard(pair, "adapter")).toEqual(["cancel", "newer", "caller"]);
    expect(refusals(pair, "adapter")).toEqual(["fenced"]);
    expect(pair.outputs.adapter.filter((o) => o.kind === "gap")).toEqual([]);
    expect(linkSend(pair.ends.runtime, ref, data("again"), pair.nowNs, [])).toEqual({ ok: false, error: "fenced" });
  });

  test("a cancel from the adapter also empties the runtime's queue", () => {
    const { pair, ref } = opened();
    step(pair, "runtime", { kind: "send", ref, item: data("queued") });
    step(pair, "adapter", { kind: "send", ref, item: overtaking("cancel", 1, 2) });
    deliver(pair);
    expect(pair.outputs.runtime).toContainEqual({ kind: "dropped", ref, lane: "data", items: 1, reason: "fenced" });
    tick(pair, "runtime");
    deliver(pair);
    expect(heard(pair, "adapter")).toEqual([]);
  });

  test("a cut-off with olderTurns cuts every earlier turn too", () => {
    const { pair, ref } = opened();
    step(pair, "runtime", { kind: "send", ref, item: overtaking("revoke", 5, 9, true) });
    const send = (turn: number, generation: number) =>
      linkSend(pair.ends.runtime, ref, data("x", { turn, generation }), pair.nowNs, []).ok;
    expect([send(3, 99), send(5, 8), send(5, 9), send(6, 0)]).toEqual([false, false, true, true]);
  });

  test("positioned waits for its media, then acts unforced, and clips nothing", () => {
    const { pair, ref } = opened();
    step(pair, "adapter", { kind: "send", ref, item: data("last word", { turn: null }) });
    step(pair, "adapter", { kind: "send", ref, item: positioned("end_of_utterance") });
    tick(pair, "adapter");
    deliver(pair, "control");
    expect(heard(pair, "runtime")).toEqual([]);
    advance(pair, limits.POSITIONED_WAIT_MS - 1);
    deliver(pair);
    expect(heard(pair, "runtime")).toEqual(["last word", "end_of_utterance"]);
  });

  test("positioned acts after 40 ms, marked forced; overtaking passes it meanwhile", () => {
    const { pair, ref } = opened();
    step(pair, "adapter", { kind: "send", ref, item: data("late", { turn: null }) });
    step(pair, "adapter", { kind: "send", ref, item: positioned("end") });
    step(pair, "adapter", { kind: "send", ref, item: positioned("dtmf", false) });
    step(pair, "adapter", { kind: "send", ref, item: overtaking("cancel", 1, 2) });
    deliver(pair, "control");
    advance(pair, limits.POSITIONED_WAIT_MS - 1);
    tick(pair, "runtime");
    expect(heard(pair, "runtime")).toEqual(["cancel"]);
    advance(pair, 1);
    tick(pair, "runtime");
    expect(heard(pair, "runtime")).toEqual(["cancel", "end!", "dtmf"]);
    tick(pair, "adapter");
    deliver(pair);
    expect(heard(pair, "runtime").at(-1)).toBe("late");
  });

  test("media dropped by the sender does not keep a positioned message waiting", () => {
    const { pair, ref } = opened();
    step(pair, "runtime", { kind: "send", ref, item: data("cut") });
    step(pair, "runtime", { kind: "send", ref, item: positioned("commit") });
    step(pair, "runtime", { kind: "send", ref, item: overtaking("cancel", 1, 2) });
    tick(pair, "runtime");
    deliver(pair);
    expect(heard(pair, "adapter")).toEqual(["cancel", "commit"]);
  });

  test("too many waiting positioned messages break the session, none is dropped in silence", () => {
    const { pair, ref } = opened();
    step(pair, "adapter", { kind: "send", ref, item: data("x") });
    for (let n = 0; n <= limits.POSITIONED_WAITING_ITEMS_MAX; n++) {
      step(pair, "adapter", { kind: "send", ref, item: positioned(`p${n}`) });
    }
    deliver(pair, "control");
    expect(pair.outputs.runtime.at(-1)).toMatchObject({ kind: "session_broken", reason: "positioned_overflow" });
    expect(pair.outputs.adapter.at(-1)).toMatchObject({ kind: "session_broken", reason: "positioned_overflow" });
  });
});

describe("flush policy (architecture.md, decision 5)", () => {
  const sendsNow = (item: ReturnType<typeof data>): number => {
    const { pair, ref } = opened();
    step(pair, "runtime", { kind: "send", ref, item });
    return pair.wires.length;
  };

  test("control and urgent data leave within the call that sends them, steady media does not", () => {
    expect(sendsNow(positioned("turn_open", false))).toBe(1);
    expect(sendsNow(data("first chunk", { urgent: true }))).toBe(1);
    expect(sendsNow(data("steady"))).toBe(0);
  });

  test("steady media leaves when the loop is idle, under load after 3 ms, several in one batch", () => {
    const { pair, ref } = opened();
    step(pair, "runtime", { kind: "send", ref, item: data("a") });
    step(pair, "runtime", { kind: "send", ref, item: data("b") });
    expect(tick(pair, "runtime", false)).toEqual([]);
    expect(linkNextDeadline(pair.ends.runtime)).toBe(limits.FLUSH_BATCH_MS * 1_000_000);
    advance(pair, limits.FLUSH_BATCH_MS);
    const out = tick(pair, "runtime", false);
    expect(out).toHaveLength(1);
    expect(out[0]).toMatchObject({ kind: "transmit", connection: "media" });
    expect(pair.wires).toHaveLength(2);
    step(pair, "runtime", { kind: "send", ref, item: data("c") });
    expect(kinds(tick(pair, "runtime", true))).toEqual(["transmit"]);
  });
});

test("an end survives JSON in the middle of everything", () => {
  const { pair, ref } = opened();
  step(pair, "adapter", { kind: "send", ref, item: data("a", { turn: null }) });
  step(pair, "adapter", { kind: "send", ref, item: positioned("end") });
  tick(pair, "adapter");
  deliver(pair, "control");
  pair.ends.runtime = JSON.parse(JSON.stringify(pair.ends.runtime));
  deliver(pair);
  expect(heard(pair, "runtime")).toEqual(["a", "end"]);
});
