import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Effect, TimelineRecord } from "./effect.ts";
import { replayJournal } from "./replay.ts";
import type { KernelHarness } from "./testing/harness.ts";
import { cancel, idle, records, sealed } from "./testing/scenes.ts";

type Move = Extract<TimelineRecord, { kind: "recording_level" }>;

const at = (ceiling: "L0" | "L1" | "L2") => ({
  recording: { policyId: "rec", ceiling, evidenceQuotaBytes: 1_000_000_000 },
});
const moves = (effects: readonly Effect[]): Move[] =>
  effects.flatMap((e) => (e.type === "record" && e.record.kind === "recording_level" ? [e.record] : []));
const markers = (h: KernelHarness): string[] =>
  (records(h, "recording_level") as Move[]).map(({ from, to, trigger }) => `${from}>${to} ${trigger}`);

/** A whole turn, cancelled at once. @returns effects before its boundary, and those at it. */
function turn(h: KernelHarness): { before: Effect[]; boundary: Effect[] } {
  const number = h.state.lastTurn + 1;
  const before = [...h.utter("go on"), ...h.feed(cancel(number))];
  const boundary = h.fenceAck(number, 0);
  return h.state.turns.length === 0 ? { before, boundary } : { before, boundary: [...boundary, ...h.advance(200)] };
}

describe("F-176 the level of a session under pressure", () => {
  test("F-176 each step is told by a signal and a record of policy, levels, trigger and instant; L0 goes no lower", () => {
    const h = idle({}, at("L2"));
    h.feed({ type: "recording_pressure", fill: 0.85, lagMs: 0 });
    h.advance(500);
    const first = h.feed({ type: "recording_pressure", fill: 0.85, lagMs: 0 });
    expect(moves(first)).toEqual([
      { kind: "recording_level", policyId: "rec", from: "L2", to: "L1", trigger: "queue_fill", monoNs: h.nowNs },
    ]);
    expect(first.flatMap((e) => (e.type === "signal" ? [e.event] : []))).toMatchObject([
      {
        signal: "recording_level_changed",
        fields: { policyId: "rec", levelOld: "L2", levelNew: "L1", trigger: "queue_fill" },
      },
    ]);
    for (let i = 0; i < 4; i++) h.feed({ type: "recording_pressure", fill: 1, lagMs: 9_000 });
    expect(markers(h)).toEqual(["L2>L1 queue_fill", "L1>L0 export_lag"]);
  });

  test("F-176 calm raises nothing while a turn is open, and one step at each boundary after 10 s of it", () => {
    const h = idle({}, at("L2"));
    for (let i = 0; i < 2; i++) h.feed({ type: "recording_pressure", fill: 0, lagMs: 9_000 });
    h.feed({ type: "recording_pressure", fill: 0, lagMs: 0 });
    h.advance(9_000);
    const early = turn(h);
    expect(moves([...early.before, ...early.boundary])).toEqual([]);
    h.advance(10_000);
    h.feed({ type: "recording_pressure", fill: 0, lagMs: 0 });
    const late = turn(h);
    expect([moves(late.before).length, moves(late.boundary).length]).toEqual([0, 1]);
    turn(h);
    turn(h);
    expect(markers(h)).toEqual(["L2>L1 export_lag", "L1>L0 export_lag", "L0>L1 calm", "L1>L2 calm"]);
  });

  test("F-176 F-153 at random pressure: single steps, never above policy, up at boundaries alone, evidence complete at every level, and the replay is identical", () => {
    const pressure = fc.record({
      fill: fc.constantFrom(0, 0.5, 0.8, 0.9, 1),
      lagMs: fc.constantFrom(0, 1_999, 2_000, 5_000),
    });
    const op = fc.oneof(pressure, fc.constantFrom(100, 500, 6_000), fc.constant("turn" as const));
    fc.assert(
      fc.property(
        fc.constantFrom("L0" as const, "L1" as const, "L2" as const),
        fc.array(op, { maxLength: 24 }),
        (ceiling, ops) => {
          const h = idle({}, at(ceiling));
          let level: string = ceiling;
          const take = (effects: readonly Effect[], up: boolean) => {
            const found = moves(effects);
            expect(found.length).toBeLessThanOrEqual(1);
            for (const { from, to } of found) {
              expect(from).toBe(level);
              expect(Number(to[1]) - Number(from[1])).toBe(up ? 1 : -1);
              expect(to <= ceiling).toBe(true);
              level = to;
            }
          };
          for (const one of ops) {
            if (typeof one === "number") expect(moves(h.advance(one))).toEqual([]);
            else if (one !== "turn") take(h.feed({ type: "recording_pressure", ...one }), false);
            else {
              const { before, boundary } = turn(h);
              expect(moves(before)).toEqual([]);
              take(boundary, true);
            }
          }
          expect(h.state.recording.level).toBe(level);
          for (let n = 1; n <= h.state.lastTurn; n++) {
            expect(sealed(h, n).missing).toEqual([]);
            expect(["L0", "L1", "L2"]).toContain(sealed(h, n).manifest.recordingLevel);
          }
          expect(replayJournal(h.state.config, h.journal).identical).toBe(true);
        },
      ),
      { numRuns: 60 },
    );
  });
});

