import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fenceAllows, fenceCreate, fenceForget, fenceRaise, fenceRaiseAll } from "./fence.ts";
import { FENCE_ENTRIES_MAX } from "./limits.ts";

/** The rule itself, with memory without end. */
class NaiveFence {
  floor = 1;
  generations = new Map<number, number>();
  settled = new Set<number>();

  raise(turn: number, generation: number): void {
    this.generations.set(turn, Math.max(generation, this.generations.get(turn) ?? 0));
  }
  raiseAll(below: number): void {
    this.floor = Math.max(this.floor, below);
  }
  allows(turn: number, generation: number): boolean {
    return turn >= this.floor && !this.settled.has(turn) && generation >= (this.generations.get(turn) ?? 0);
  }
}

const turns = (max: number) => fc.integer({ min: 1, max });
const operations = (maxTurn: number) =>
  fc.array(
    fc.oneof(
      fc.record({ op: fc.constant("raise" as const), turn: turns(maxTurn), generation: fc.nat(4) }),
      fc.record({ op: fc.constant("raiseAll" as const), turn: turns(maxTurn), generation: fc.constant(0) }),
      fc.record({ op: fc.constant("forget" as const), turn: turns(maxTurn), generation: fc.constant(0) }),
    ),
    { maxLength: 60 },
  );

type Operation = { op: "raise" | "raiseAll" | "forget"; turn: number; generation: number };

function apply(op: Operation, f: ReturnType<typeof fenceCreate>, naive: NaiveFence): void {
  if (op.op === "raise") {
    fenceRaise(f, op.turn, op.generation);
    naive.raise(op.turn, op.generation);
  } else if (op.op === "raiseAll") {
    fenceRaiseAll(f, op.turn);
    naive.raiseAll(op.turn);
  } else {
    fenceForget(f, op.turn);
    naive.settled.add(op.turn);
  }
}

describe("F-175 fence", () => {
  test("F-175 fence: outputs of a cancelled generation are refused, those of the next allowed", () => {
    const f = fenceCreate();
    expect(fenceAllows(f, 3, 0)).toBe(true);
    expect(fenceRaise(f, 3, 2)).toBe(true);
    expect([fenceAllows(f, 3, 1), fenceAllows(f, 3, 2), fenceAllows(f, 2, 0), fenceAllows(f, 4, 0)]).toEqual([
      false,
      true,
      true,
      true,
    ]);
    expect(fenceRaise(f, 3, 1)).toBe(false);
    expect(fenceAllows(f, 3, 1)).toBe(false);
  });

  test("F-175 fence: a session cancel refuses every turn below, whatever its generation", () => {
    const f = fenceCreate();
    fenceRaise(f, 2, 1);
    expect(fenceRaiseAll(f, 5)).toBe(true);
    expect(fenceRaiseAll(f, 4)).toBe(false);
    expect(f).toEqual({ floorTurn: 5, entries: [] });
    expect(fenceAllows(f, 4, 99)).toBe(false);
    expect(fenceAllows(f, 5, 0)).toBe(true);
  });

  test("F-175 fence: the floor moves only once every lower turn has settled, and a settled turn stays shut", () => {
    const f = fenceCreate();
    fenceForget(f, 2);
    fenceForget(f, 3);
    expect(f.floorTurn).toBe(1);
    expect([fenceAllows(f, 1, 0), fenceAllows(f, 2, 9), fenceAllows(f, 3, 9)]).toEqual([true, false, false]);
    fenceForget(f, 1);
    expect(f).toEqual({ floorTurn: 4, entries: [] });
  });

  test("F-175 fence: equals the naive rule over random operations", () => {
    // Twelve turns fit the entries, so that the fence may never refuse more than the rule does.
    fc.assert(
      fc.property(operations(12), (ops) => {
        const f = fenceCreate();
        const naive = new NaiveFence();
        for (const op of ops) {
          apply(op, f, naive);
          for (let turn = 1; turn <= 14; turn++) {
            for (let g = 0; g <= 5; g++) expect(fenceAllows(f, turn, g)).toBe(naive.allows(turn, g));
          }
        }
      }),
    );
  });

  test("F-175 fence: with more turns than entries it stays bounded and fails closed", () => {
    fc.assert(
      fc.property(operations(60), (ops) => {
        const f = fenceCreate();
        const naive = new NaiveFence();
        for (const op of ops) {
          const floor = f.floorTurn;
          apply(op, f, naive);
          expect(f.entries.length).toBeLessThanOrEqual(FENCE_ENTRIES_MAX);
          expect(f.floorTurn).toBeGreaterThanOrEqual(floor);
          expect(f.entries.map((e) => e.turn)).toEqual(
            [...new Set(f.entries.map((e) => e.turn))].sort((a, b) => a - b),
          );
          for (let turn = 1; turn <= 60; turn++) {
            if (!naive.allows(turn, 3)) expect(fenceAllows(f, turn, 3)).toBe(false);
          }
        }
      }),
    );
  });

  test("F-175 fence: the entry past the bound shuts the lowest turn and everything before it", () => {
    const f = fenceCreate();
    for (let turn = 2; turn <= FENCE_ENTRIES_MAX + 1; turn++) fenceRaise(f, turn, 1);
    expect([f.floorTurn, f.entries.length, fenceAllows(f, 1, 0)]).toEqual([1, FENCE_ENTRIES_MAX, true]);
    fenceRaise(f, FENCE_ENTRIES_MAX + 2, 1);
    expect([f.floorTurn, f.entries.length]).toEqual([3, FENCE_ENTRIES_MAX]);
    expect([fenceAllows(f, 1, 9), fenceAllows(f, 2, 9), fenceAllows(f, 3, 1)]).toEqual([false, false, true]);
  });

  test("F-175 fence: goes through JSON unchanged", () => {
    const f = fenceCreate();
    fenceRaise(f, 4, 2);
    fenceForget(f, 3);
    expect(JSON.parse(JSON.stringify(f))).toEqual(f);
  });
});

describe("F-175 what a raise says of itself", () => {
  test("true where anything changed, false where nothing did", () => {
    const f = fenceCreate(3);
    expect([fenceRaise(f, 2, 9), fenceRaise(f, 4, 2), fenceRaise(f, 4, 2), fenceRaise(f, 4, 1)]).toEqual([
      false,
      true,
      false,
      false,
    ]);
    expect([fenceRaise(f, 4, 3), fenceRaiseAll(f, 3), fenceRaiseAll(f, 2), fenceRaiseAll(f, 4)]).toEqual([
      true,
      false,
      false,
      true,
    ]);
    expect(f).toEqual({ floorTurn: 4, entries: [{ turn: 4, generation: 3 }] });
  });

  test("a turn that was cut and then settles lifts the floor at once", () => {
    const f = fenceCreate();
    fenceRaise(f, 1, 2);
    fenceForget(f, 1);
    expect(f).toEqual({ floorTurn: 2, entries: [] });
  });
});
