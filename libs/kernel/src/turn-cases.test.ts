import type { MonoNs } from "@rspp/base/brand";
import { describe, expect, test } from "vitest";
import type { InputBody } from "./input.ts";
import type { KernelHarness } from "./testing/harness.ts";
import {
  asked,
  authority,
  cancel,
  capacity,
  committed,
  idle,
  records,
  say,
  sealed,
  speaking,
  told,
} from "./testing/scenes.ts";

const TERMINAL =
  /^(commit|abort|close|deauthorized_drain|playback_cancelled|turn_open|defer|reject|stale_epoch_reject)\b/;
const moves = (effects: Parameters<typeof told>[0]) => told(effects).filter((text) => TERMINAL.test(text));

/** A refused request leaves a refusal record, no turn, no abort, no close (F-141). */
function refused(h: KernelHarness, outcome: string, reason: string): void {
  expect(records(h, "refusal")).toMatchObject([{ outcome, reason, proposal: 1 }]);
  expect(h.signals("turn_open#")).toEqual([]);
  expect([...h.signals("abort"), ...h.signals("close")]).toEqual([]);
  expect(records(h, "evidence")).toEqual([]);
  expect(h.state.turns).toEqual([]);
  expect(h.state.recording.takenBytes).toBe(0);
}

describe("before a turn", () => {
  test("T1 T5 a proposal opens a turn and creates nothing before that (F-139)", () => {
    const h = idle();
    const effects = h.feed(say(h, "hello"));
    expect(told(effects)).toEqual(["turn_open_proposed(say)", "turn_open#1"]);
    expect(h.state.turns[0]?.phase).toBe("active");
  });

  test("T2 F-141 no capacity: defer or reject as admission says", () => {
    for (const outcome of ["defer", "reject"] as const) {
      const h = idle();
      h.feed(capacity(false, outcome));
      h.feed(say(h, "hello"));
      refused(h, outcome, "no_capacity");
    }
  });

  test("T2 F-141 an unusable snapshot defers", () => {
    const h = idle();
    h.feed({ type: "snapshot", refs: h.config.snapshots, usable: false, reason: "too_stale" });
    h.feed(say(h, "hello"));
    refused(h, "defer", "snapshot: too_stale");
  });

  test("T2 F-150 no evidence reservation: defer(recording)", () => {
    const h = idle();
    h.feed({ type: "capacity", admit: true, outcome: "defer", reason: "", evidenceQuotaBytes: 1_000 });
    h.feed(say(h, "hello"));
    refused(h, "defer", "recording");
  });

  test("T3 F-156 a lease that ran out: stale_epoch_reject", () => {
    const h = idle({}, { authority: { epoch: 1, incarnation: "store-1", deadlineNs: 50_000_000 as MonoNs } });
    h.advance(100);
    h.feed(say(h, "hello"));
    refused(h, "stale_epoch_reject", "expired");
  });

  test("T4 a revoked lease: deauthorized_drain before any turn, also in one batch with the proposal", () => {
    const h = idle();
    h.feed(say(h, "hello"), authority(h, "revoked"));
    refused(h, "deauthorized_drain", "revoked");
  });

  test("T5a no legal plan: reject", () => {
    const h = idle({}, {}, { llm: [] });
    h.feed(say(h, "hello"));
    refused(h, "reject", "no_candidate: node llm has no provider that may serve");
  });
});