const capture = (level: "" | "L0" | "L1" | "L2", policyId = "capture/1", expired = false) =>
  ({ type: "recording_capture", policyId, level, expired }) as const;
const calm = { type: "recording_pressure", fill: 0, lagMs: 0 } as const;
const plans = (h: KernelHarness) =>
  records(h, "plan").map((r) => (r.kind === "plan" ? (r.plan as { recording: object }).recording : {}));

describe("F-076 a capture of one session", () => {
  test("F-076 it rises at the boundary of the open turn, by single steps, and is in the next turn's plan", () => {
    const h = idle({}, at("L0"));
    h.utter("before");
    expect(moves(h.feed(calm, capture("L2")))).toEqual([]);
    h.feed(cancel(1));
    h.fenceAck(1, 0);
    expect(markers(h)).toEqual(["L0>L1 operator", "L1>L2 operator"]);
    expect((records(h, "recording_level") as Move[]).map(({ policyId }) => policyId)).toEqual([
      "capture/1",
      "capture/1",
    ]);
    expect(records(h, "state_snapshot").length).toBe(1);
    turn(h);
    expect(plans(h)).toMatchObject([
      { policyId: "rec", ceiling: "L0", level: "L0" },
      { policyId: "capture/1", ceiling: "L2", level: "L2" },
    ]);
    expect([1, 2].map((n) => sealed(h, n).manifest.recordingLevel)).toEqual(["L0", "L2"]);
  });

  test("F-076 between turns it rises at once; when its time is over it falls at once, also within a turn", () => {
    const h = idle({}, at("L1"));
    expect(moves(h.feed(calm, capture("L2")))).toMatchObject([{ from: "L1", to: "L2", policyId: "capture/1" }]);
    h.utter("in the middle");
    expect(moves(h.feed(capture("", "", true)))).toMatchObject([
      { from: "L2", to: "L1", trigger: "policy", policyId: "rec" },
    ]);
    h.feed(cancel(1));
    h.fenceAck(1, 0);
    h.advance(20_000);
    turn(h);
    expect(h.state.recording).toMatchObject({ level: "L1", ceiling: "L1" });
    expect(h.state.recording.capture).toBeUndefined();
  });

  test("F-076 F-176 pressure lowers a captured session too, and calm alone raises it again", () => {
    const h = idle({}, at("L0"));
    h.feed(calm, capture("L2"));
    h.feed({ type: "recording_pressure", fill: 0, lagMs: 3_000 });
    turn(h);
    h.feed(calm);
    h.advance(9_000);
    turn(h);
    expect(h.state.recording.level).toBe("L1");
    h.advance(2_000);
    turn(h);
    expect(markers(h).slice(2)).toEqual(["L2>L1 export_lag", "L1>L2 calm"]);
  });

  test("F-076 under pressure it does not rise; a lower capture is none above the policy; the replay is identical", () => {
    const h = idle({}, at("L1"));
    h.feed(capture("L2"));
    h.feed({ type: "recording_pressure", fill: 0.85, lagMs: 0 }, capture("L2", "capture/2"));
    turn(h);
    expect(markers(h)).toEqual([]);
    h.feed(calm, capture("L0", "capture/3"));
    turn(h);
    expect(markers(h)).toEqual([]);
    expect(plans(h).at(-1)).toMatchObject({ policyId: "rec", ceiling: "L1", level: "L1" });
    expect(replayJournal(h.state.config, h.journal).identical).toBe(true);
  });
});
