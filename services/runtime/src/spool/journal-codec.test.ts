import type { InputBody } from "@rspp/kernel/input";
import type { JournalEntry } from "@rspp/kernel/replay";
import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeEntry, encodeEntry } from "./journal-codec.ts";

const whole = fc.nat(2 ** 31);
const audio = fc.record({
  type: fc.constant("audio" as const),
  epoch: whole,
  sequence: whole,
  mediaUs: fc.maxSafeNat(),
  durationUs: whole,
  format: fc.record({ codec: fc.string(), rateHz: whole, channels: whole }),
  payload: fc.record({ ref: whole, hash: fc.constantFrom("", "0123456789abcdef"), bytes: whole }),
  key: fc.string(),
});
const activity = fc.record({
  type: fc.constant("activity" as const),
  speech: fc.boolean(),
  probability: fc.double({ min: 0, max: 1, noNaN: true }).map((p) => p + 0),
  mediaUs: whole,
  durationUs: whole,
});
const body = fc.oneof(
  audio,
  fc.record({
    type: fc.constant("node_emitted" as const),
    command: whole,
    index: whole,
    port: fc.string(),
    body: activity,
  }),
  fc.record({ type: fc.constant("node_done" as const), command: whole }),
  fc.record({ type: fc.constant("timer" as const), id: fc.string() }),
  fc.record({ type: fc.constant("node_failed" as const), command: whole, reason: fc.string() }),
) as fc.Arbitrary<InputBody>;
const entry = fc.record({
  batch: fc.record({
    index: whole,
    monoNs: fc.maxSafeNat(),
    wallMs: fc.maxSafeNat(),
    inputs: fc.array(fc.record({ seq: whole, monoNs: fc.maxSafeNat(), wallMs: fc.maxSafeNat(), body }), {
      maxLength: 4,
    }),
  }),
  facts: fc.constantFrom([], [{ fn: "is_blank", answer: true }]),
  digest: fc.constant("00112233aabbccdd"),
}) as unknown as fc.Arbitrary<JournalEntry>;

test("every entry comes back as it was written, in one line", () => {
  fc.assert(
    fc.property(entry, (one) => {
      const line = encodeEntry(one);
      expect(line).not.toContain("\n");
      expect(decodeEntry(JSON.parse(line))).toEqual(JSON.parse(JSON.stringify(one)));
    }),
    { numRuns: 500 },
  );
});

test("what is no entry is said to be none, never thrown", () => {
  fc.assert(
    fc.property(entry, fc.nat(200), fc.json(), (one, at, other) => {
      const line = JSON.parse(encodeEntry(one)) as unknown;
      if (Array.isArray(line)) line[at % 5] = JSON.parse(other);
      decodeEntry(line);
      decodeEntry(JSON.parse(other));
    }),
  );
  for (const bad of [null, 1, {}, [], [1, 2, 3, "d", [[9, 1, 0, 0]]], [1, 2, 3, "d", [[2, 1, 0, 0, "x"]]]]) {
    expect(decodeEntry(bad)).toBeNull();
  }
});
