import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LANE_DATA, LANE_TELEMETRY } from "./event.ts";
import { lanePop, lanePush, lanesCreate, lanesForgetTurn, lanesReady, type ReadyItem } from "./lanes.ts";

const items = fc.uniqueArray(
  fc.record({
    due: fc.integer({ min: 0, max: 5 }),
    seq: fc.integer({ min: 1, max: 500 }),
    turn: fc.integer({ min: 0, max: 3 }),
    edge: fc.integer({ min: 0, max: 9 }),
  }),
  { selector: ({ seq }) => seq, maxLength: 60 },
);

/** The order by the rule itself: (due, sequence). */
function sorted(of: readonly ReadyItem[]): ReadyItem[] {
  return [...of].sort((a, b) => a.due - b.due || a.seq - b.seq);
}

function emptied(lanes: ReturnType<typeof lanesCreate>, lane: typeof LANE_DATA | typeof LANE_TELEMETRY, nowNs: number) {
  const out: ReadyItem[] = [];
  for (let item = lanePop(lanes, lane, nowNs); item !== undefined; item = lanePop(lanes, lane, nowNs)) out.push(item);
  return out;
}

describe("F-141 order inside a lane is (due, sequence)", () => {
  test("whatever the order of arrival, what is due comes out sorted and the rest stays", () => {
    fc.assert(
      fc.property(items, fc.integer({ min: 0, max: 5 }), (pushed, nowNs) => {
        const lanes = lanesCreate();
        for (const item of pushed) lanePush(lanes, LANE_DATA, item);
        const due = sorted(pushed).filter((item) => item.due <= nowNs);
        expect(lanesReady(lanes, nowNs)).toBe(due.length > 0);
        expect(emptied(lanes, LANE_DATA, nowNs)).toEqual(due);
        expect(lanesReady(lanes, nowNs)).toBe(false);
        expect(emptied(lanes, LANE_DATA, 5)).toEqual(sorted(pushed).filter((item) => item.due > nowNs));
        expect(lanes.data).toEqual([]);
      }),
    );
  });

  test("pushes and pops in any mixture agree with a sorted list", () => {
    fc.assert(
      fc.property(items, fc.array(fc.boolean(), { maxLength: 120 }), (pushed, steps) => {
        const lanes = lanesCreate();
        const left = [...pushed];
        let model: ReadyItem[] = [];
        for (const push of steps) {
          const next = push ? left.shift() : undefined;
          if (next !== undefined) {
            lanePush(lanes, LANE_DATA, next);
            model = sorted([...model, next]);
          } else expect(lanePop(lanes, LANE_DATA, 5)).toEqual(model.shift());
        }
        expect(emptied(lanes, LANE_DATA, 5)).toEqual(model);
      }),
    );
  });

  test("the lanes are apart: telemetry is no data, and either makes the session ready when it is due", () => {
    const lanes = lanesCreate();
    expect(lanesReady(lanes, 10)).toBe(false);
    lanePush(lanes, LANE_TELEMETRY, { due: 7, seq: 1, turn: 0, edge: -1 });
    expect([lanesReady(lanes, 6), lanesReady(lanes, 7)]).toEqual([false, true]);
    expect(lanePop(lanes, LANE_DATA, 10)).toBeUndefined();
    expect(lanePop(lanes, LANE_TELEMETRY, 6)).toBeUndefined();
    expect(lanePop(lanes, LANE_TELEMETRY, 7)?.seq).toBe(1);
  });

  test("a closed turn's data is forgotten, all of it and nothing else; telemetry belongs to no turn", () => {
    fc.assert(
      fc.property(items, fc.integer({ min: 0, max: 3 }), (pushed, turn) => {
        const lanes = lanesCreate();
        for (const item of pushed) lanePush(lanes, LANE_DATA, item);
        lanePush(lanes, LANE_TELEMETRY, { due: 0, seq: 1, turn, edge: -1 });
        const before = lanes.data;
        lanesForgetTurn(lanes, turn);
        // Nothing is made anew where there was nothing to forget.
        expect(lanes.data === before).toBe(!pushed.some((item) => item.turn === turn));
        expect(emptied(lanes, LANE_DATA, 5)).toEqual(sorted(pushed).filter((item) => item.turn !== turn));
        expect(lanePop(lanes, LANE_TELEMETRY, 0)?.turn).toBe(turn);
      }),
    );
  });
});
