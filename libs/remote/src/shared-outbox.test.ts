import fc from "fast-check";
import { expect, test } from "vitest";
import { invocationLimits as limits } from "./invocation-limits.ts";
import { SharedOutbox } from "./shared-outbox.ts";

interface Sent {
  readonly frames: readonly string[];
  readonly written: () => void;
}

function rig() {
  const sent: Sent[] = [];
  let overflows = 0;
  const outbox = new SharedOutbox<string>({
    send: (frames, written) => sent.push({ frames, written }),
    overflow: () => {
      overflows += 1;
    },
  });
  return { outbox, sent, overflows: () => overflows };
}

test("frames of one piece of work share a message, and a large one goes alone", async () => {
  const { outbox, sent } = rig();
  outbox.push(1, "open", 500);
  outbox.push(1, "input", 500);
  outbox.push(2, "open", 500);
  expect(sent).toEqual([]);
  await Promise.resolve();
  expect(sent.map(({ frames }) => frames)).toEqual([["open", "input", "open"]]);
  outbox.push(3, "open", 500);
  outbox.push(3, "conversation", limits.SHARED_MESSAGE_BYTES);
  await Promise.resolve();
  expect(sent.map(({ frames }) => frames).slice(1)).toEqual([["open"], ["conversation"]]);
});

test("what the transport has not taken stays here, where a cancel overtakes it", async () => {
  const { outbox, sent } = rig();
  outbox.push(1, "first", limits.SHARED_IN_FLIGHT_BYTES);
  await Promise.resolve();
  outbox.push(1, "second", 1);
  outbox.push(2, "other", 1);
  await Promise.resolve();
  expect(sent.length).toBe(1);
  expect(outbox.drop(1)).toEqual(["second"]);
  outbox.overtake(1, "reset");
  sent[0]?.written();
  expect(sent.at(-1)?.frames).toEqual(["reset", "other"]);
});

test("a peer that reads nothing meets the bound", () => {
  const { outbox, overflows } = rig();
  for (let n = 0; n <= limits.SHARED_WAITING_MAX; n++) outbox.push(1, "x", 1);
  expect(overflows()).toBe(1);
});

type Act = { kind: "push" | "give_up"; call: number; bytes: number } | { kind: "taken" };
const acts = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant("push" as const),
      call: fc.integer({ min: 1, max: 4 }),
      bytes: fc.constantFrom(1, 40_000, 90_000),
    }),
    fc.record({ kind: fc.constant("give_up" as const), call: fc.integer({ min: 1, max: 4 }), bytes: fc.constant(0) }),
    fc.constant({ kind: "taken" as const }),
  ),
  { maxLength: 60 },
);

test("any course: each call's frames leave in order or are dropped at once, and each is told of exactly once", async () => {
  await fc.assert(
    fc.asyncProperty(acts, async (course: readonly Act[]) => {
      const { outbox, sent } = rig();
      const told = new Map<string, number>();
      const dropped = new Set<string>();
      let taken = 0;
      let number = 0;
      for (const act of course) {
        if (act.kind === "push") {
          const name = `${act.call}:${++number}`;
          outbox.push(act.call, name, act.bytes, () => told.set(name, (told.get(name) ?? 0) + 1));
        } else if (act.kind === "give_up") for (const name of outbox.drop(act.call)) dropped.add(name);
        else sent[taken++]?.written();
        if (act.kind === "taken" && taken > sent.length) taken = sent.length;
        await Promise.resolve();
      }
      for (; taken < sent.length; taken++) sent[taken]?.written();
      const out = sent.flatMap(({ frames }) => frames);
      for (const call of [1, 2, 3, 4]) {
        const numbers = out.filter((name) => name.startsWith(`${call}:`)).map((name) => Number(name.slice(2)));
        expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
      }
      expect(out.length + dropped.size).toBe(number);
      expect(out.some((name) => dropped.has(name))).toBe(false);
      expect([...told.values()].every((times) => times === 1) && told.size === number).toBe(true);
    }),
    { numRuns: 200 },
  );
});
