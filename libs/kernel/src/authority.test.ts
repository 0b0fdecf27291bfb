import { asMonoNs } from "@rspp/base/brand";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { authorityApply, authorityCreate, authorityExpire, authorityHeldAt, checkEpoch } from "./authority.ts";

const at = asMonoNs;
const fresh = () => authorityCreate(7, "a", at(1_000));

describe("F-156 the lease epoch", () => {
  test("F-156 older is stale, equal is ok, newer is unknown", () => {
    const a = fresh();
    expect([checkEpoch(a, 6), checkEpoch(a, 7), checkEpoch(a, 8)]).toEqual(["stale", "ok", "unknown"]);
  });

  test("F-156 a renewal moves the deadline forward only, and only for this epoch", () => {
    const a = fresh();
    expect(authorityApply(a, { kind: "renewed", epoch: 7, deadlineNs: at(2_000) })).toEqual({
      changed: true,
      lost: false,
    });
    for (const [epoch, deadlineNs] of [
      [7, 1_500],
      [6, 9_000],
      [8, 9_000],
    ] as const) {
      expect(authorityApply(a, { kind: "renewed", epoch, deadlineNs: at(deadlineNs) }).changed).toBe(false);
    }
    expect(a.deadlineNs).toBe(2_000);
  });

  test("F-156 after rotation to the same holder the old epoch is stale and nothing is lost", () => {
    const a = fresh();
    expect(authorityApply(a, { kind: "rotated", epoch: 8, deadlineNs: at(3_000) })).toEqual({
      changed: true,
      lost: false,
      rotatedFrom: 7,
    });
    expect([checkEpoch(a, 7), checkEpoch(a, 8)]).toEqual(["stale", "ok"]);
    expect(authorityApply(a, { kind: "rotated", epoch: 8 }).changed).toBe(false);
  });

  test("F-156 a revocation loses authority once and for good; an old one does nothing", () => {
    const a = fresh();
    expect(authorityApply(a, { kind: "revoked", epoch: 6 })).toEqual({ changed: false, lost: false });
    expect(authorityApply(a, { kind: "revoked", epoch: 7 })).toEqual({ changed: true, lost: true });
    expect(authorityApply(a, { kind: "revoked", epoch: 7 })).toEqual({ changed: false, lost: false });
    expect(authorityApply(a, { kind: "renewed", epoch: 7, deadlineNs: at(9_000) }).changed).toBe(false);
    expect(authorityApply(a, { kind: "rotated", epoch: 9, deadlineNs: at(9_000) }).changed).toBe(false);
    expect([a.held, checkEpoch(a, 7), authorityHeldAt(a, at(0))]).toEqual(["revoked", "stale", false]);
  });

  test("F-156 a grant elsewhere supersedes this holder, if it is newer", () => {
    const a = fresh();
    expect(authorityApply(a, { kind: "granted_elsewhere", epoch: 7 }).changed).toBe(false);
    expect(authorityApply(a, { kind: "granted_elsewhere", epoch: 8 })).toEqual({ changed: true, lost: true });
    expect([a.epoch, a.held, checkEpoch(a, 7), checkEpoch(a, 8)]).toEqual([7, "superseded", "stale", "unknown"]);
  });

  test("F-156 a step past the deadline may cause no effect, until the same epoch is renewed", () => {
    const a = fresh();
    expect([authorityHeldAt(a, at(999)), authorityHeldAt(a, at(1_000))]).toEqual([true, false]);
    expect([authorityExpire(a, at(999)), authorityExpire(a, at(1_000)), authorityExpire(a, at(1_001))]).toEqual([
      false,
      true,
      false,
    ]);
    expect(authorityApply(a, { kind: "rotated", epoch: 8 }).changed).toBe(false);
    expect(authorityApply(a, { kind: "renewed", epoch: 7, deadlineNs: at(5_000) })).toEqual({
      changed: true,
      lost: false,
    });
    expect(authorityHeldAt(a, at(1_001))).toBe(true);
  });

  test("F-156 a renewal up to the same instant changes nothing, not even of an expired lease", () => {
    const a = fresh();
    authorityExpire(a, at(1_000));
    expect(authorityApply(a, { kind: "renewed", epoch: 7, deadlineNs: at(1_000) }).changed).toBe(false);
    expect(a.held).toBe("expired");
  });

  test("F-156 a rotation without a deadline keeps the one it has; with one it takes it, and an expired lease is held again", () => {
    const a = fresh();
    expect(authorityApply(a, { kind: "rotated", epoch: 8 })).toEqual({ changed: true, lost: false, rotatedFrom: 7 });
    expect(a).toMatchObject({ epoch: 8, knownEpoch: 8, deadlineNs: 1_000, held: "held" });
    authorityExpire(a, at(1_000));
    expect(authorityApply(a, { kind: "rotated", epoch: 9, deadlineNs: at(2_000) })).toMatchObject({ rotatedFrom: 8 });
    expect(a).toMatchObject({ epoch: 9, knownEpoch: 9, deadlineNs: 2_000, held: "held" });
  });

  test("F-156 a grant elsewhere is known, whatever this holder had", () => {
    const a = fresh();
    authorityApply(a, { kind: "granted_elsewhere", epoch: 9 });
    expect(a).toMatchObject({ epoch: 7, knownEpoch: 9 });
  });

  test("F-156 whatever arrives, the epoch never falls and an ended lease is never held again", () => {
    const update = fc.record({
      kind: fc.constantFrom("renewed" as const, "rotated" as const, "revoked" as const, "granted_elsewhere" as const),
      epoch: fc.integer({ min: 4, max: 12 }),
      deadlineNs: fc.integer({ min: 0, max: 5_000 }).map(at),
    });
    fc.assert(
      fc.property(fc.array(update), (updates) => {
        const a = fresh();
        let lost = 0;
        for (const u of updates) {
          const before = { ...a };
          const change = authorityApply(a, u);
          if (change.lost) lost++;
          expect(a.epoch).toBeGreaterThanOrEqual(before.epoch);
          expect(change.changed).toBe(JSON.stringify(before) !== JSON.stringify(a));
          if (before.held === "revoked" || before.held === "superseded") expect(a.held).not.toBe("held");
        }
        expect(lost).toBeLessThanOrEqual(1);
      }),
    );
  });
});
