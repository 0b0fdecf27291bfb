import { asMonoNs } from "@rspp/base/brand";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EVIDENCE_QUOTA_BYTES, EVIDENCE_TURN_BYTES_MAX, OPEN_TURNS_MAX } from "./limits.ts";
import {
  type RecordingLevel,
  recordingAtTurnBoundary,
  recordingCreate,
  recordingPressure,
  releaseEvidence,
  reserveEvidence,
  setEvidenceQuota,
} from "./recording.ts";

const at = (ms: number) => asMonoNs(ms * 1_000_000);
const create = (ceiling: RecordingLevel) => recordingCreate({ policyId: "p", ceiling });

describe("F-176 level under pressure", () => {
  test("F-176 L2 falls to L1 after 500 ms at 80 %, not before, and a dip starts it anew", () => {
    const r = create("L2");
    expect(recordingPressure(r, 0.8, 0, at(0))).toBeNull();
    expect(recordingPressure(r, 0.79, 0, at(400))).toBeNull();
    expect(recordingPressure(r, 0.8, 0, at(500))).toBeNull();
    expect(recordingPressure(r, 0.8, 0, at(999))).toBeNull();
    expect(recordingPressure(r, 0.8, 0, at(1_000))).toEqual({
      policyId: "p",
      from: "L2",
      to: "L1",
      trigger: "queue_fill",
      at: at(1_000),
    });
    expect(recordingPressure(r, 0.89, 0, at(9_000))).toBeNull();
  });

  test("F-176 L1 falls to L0 after 500 ms at 90 %", () => {
    const r = create("L1");
    expect(recordingPressure(r, 0.9, 0, at(0))).toBeNull();
    expect(recordingPressure(r, 0.9, 0, at(499))).toBeNull();
    expect(recordingPressure(r, 0.9, 0, at(500))).toMatchObject({ from: "L1", to: "L0", trigger: "queue_fill" });
    expect(recordingPressure(r, 1, 60_000, at(9_000))).toBeNull();
  });

  test("F-176 export lag acts at once: 2 s for L1, 5 s for L0, one step per report", () => {
    const r = create("L2");
    expect(recordingPressure(r, 0, 1_999, at(0))).toBeNull();
    expect(recordingPressure(r, 0, 7_000, at(1))).toMatchObject({ from: "L2", to: "L1", trigger: "export_lag" });
    expect(recordingPressure(r, 0, 4_999, at(2))).toBeNull();
    expect(recordingPressure(r, 0, 5_000, at(3))).toMatchObject({ from: "L1", to: "L0", trigger: "export_lag" });
  });

  test("F-176 it rises only at a turn boundary after 10 s of calm, a step at a time, up to the ceiling", () => {
    const r = create("L2");
    recordingPressure(r, 0, 9_000, at(0));
    recordingPressure(r, 0, 9_000, at(1));
    expect(recordingAtTurnBoundary(r, at(60_000))).toBeNull();
    expect(recordingPressure(r, 0, 0, at(1_000))).toBeNull();
    expect(recordingAtTurnBoundary(r, at(10_999))).toBeNull();
    expect(recordingPressure(r, 0, 0, at(20_000))).toBeNull();
    expect(recordingAtTurnBoundary(r, at(20_000))).toEqual({
      policyId: "p",
      from: "L0",
      to: "L1",
      trigger: "calm",
      at: at(20_000),
    });
    expect(recordingAtTurnBoundary(r, at(21_000))).toMatchObject({ from: "L1", to: "L2" });
    expect(recordingAtTurnBoundary(r, at(99_000))).toBeNull();
  });

  test("F-176 whatever the pressure, no level is skipped, the ceiling holds, and the same reports give the same markers", () => {
    const report = fc.record({
      fill: fc.double({ min: 0, max: 1, noNaN: true }),
      lagMs: fc.nat(7_000),
      stepMs: fc.nat(12_000),
      boundary: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.constantFrom<RecordingLevel>("L0", "L1", "L2"), fc.array(report), (ceiling, reports) => {
        const play = () => {
          const r = create(ceiling);
          let now = 0;
          return reports.flatMap((x) => {
            now += x.stepMs;
            const level = Number(r.level[1]);
            const marker = x.boundary
              ? recordingAtTurnBoundary(r, at(now))
              : recordingPressure(r, x.fill, x.lagMs, at(now));
            const step = Number(r.level[1]) - level;
            expect(step === 0 || step === (x.boundary ? 1 : -1)).toBe(true);
            expect(marker === null).toBe(step === 0);
            expect(r.level <= ceiling).toBe(true);
            return marker === null ? [] : [marker];
          });
        };
        expect(play()).toEqual(play());
      }),
    );
  });
});

describe("F-153 levels and reserved evidence", () => {
  test("F-153 L0 is the default", () => {
    expect(recordingCreate({ policyId: "p" })).toMatchObject({
      level: "L0",
      ceiling: "L0",
      quotaBytes: EVIDENCE_QUOTA_BYTES,
    });
  });

  test("F-153 every open turn can reserve its worst case; without room a reservation changes nothing", () => {
    const r = create("L0");
    for (let i = 0; i < OPEN_TURNS_MAX; i++) expect(reserveEvidence(r, EVIDENCE_TURN_BYTES_MAX)).toBe(true);
    setEvidenceQuota(r, r.takenBytes);
    expect(reserveEvidence(r, 1)).toBe(false);
    expect(r.takenBytes).toBe(OPEN_TURNS_MAX * EVIDENCE_TURN_BYTES_MAX);
  });

  test("F-153 what was used stays taken, what was not comes back at release", () => {
    const r = recordingCreate({ policyId: "p", evidenceQuotaBytes: 100 });
    expect(reserveEvidence(r, 100)).toBe(true);
    releaseEvidence(r, 100, 30);
    expect(r.takenBytes).toBe(30);
    expect([reserveEvidence(r, 71), reserveEvidence(r, 70)]).toEqual([false, true]);
    releaseEvidence(r, 70);
    expect(r.takenBytes).toBe(30);
  });
});
