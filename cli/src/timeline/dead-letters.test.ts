import { create } from "@bufbuild/protobuf";
import { type TimelineRecord, TimelineRecordSchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { expect, test } from "vitest";
import { deadLettersOf, renderDeadLetters } from "./dead-letters.ts";

const letter = {
  number: 1,
  turn: 2,
  what: "provider_chunk",
  reason: "schema_validation_error",
  source: "inv_1_3",
  payloadBytes: 640,
  payloadHash: "",
  hash: "ab".repeat(32),
};

function record(kind: string, content: string): TimelineRecord {
  return create(TimelineRecordSchema, {
    body: { case: "canonicalRecord", value: { kind, id: "1", turnNumber: 2 } },
    canonical: new TextEncoder().encode(content),
  });
}

test("F-132 dead letters of a timeline, and nothing else of it", () => {
  const records = [
    record("plan", "{}"),
    record("dead_letter", JSON.stringify({ kind: "dead_letter", letter })),
    record("dead_letter", "no JSON"),
  ];
  const found = deadLettersOf(records);
  expect(found).toEqual([letter]);
  expect(renderDeadLetters(found)).toEqual([
    "  1  turn 2  provider_chunk  schema_validation_error  inv_1_3  640 bytes  abababababab",
  ]);
  expect(renderDeadLetters([])).toEqual(["no dead letters"]);
});
