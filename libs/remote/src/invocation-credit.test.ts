import fc from "fast-check";
import { expect, test } from "vitest";
import { CreditAccount, CreditedQueue } from "./invocation-credit.ts";
import { invocationLimits as limits } from "./invocation-limits.ts";

/** A sender and a receiver with a wire between them, moved by hand. */
function pair() {
  const wire: number[] = [];
  const back: { chunks: number; bytes: number }[] = [];
  const taken: number[] = [];
  const account = new CreditAccount((credit) => back.push(credit));
  const queue = new CreditedQueue<number>((bytes) => wire.push(bytes));
  const deliver = (): boolean => {
    const bytes = wire.shift();
    if (bytes === undefined) return false;
    expect(account.received(bytes)).toBe(true);
    taken.push(bytes);
    account.done(bytes);
    return true;
  };
  const credit = (): boolean => {
    const given = back.shift();
    if (given !== undefined) queue.grant(given);
    return given !== undefined;
  };
  return { wire, taken, queue, deliver, credit };
}

test("whatever the interleaving: never past the window, in order, and all of it arrives", () => {
  const size = fc.oneof(fc.constant(0), fc.constant(640), fc.integer({ min: 0, max: limits.WINDOW_BYTES / 2 }));
  const moves = fc.array(fc.oneof(size, fc.constant("deliver"), fc.constant("credit")), { maxLength: 400 });
  fc.assert(
    fc.property(moves, (all) => {
      const { wire, taken, queue, deliver, credit } = pair();
      const offered: number[] = [];
      let ended = false;
      for (const move of all) {
        if (move === "deliver") deliver();
        else if (move === "credit") credit();
        else if (queue.offer(move as number, move as number)) offered.push(move as number);
        expect(wire.length).toBeLessThanOrEqual(limits.WINDOW_CHUNKS);
      }
      queue.afterwards(() => {
        ended = true;
      });
      while (deliver() || credit());
      expect(taken).toEqual(offered);
      expect(ended).toBe(true);
      expect(queue.waiting).toBe(0);
    }),
  );
});

test("one larger than the window goes when nothing is under way", () => {
  const { wire, queue, deliver, credit } = pair();
  expect(queue.offer(limits.CONVERSATION_BYTES_MAX, limits.CONVERSATION_BYTES_MAX)).toBe(true);
  expect(queue.offer(1, 1)).toBe(true);
  expect(wire).toEqual([limits.CONVERSATION_BYTES_MAX]);
  deliver();
  credit();
  expect(wire).toEqual([1]);
});

test("what waits is bounded; what is dropped was never sent", () => {
  const { wire, queue } = pair();
  let taken = 0;
  while (queue.offer(1, 1)) taken++;
  expect(taken).toBe(limits.WINDOW_CHUNKS + limits.QUEUE_CHUNKS_MAX);
  queue.clear();
  queue.grant({ chunks: 65_536, bytes: 0 });
  expect(wire.length).toBe(limits.WINDOW_CHUNKS);
});

test("a sender without credit is found out", () => {
  const account = new CreditAccount(() => undefined);
  for (let n = 0; n < limits.WINDOW_CHUNKS; n++) expect(account.received(1)).toBe(true);
  expect(account.received(1)).toBe(false);
  const bytes = new CreditAccount(() => undefined);
  expect(bytes.received(limits.WINDOW_BYTES)).toBe(true);
  expect(bytes.received(1)).toBe(false);
});