describe("an Active turn", () => {
  const cases: [string, (h: KernelHarness) => InputBody[], string[], string][] = [
    ["T7 cancel", () => [cancel(1)], ["abort#1(cancelled)", "close#1"], "cancelled"],
    [
      "T8 revoked",
      (h) => [authority(h, "revoked")],
      ["deauthorized_drain#1(revoked)", "abort#1(authority_loss)", "close#1"],
      "authority_loss",
    ],
    [
      "T8 granted elsewhere",
      (h) => [authority(h, "granted_elsewhere")],
      ["deauthorized_drain#1(granted_elsewhere)", "abort#1(authority_loss)", "close#1"],
      "authority_loss",
    ],
    [
      "T9 evidence exhausted",
      () => [{ type: "append_failed", turn: 1, exhausted: true }],
      ["abort#1(recording_evidence_unavailable)", "close#1"],
      "recording_evidence_unavailable",
    ],
    [
      "T10 provider failure after the first chunk",
      (h) => [h.outcome(h.open("llm"), "error")],
      ["abort#1(provider_failure)", "close#1"],
      "provider_failure",
    ],
    [
      "T10 the session ends",
      () => [{ type: "operator", command: "end", turn: 0, reason: "" }],
      ["abort#1(session_ended)", "close#1"],
      "session_ended",
    ],
  ];
  for (const [name, inputs, expected, reason] of cases)
    test(`${name} F-035 F-139 F-150`, () => {
      const h = speaking();
      const effects = h.feed(...inputs(h));
      expect(moves(effects)).toEqual(expected);
      const evidence = sealed(h, 1);
      expect(evidence.missing).toEqual([]);
      expect(evidence.manifest.terminal).toMatchObject({ kind: "abort", reason });
      expect(evidence.manifest.cancel === null).toBe(reason !== "cancelled");
      // Fence before evidence, evidence before the terminal is told; nothing leaves afterwards.
      const at = (type: string) => effects.findIndex((effect) => effect.type === type);
      const recordAt = effects.findIndex((effect) => effect.type === "record" && effect.record.kind === "evidence");
      const abortAt = effects.findIndex((effect) => effect.type === "signal" && effect.event.signal === "abort");
      expect(at("egress_fence")).toBeGreaterThan(-1);
      expect(at("egress_fence")).toBeLessThan(recordAt);
      expect(recordAt).toBeLessThan(abortAt);
      const before = h.log.length;
      h.advance(8_000);
      expect(h.log.slice(before).filter(({ effect }) => effect.type === "egress_media")).toEqual([]);
      expect(records(h, "delivery_addendum")).toHaveLength(1);
    });

  test("T9 an append that failed with reserve left changes nothing", () => {
    const h = speaking();
    expect(moves(h.feed({ type: "append_failed", turn: 1, exhausted: false }))).toEqual([]);
  });

  test("T6 generation complete: commit with the last Data sequence, then close", () => {
    const h = asked();
    const effects = h.reply("Fine.");
    expect(moves(effects)).toEqual(["commit#1", "close#1"]);
    const frames = h.log.filter(({ effect }) => effect.type === "egress_media").length;
    const commit = effects.find((effect) => effect.type === "signal" && effect.event.signal === "commit");
    expect(commit).toMatchObject({ event: { fields: { lastDataSequence: 6 } } });
    expect(frames).toBeLessThanOrEqual(6);
    expect(sealed(h, 1)).toMatchObject({ missing: [], manifest: { terminal: { kind: "commit", reason: null } } });
  });

  test("T6 a control-only turn may commit, and settles at once", () => {
    const h = asked();
    const llm = h.open("llm");
    const effects = h.feed(h.textChunk(llm, "   "), h.outcome(llm));
    expect(moves(effects)).toEqual(["commit#1", "close#1"]);
    expect(h.state.turns).toEqual([]);
    expect(records(h, "delivery_addendum")).toHaveLength(1);
  });

  test("T12 F-156 a stale event is refused with a marker, the turn goes on", () => {
    const h = speaking();
    const report = { type: "delivery", epoch: 0, turn: 1, generation: 1, state: "progress", playedUs: 1 } as const;
    expect(moves(h.feed(report))).toEqual(["stale_epoch_reject(stale_epoch_delivery)"]);
    expect(h.state.turns[0]?.phase).toBe("active");
  });
});

describe("a closed turn", () => {
  test("T11 late chunks and outcomes are dropped, nothing reopens", () => {
    const h = speaking();
    const llm = h.open("llm");
    h.feed(cancel(1));
    const before = h.log.length;
    h.feed(h.textChunk(llm, "more. "), h.outcome(llm));
    expect(h.log.slice(before).map(({ effect }) => effect.type)).toEqual(["release", "timer_clear"]);
    expect(h.state.turns[0]?.lateAfterCancel).toBe(1);
    expect(h.state.turns[0]?.phase).toBe("closed_abort");
  });

  test("T11 late events are diagnosed where the policy says so (F-140)", () => {
    const h = speaking({ lateEvents: "diagnose" });
    const llm = h.open("llm");
    h.feed(cancel(1));
    const effects = h.feed(h.textChunk(llm, "more. "));
    expect(effects).toContainEqual({ type: "telemetry", name: "late_event", value: 1, turn: 1, node: "llm" });
  });

  test("T13 a cancel after commit cuts what plays; no second terminal, told once, whoever reports it", () => {
    const h = committed();
    expect(moves(h.feed(cancel(1, "user_cancel")))).toEqual(["playback_cancelled#1(user_cancel)"]);
    expect(moves(h.deliver(1, "cancelled", 200_000))).toEqual([]);
    expect(moves(h.feed(cancel(1, "again")))).toEqual([]);
    expect(moves(h.fenceAck(1, 200_000))).toEqual([]);
    expect(h.signals("commit")).toEqual(["commit#1"]);
    expect(h.signals("abort")).toEqual([]);
    expect(records(h, "delivery_addendum")).toMatchObject([
      { addendum: { outcome: "cancelled", cancelReason: "user_cancel", playedUs: 200_000 } },
    ]);
  });

  test("T13 needs unsettled delivery: after that a cancel is late", () => {
    const h = committed();
    h.advance(4_000);
    h.deliver(1, "completed", 2_120_000);
    expect(h.state.turns).toEqual([]);
    expect(moves(h.feed(cancel(1)))).toEqual([]);
  });

  test("T8 T12 authority lost while a committed turn plays: no output, no end mark, settled as lost", () => {
    const h = committed();
    h.feed(authority(h, "revoked"));
    const before = h.log.length;
    h.advance(10_000);
    expect(h.log.slice(before).filter(({ effect }) => effect.type === "egress_media")).toEqual([]);
    expect(records(h, "delivery_addendum")).toMatchObject([{ addendum: { outcome: "lost" } }]);
  });
});
