/**
 * A segment, of which an object holds one after another: magic, then records, each with its length and CRC-32, so that
 * damage is found and located even where a checksum of the whole can only say that something is wrong. An object tells
 * by itself what is in it: every record names its session, epoch and sequence.
 *
 *     "rsppseg1" | { length u32 | CRC-32 of the bytes u32 | TimelineRecord in binary }…      little endian
 */
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { type TimelineRecord, TimelineRecordSchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { limits } from "./limits.ts";

const magic = Buffer.from("rsppseg1");
const headBytes = 8;

export function encodeRecord(record: TimelineRecord): Uint8Array {
  return toBinary(TimelineRecordSchema, record);
}

/** Adds a segment to `parts`, the pieces of an object. @param encoded records as {@link encodeRecord} gives them. */
export function addSegment(parts: Uint8Array[], encoded: readonly Uint8Array[]): { bytes: number; sha256: string } {
  const hash = createHash("sha256").update(magic);
  const heads = Buffer.alloc(encoded.length * headBytes);
  let bytes = magic.length + heads.length;
  parts.push(magic);
  for (const [i, record] of encoded.entries()) {
    const head = heads.subarray(i * headBytes, (i + 1) * headBytes);
    head.writeUInt32LE(record.length, 0);
    head.writeUInt32LE(crc32(record), 4);
    hash.update(head).update(record);
    parts.push(head, record);
    bytes += record.length;
  }
  return { bytes, sha256: hash.digest("hex") };
}

export interface DecodedSegment {
  readonly records: TimelineRecord[];
  /** What is wrong behind the last of `records`; null when the segment is whole. */
  readonly problem: string | null;
}

/** Records up to the first that is damaged. Never throws for what the bytes hold. */
export function decodeSegment(content: Uint8Array): DecodedSegment {
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.length);
  const records: TimelineRecord[] = [];
  const broken = (problem: string): DecodedSegment => ({ records, problem });
  if (!bytes.subarray(0, magic.length).equals(magic)) return broken("the segment's first bytes are not those of one");
  for (let at = magic.length; at < bytes.length; ) {
    if (bytes.length - at < headBytes) return broken(`the record at byte ${at} is cut short`);
    const length = bytes.readUInt32LE(at);
    if (length > limits.RECORD_BYTES_MAX * 2) return broken(`the length at byte ${at} is out of bounds`);
    const start = at + headBytes;
    if (bytes.length - start < length) return broken(`the record at byte ${at} is cut short`);
    const body = bytes.subarray(start, start + length);
    if (crc32(body) !== bytes.readUInt32LE(at + 4)) return broken(`the record at byte ${at} fails its checksum`);
    try {
      // Plain arrays, not Node's: what they hold goes on to others.
      records.push(fromBinary(TimelineRecordSchema, new Uint8Array(body.buffer, body.byteOffset, body.length)));
    } catch {
      return broken(`the record at byte ${at} cannot be read`);
    }
    at = start + length;
  }
  return { records, problem: null };
}
