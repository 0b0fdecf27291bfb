import { create } from "@bufbuild/protobuf";
import { sha256 } from "@rspp/base/sha256";
import { type TimelineRecord, TimelineRecordSchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { expect, test } from "vitest";
import { chainDigest } from "./timeline.ts";
import { digestHolds, recordContent, recordDigest } from "./timeline-chain.ts";

const previous = new Uint8Array(32).fill(7);

function record(canonical: string, name = "note"): TimelineRecord {
  const made = create(TimelineRecordSchema, {
    previousDigest: previous,
    canonical: new TextEncoder().encode(canonical),
    body: { case: "marker", value: { name, fields: { a: "b" } } },
  });
  made.digest = recordDigest(previous, made);
  return made;
}

test("F-150 a digest covers the canonical form, else the typed body; one altered byte of either shows", () => {
  const whole = record('{"a":1}');
  expect(digestHolds(whole)).toBe(true);
  expect(whole.digest).toEqual(chainDigest(previous, whole.canonical));
  whole.canonical[2] = 0x62;
  expect(digestHolds(whole)).toBe(false);
  const typed = record("");
  expect(recordContent(typed).length).toBeGreaterThan(0);
  expect(digestHolds(typed)).toBe(true);
  if (typed.body.case === "marker") typed.body.value.name = "other";
  expect(digestHolds(typed)).toBe(false);
});

test("F-150 a record that was erased by law still verifies by the digest that was left of it, and so does the next", () => {
  const whole = record('{"said":"words"}');
  const erased = create(TimelineRecordSchema, {
    previousDigest: previous,
    digest: whole.digest,
    body: { case: "erased", value: { reason: "order-1", bodyDigest: sha256(whole.canonical) } },
  });
  expect(digestHolds(erased)).toBe(true);
  const forged = create(TimelineRecordSchema, { ...erased, previousDigest: new Uint8Array(32) });
  expect(digestHolds(forged)).toBe(false);
});

test("a record without a body has no content, and no digest fits it by chance", () => {
  expect(recordContent(create(TimelineRecordSchema, {}))).toEqual(new Uint8Array(0));
  expect(digestHolds(create(TimelineRecordSchema, {}))).toBe(false);
});
