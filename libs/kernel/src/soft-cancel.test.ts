import { describe, expect, test } from "vitest";
import type { InputBody } from "./input.ts";
import { checkReplay } from "./testing/checked-replay.ts";
import type { KernelHarness } from "./testing/harness.ts";
import { addendum, asked, cancel, committed, sealed, speaking, told } from "./testing/scenes.ts";

const soft: InputBody = { type: "operator", command: "cancel_turn", turn: 1, reason: "operator", mode: "soft" };
const MS = 1_000_000;

const fences = (h: KernelHarness): number[] =>
  h.log.flatMap(({ effect, atNs }) => (effect.type === "egress_fence" ? [atNs] : []));
const media = (h: KernelHarness, fromNs: number): number =>
  h.log.filter(({ effect, atNs }) => effect.type === "egress_media" && atNs > fromNs).length;

describe("F-041 soft and hard cancel", () => {
  test("F-041 asked for now; accepted with its fence when the clause in flight has been played, and nothing after it", () => {
    const h = speaking();
    h.feed(h.outcome(h.open("llm")));
    // The first clause comes to its end, and a second one waits behind it.
    h.feed(h.audioChunk(h.open("tts"), 0, 34, { segmentEnd: true }));
    for (let i = 0; i < 30; i++) h.feed(h.audioChunk(h.open("tts"), 1, 19));
    const playedOutNs = (h.state.turns[0]?.output.startNs ?? 0) + 21 * 20 * MS;
    const at = h.nowNs;
    const effects = h.feed(soft);
    expect(told(effects)).toEqual(["cancel_requested#1(operator)", "cancel_requested#1(operator)"]);
    expect(effects.some((e) => e.type === "egress_fence")).toBe(false);
    h.advance(500);
    expect(fences(h)).toEqual([playedOutNs]);
    expect(h.state.turns[0]?.anchors.cancelAcceptedNs).toBe(playedOutNs);
    const segments = h.state.turns[0]?.segments ?? [];
    expect([segments[0]?.durationUs, segments[1]?.durationUs]).toEqual([21 * 20_000, 0]);
    expect(media(h, at)).toBeGreaterThan(0);
    expect(media(h, playedOutNs)).toBe(0);
    expect(h.signals("abort")).toEqual(["abort#1(cancelled)"]);
    expect(sealed(h, 1).manifest.cancel).toMatchObject({ reason: "operator", acceptedNs: playedOutNs });
    checkReplay(h);
  });

  test("F-041 a clause that takes too long is cut at the bound of the policy", () => {
    const h = speaking({ softLimitMs: 120 });
    for (let i = 0; i < 60; i++) h.feed(h.audioChunk(h.open("tts"), 0, 34));
    const at = h.nowNs;
    h.feed(soft);
    h.advance(119);
    expect(fences(h)).toEqual([]);
    h.advance(2);
    expect(fences(h)).toEqual([at + 120 * MS]);
    checkReplay(h);
  });

  test("F-041 the same request, hard: the fence goes up at once", () => {
    const h = speaking();
    const at = h.nowNs;
    h.feed(cancel(1));
    expect(fences(h)).toEqual([at]);
    checkReplay(h);
  });

  test("where nothing is being spoken there is nothing to wait for", () => {
    const h = asked();
    const effects = h.feed(soft);
    expect(told(effects)).toEqual(["cancel_requested#1(operator)", "abort#1(cancelled)", "close#1"]);
    checkReplay(h);
  });

  test("a hard cancel that comes meanwhile acts at once, and once", () => {
    const h = speaking();
    h.feed(h.audioChunk(h.open("tts"), 0, 34, { segmentEnd: true }));
    h.feed(soft);
    const effects = h.feed(cancel(1));
    expect(told(effects)).toContain("abort#1(cancelled)");
    h.advance(1_000);
    expect(h.signals("abort")).toHaveLength(1);
    expect(fences(h)).toHaveLength(1);
    checkReplay(h);
  });

  test("F-041 a committed turn stays committed: what is said to the end of its clause, the rest is cut (T13)", () => {
    const h = committed();
    h.feed(soft);
    h.advance(600);
    h.fenceAck(1, h.state.turns[0]?.output.sentUs ?? 0);
    expect(h.signals("commit")).toEqual(["commit#1"]);
    expect(h.signals("playback_cancelled")).toEqual(["playback_cancelled#1(operator)"]);
    expect(addendum(h, 1)).toMatchObject({ outcome: "cancelled", cancelReason: "operator" });
    checkReplay(h);
  });

  test("F-041 by policy a barge-in waits for the clause as well, and a request from outside may still be hard", () => {
    const h = speaking({ cancelMode: "soft", holdOnCandidate: false });
    for (let i = 0; i < 60; i++) h.feed(h.audioChunk(h.open("tts"), 0, 34));
    h.hear(true, 6);
    expect(h.signals("barge_in")).toEqual(["barge_in#1(barge_in)"]);
    expect(fences(h)).toEqual([]);
    h.advance(500);
    expect(fences(h)).toHaveLength(1);
    const hard = speaking({ cancelMode: "soft" });
    hard.feed(hard.control("cancel", { turn: 1, fields: { mode: "hard" } }));
    expect(fences(hard)).toEqual([hard.nowNs]);
    const stop = speaking({ cancelMode: "soft" });
    stop.feed(stop.control("cancel_requested", { turn: 1 }));
    expect(fences(stop)).toEqual([]);
    for (const each of [h, hard, stop]) checkReplay(each);
  });
});
