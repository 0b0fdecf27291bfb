import { asMonoNs } from "@rspp/base/brand";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { limits } from "./limits.ts";
import {
  declareGap,
  dequeue,
  dropQueued,
  enqueueEvent,
  holdDeadline,
  holdIsFull,
  inLaneCreate,
  outLaneCreate,
  placeFrame,
  takeHeld,
} from "./link-lane.ts";

const now = asMonoNs(0);
const lane = () => inLaneCreate<{ seq: number; toSeq?: number }>();

describe("receiving side of a lane", () => {
  test("keeps order, holds what is ahead, refuses duplicates", () => {
    const l = lane();
    expect(placeFrame(l, { seq: 2 }, now)).toBe("held");
    expect(placeFrame(l, { seq: 2 }, now)).toBe("duplicate");
    expect(placeFrame(l, { seq: 1 }, now)).toBe("next");
    expect(takeHeld(l)?.frame.seq).toBe(2);
    expect(placeFrame(l, { seq: 1 }, now)).toBe("duplicate");
    expect(l.next).toBe(3);
  });

  test("a hole is declared with its range and what comes late is a duplicate", () => {
    const l = lane();
    placeFrame(l, { seq: 4 }, now);
    expect(holdDeadline(l)).toBe(limits.LINK_REORDER_HOLD_MS * 1_000_000);
    expect(declareGap(l)).toEqual({ fromSeq: 1, toSeq: 3 });
    expect(takeHeld(l)?.frame.seq).toBe(4);
    expect(placeFrame(l, { seq: 2 }, now)).toBe("duplicate");
  });

  test("a skip fills its whole range", () => {
    const l = lane();
    expect(placeFrame(l, { seq: 1, toSeq: 5 }, now)).toBe("next");
    expect(placeFrame(l, { seq: 6 }, now)).toBe("next");
  });

  test("any arrival order within the hold gives the sent order, once each", () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 1_000 }), { minLength: 1, maxLength: 60 }), (keys) => {
        const l = lane();
        const arrivals = keys.map((key, i) => ({ key, seq: i + 1 })).sort((a, b) => a.key - b.key);
        const taken: number[] = [];
        for (const { seq } of [...arrivals, ...arrivals]) {
          if (placeFrame(l, { seq }, now) === "next") taken.push(seq);
          for (let held = takeHeld(l); held !== null; held = takeHeld(l)) taken.push(held.frame.seq);
          expect(holdIsFull(l)).toBe(false);
        }
        expect(taken).toEqual(keys.map((_, i) => i + 1));
      }),
    );
  });
});

describe("sending side of a lane", () => {
  test("every sequence leaves exactly once, as an event or inside a skip, whatever is dropped when", () => {
    const op = fc.oneof(fc.constant("push"), fc.constant("drop"), fc.constant("shift"));
    fc.assert(
      fc.property(fc.array(op, { maxLength: 80 }), (ops) => {
        const l = outLaneCreate<{
          kind: "event";
          seq: number;
          turn: null;
          generation: 0;
          bytes: number;
          audioUs: number;
        }>();
        let next = 1;
        const leave = (item: ReturnType<typeof dequeue>): void => {
          if (item === undefined) return;
          expect(item.seq).toBe(next);
          next = (item.kind === "skip" ? (item as { toSeq: number }).toSeq : item.seq) + 1;
        };
        for (const o of ops) {
          if (o === "push") {
            enqueueEvent(l, { kind: "event", seq: l.lastSeq + 1, turn: null, generation: 0, bytes: 3, audioUs: 5 });
          } else if (o === "drop") dropQueued(l, "overflow", 1, (e) => e.seq % 3 !== 0);
          else leave(dequeue(l));
          expect(l.items).toBe(l.queue.filter((i) => i.kind === "event").length);
          expect([l.bytes, l.audioUs]).toEqual([l.items * 3, l.items * 5]);
          expect(l.queue.length).toBeLessThanOrEqual(2 * l.items + 1);
        }
        while (l.queue.length > 0) leave(dequeue(l));
        expect(next).toBe(l.lastSeq + 1);
      }),
    );
  });
});
