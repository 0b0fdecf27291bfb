import { toBinary } from "@bufbuild/protobuf";
import { JournalBatchSchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { journalToWire } from "@rspp/wire/journal";
import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeEntry } from "../spool/journal-codec.ts";
import { steadyBatch } from "./steady-batch.ts";

const count = fc.nat({ max: 2 ** 31 });
const word = fc.oneof(fc.string({ unit: "binary", maxLength: 20 }), fc.constantFrom("audio", '"\\', "é\u2028"));
/** Now and then something that a field should not hold. */
const odd = fc.constantFrom<unknown>(-1, 0.5, -0, 1e300, null, "x", "x".repeat(200), "\ud800", 2 ** 40, []);
const number = fc.oneof({ weight: 40, arbitrary: count }, { weight: 1, arbitrary: odd });
const string = fc.oneof({ weight: 40, arbitrary: word }, { weight: 1, arbitrary: odd });
const head = (code: number) => [fc.constant<unknown>(code), number, count, count] as const;
const input = fc.oneof(
  fc.tuple(...head(0), number, number, number, number, string, number, number, number, string, number, string),
  fc.tuple(...head(1), number, number, string, fc.constantFrom(0, 1), fc.double({ noNaN: true }), number, number),
  fc.tuple(...head(2), number),
  fc.tuple(...head(3), string),
  fc.tuple(...head(4), number),
);
const line = fc.tuple(
  number,
  fc.constant(2 ** 40),
  fc.constant(2 ** 41),
  fc.constant("ab".repeat(32)),
  fc.array(input),
);

test("a batch of steady listening is the one that the long way makes, or none", () => {
  let made = 0;
  fc.assert(
    fc.property(line, (found) => {
      const parsed: unknown = JSON.parse(JSON.stringify(found));
      const short = steadyBatch(parsed);
      if (short === null) return;
      made += 1;
      const entry = decodeEntry(parsed);
      const long = entry === null ? null : journalToWire(entry);
      expect(long).toMatchObject({ ok: true });
      if (long?.ok) expect(toBinary(JournalBatchSchema, short)).toEqual(toBinary(JournalBatchSchema, long.value));
    }),
    { numRuns: 1_000 },
  );
  expect(made).toBeGreaterThan(100);
});

test.each([null, {}, [], [1], [0, 1, 1, "", []], [1, 1, 1, "", [[9, 1, 0, 0]]], [1, 1, 1, "", [[2, 1, 5, 0, 1]]]])(
  "what is not of that form takes the long way: %j",
  (found) => expect(steadyBatch(found)).toBeNull(),
);
