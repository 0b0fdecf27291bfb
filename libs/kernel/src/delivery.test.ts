import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DELIVERY_PHASES, DELIVERY_REPORTS, deliveryCreate, deliveryTransition, settled } from "./delivery.ts";

const legal: Readonly<Record<string, string>> = {
  "none accepted": "accepted",
  "none empty": "completed",
  "none cancelled": "cancelled",
  "none lost": "lost",
  "accepted started": "playing",
  "accepted cancelled": "cancelled",
  "accepted lost": "lost",
  "playing progress": "playing",
  "playing completed": "completed",
  "playing cancelled": "cancelled",
  "playing lost": "lost",
};

describe("delivery machine", () => {
  for (const phase of DELIVERY_PHASES) {
    for (const state of DELIVERY_REPORTS) {
      const next = legal[`${phase} ${state}`];
      test(`${state} in ${phase} is ${next === undefined ? "refused and changes nothing" : `a move to ${next}`}`, () => {
        const d = { phase, playedUs: 10 };
        const move = deliveryTransition(d, { state, playedUs: 25 });
        if (next === undefined) {
          expect(move).toEqual({ ok: false, refusal: `delivery: ${state} is illegal in ${phase}` });
          expect(d).toEqual({ phase, playedUs: 10 });
          return;
        }
        const end = ["completed", "cancelled", "lost"].includes(next);
        expect(move).toEqual({ ok: true, from: phase, to: next, settled: end });
        expect(d).toEqual({ phase: next, playedUs: 25 });
        expect(settled(d)).toBe(end);
      });
    }
  }

  test("what was played never falls and nothing is accepted after settlement", () => {
    const report = fc.record({ state: fc.constantFrom(...DELIVERY_REPORTS), playedUs: fc.nat(1_000) });
    fc.assert(
      fc.property(fc.array(report), (reports) => {
        const d = deliveryCreate();
        for (const r of reports) {
          const before = { ...d };
          const move = deliveryTransition(d, r);
          expect(d.playedUs).toBeGreaterThanOrEqual(before.playedUs);
          if (settled(before)) expect([move.ok, d]).toEqual([false, before]);
        }
      }),
    );
  });
});
