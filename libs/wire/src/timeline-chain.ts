/**
 * The chain over records of any kind (kernel.md §11): what each digest is taken over, and where a chain breaks. What a
 * record says beside its content (instants, turn, node, lane) is an index of it and stands outside the chain.
 */
import { toBinary } from "@bufbuild/protobuf";
import { sha256 } from "@rspp/base/sha256";
import type { TimelineRecord } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { TimelineRecordSchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { chainDigest } from "./timeline.ts";

/** The bytes a record's digest covers: its canonical form where it has one, else its body as binary. */
export function recordContent(record: TimelineRecord): Uint8Array {
  if (record.canonical.length > 0) return record.canonical;
  const { case: name, value } = record.body;
  const field = TimelineRecordSchema.oneofs[0]?.fields.find((one) => one.localName === name);
  if (field?.message === undefined || value === undefined) return new Uint8Array(0);
  return toBinary(field.message, value);
}

/** The digest a record must carry after `previous`; of an erased one, by the digest that was left of it. */
export function recordDigest(previous: Uint8Array, record: TimelineRecord): Uint8Array {
  if (record.body.case !== "erased") return chainDigest(previous, recordContent(record));
  const joined = new Uint8Array(previous.length + record.body.value.bodyDigest.length);
  joined.set(previous, 0);
  joined.set(record.body.value.bodyDigest, previous.length);
  return sha256(joined);
}

/** Whether a record's digest is the one of its content and of the digest before that it names. */
export function digestHolds(record: TimelineRecord): boolean {
  return sameBytes(recordDigest(record.previousDigest, record), record.digest);
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
