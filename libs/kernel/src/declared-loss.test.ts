import { describe, expect, test } from "vitest";
import type { Effect } from "./effect.ts";
import { evidenceBytesMax } from "./evidence.ts";
import { addendum, asked, capacity, committed, idle, records, say, speaking, told } from "./testing/scenes.ts";

const notices = (effects: readonly Effect[]) =>
  effects.flatMap((e) => (e.type === "signal" && e.event.signal === "drop_notice" ? [e.event] : []));

describe("what is lost is declared", () => {
  test("F-044 caller frames that never came in are told as a drop_notice with their sequence range", () => {
    const h = idle();
    h.hear(false, 3);
    h.audioSequence += 50;
    h.mediaUs += 50 * 20_000;
    const [notice, ...more] = notices(h.hear(false, 5));
    expect(more).toEqual([]);
    expect(notice).toMatchObject({
      emitter: "edge",
      turn: 0,
      reason: "ingress_gap",
      fields: { edge: "e1", lane: "data", fromSequence: 4, toSequence: 53 },
    });
  });

  test("F-044 a stream that does not begin at 1, as a successor meets it, has lost nothing", () => {
    const h = idle();
    h.audioSequence = 700;
    expect(notices(h.hear(false, 5))).toEqual([]);
  });

  test("T9 a committed turn whose evidence is given up keeps its terminal; its output is cut, the session degraded", () => {
    const h = committed();
    const effects = h.feed({ type: "append_failed", turn: 1, exhausted: true });
    expect(told(effects)).toEqual([
      "cancel#1(recording_evidence_unavailable)",
      "playback_cancelled#1(recording_evidence_unavailable)",
    ]);
    expect(effects).toContainEqual(
      expect.objectContaining({ type: "status", degraded: true, reason: "recording_evidence_unavailable" }),
    );
    expect(effects).toContainEqual(expect.objectContaining({ type: "egress_fence", turn: 1, generation: 2 }));
    const before = h.log.length;
    const acknowledged = h.fenceAck(1, 200_000);
    h.advance(8_000);
    const after = h.log.slice(before).map(({ effect }) => effect);
    expect(after.some((effect) => effect.type === "egress_media")).toBe(false);
    // Nobody asked for this cut: it has no cancel latency.
    expect(acknowledged.some((e) => e.type === "telemetry" && e.name === "cancel_fence_ns")).toBe(false);
    expect(addendum(h, 1)).toMatchObject({ outcome: "cancelled", cancelReason: "recording_evidence_unavailable" });
    expect(h.signals("commit")).toEqual(["commit#1"]);
    expect(h.signals("abort")).toEqual([]);
    h.feed({ type: "append_failed", turn: 1, exhausted: true });
    expect(h.signals("playback_cancelled")).toHaveLength(1);
  });

  test("T9 the plan's record is part of the reservation: without room for it, defer(recording)", () => {
    const h = idle();
    h.feed({ ...capacity(true), evidenceQuotaBytes: evidenceBytesMax + 100 } as ReturnType<typeof capacity>);
    h.feed(say(h, "hello"));
    expect(records(h, "refusal")).toMatchObject([{ outcome: "defer", reason: "recording" }]);
    expect(h.state.recording.takenBytes).toBe(0);
    const whole = committed();
    expect(whole.state.recording.takenBytes).toBeGreaterThan(evidenceBytesMax);
    whole.advance(4_000);
    whole.deliver(1, "completed", 2_120_000);
    expect(whole.state.recording.takenBytes).toBe(0);
  });
});

describe("what repeats is told with measure", () => {
  test("a node of the session that fails at every frame is told at the first and at every 50th failure", () => {
    const h = idle();
    for (let i = 0; i < 101; i++)
      for (const effect of h.feed(h.frame()))
        if (effect.type === "node_event") h.feed({ type: "node_failed", command: effect.command, reason: "vad_threw" });
    expect(h.state.counters.nodeErrors).toBe(101);
    expect(h.signals("node_error")).toEqual(Array.from({ length: 3 }, () => "node_error(vad_threw)"));
  });

  test("F-158 a control message that was overtaken is no duplicate of the one that overtook it", () => {
    const h = speaking();
    const mute = h.control("mute", { controlClass: "positioned", lastMediaSequence: 0 });
    const stop = h.control("cancel", { reason: "user_cancel" });
    expect(told(h.feed(stop))).toContain("abort#1(cancelled)");
    h.feed(mute);
    expect(h.state.prelude.muted).toBe(true);
    h.feed(stop);
    expect(h.state.counters.duplicates).toBe(1);
  });

  test("NF-018 the mapping error is told at each turn boundary", () => {
    const h = asked();
    const effects = h.reply("Fine.");
    const at = (name: string) => effects.findIndex((e) => e.type === "signal" && e.event.signal === name);
    const found = effects.findIndex((e) => e.type === "telemetry" && e.name === "media_runtime_mapping_error_ms");
    expect(effects[found]).toMatchObject({ turn: 1, value: 0.5 });
    expect(found).toBeGreaterThan(at("close"));
  });
});
