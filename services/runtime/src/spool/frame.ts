import { hash } from "node:crypto";
import { crc32 } from "node:zlib";
import type { SessionName } from "@rspp/base/session-key";
import { limits } from "../limits.ts";

/**
 * One record of a segment, little endian:
 *
 *     header  magic u32 | body length u32 | CRC-32 of the body u32 | CRC-32 of these 12 bytes u32
 *     body    kind u8 | flags u8 | id length u16 | epoch f64 | seq f64 | wall ms f64 | prev 32 | digest 32 | id | payload
 *
 * `id` is the session's id; with flag 2 the tenant's before it: tenant length u16 | tenant | session. Records without the flag
 * are those of builds that told sessions apart by their id alone, and of the spool's own stream.
 *
 * `digest` is SHA-256 of the payload, `prev` the link of the stream's record before; a record's own link is SHA-256 over
 * its body up to the payload. So links run over digests, and a lawful erasure of the payload still verifies
 * (`kernel.md` §11).
 */
export const RECORD_KINDS = [
  "session",
  "evidence",
  "delivery_addendum",
  "refusal",
  "plan",
  "session_plan",
  "state_snapshot",
  "recording_level",
  "group",
  "mark",
  "session_end",
  "evidence_lost",
  "marker",
  "late_outcome",
  "dead_letter",
  "predecessor_lost",
] as const;
export type RecordKind = (typeof RECORD_KINDS)[number];

export interface SpoolRecord {
  kind: RecordKind;
  /** "" where the record does not say it: see above. Part of the stream's name as it stands. */
  tenantId: string;
  sessionId: string;
  epoch: number;
  /** Rises by one per record of (tenant, session, epoch), from 1. */
  seq: number;
  wallMs: number;
  /** The payload was lawfully erased; its digest stands. */
  erased: boolean;
  prev: Uint8Array;
  digest: Uint8Array;
  payload: Uint8Array;
  /** The link that the stream's next record must carry as `prev`. */
  link: Uint8Array;
}

export const HEADER_BYTES = 16;
export const LINK_BYTES = 32;
export const GENESIS: Uint8Array = new Uint8Array(LINK_BYTES);
const magic = 0x31505352; // "RSP1"
const bodyFixedBytes = 92;
const flagErased = 1;
const flagTenant = 2;
const tenantLengthBytes = 2;

export interface FrameInput {
  kind: RecordKind;
  tenantId: string;
  sessionId: string;
  epoch: number;
  seq: number;
  wallMs: number;
  prev: Uint8Array;
  payload: Uint8Array;
}

/** A frame ready to be written, and the link it leaves. */
export function encodeFrame(input: FrameInput): { frame: Buffer; link: Uint8Array } {
  const id = idBytes(input);
  const headBytes = bodyFixedBytes + id.length;
  const frame = Buffer.allocUnsafe(HEADER_BYTES + headBytes + input.payload.length);
  const body = frame.subarray(HEADER_BYTES);
  body[0] = RECORD_KINDS.indexOf(input.kind) + 1;
  body[1] = input.tenantId === "" ? 0 : flagTenant;
  body.writeUInt16LE(id.length, 2);
  body.writeDoubleLE(input.epoch, 4);
  body.writeDoubleLE(input.seq, 12);
  body.writeDoubleLE(input.wallMs, 20);
  body.set(input.prev, 28);
  body.set(sha256(input.payload), 60);
  body.set(id, bodyFixedBytes);
  body.set(input.payload, headBytes);
  frame.writeUInt32LE(magic, 0);
  frame.writeUInt32LE(body.length, 4);
  frame.writeUInt32LE(crc32(body), 8);
  frame.writeUInt32LE(crc32(frame.subarray(0, 12)), 12);
  return { frame, link: linkOf(body, headBytes) };
}

function idBytes({ tenantId, sessionId }: SessionName): Buffer {
  const session = Buffer.from(sessionId, "utf8");
  if (tenantId === "") return session;
  const tenant = Buffer.from(tenantId, "utf8");
  const length = Buffer.alloc(tenantLengthBytes);
  length.writeUInt16LE(tenant.length);
  return Buffer.concat([length, tenant, session]);
}

/** Bytes a record takes in a segment. */
export function frameBytes({ tenantId, sessionId }: SessionName, payloadBytes: number): number {
  const tenant = tenantId === "" ? 0 : tenantLengthBytes + Buffer.byteLength(tenantId);
  return HEADER_BYTES + bodyFixedBytes + tenant + Buffer.byteLength(sessionId) + payloadBytes;
}

export type FrameRead =
  | { status: "ok"; record: SpoolRecord; end: number }
  /** The bytes end before the record does, as a write cut short leaves it. */
  | { status: "torn"; reason: string }
  | { status: "bad"; reason: string };

/** Reads the frame at `offset`; never throws, whatever the bytes are. */
export function decodeFrame(bytes: Buffer, offset: number): FrameRead {
  const left = bytes.length - offset;
  if (onlyZeros(bytes, offset)) return { status: "torn", reason: "only zeros up to the end" };
  if (left < HEADER_BYTES) {
    return startsLikeAFrame(bytes, offset)
      ? { status: "torn", reason: "the record's header is cut short" }
      : { status: "bad", reason: "no record starts here" };
  }
  if (bytes.readUInt32LE(offset) !== magic) return { status: "bad", reason: "no record starts here" };
  if (crc32(bytes.subarray(offset, offset + 12)) !== bytes.readUInt32LE(offset + 12)) {
    return { status: "bad", reason: "the record's header fails its checksum" };
  }
  const length = bytes.readUInt32LE(offset + 4);
  if (length < bodyFixedBytes || length > limits.SPOOL_RECORD_BYTES_MAX) {
    return { status: "bad", reason: "the record's length is out of bounds" };
  }
  if (left < HEADER_BYTES + length) return { status: "torn", reason: "the record is cut short" };
  const start = offset + HEADER_BYTES;
  const body = bytes.subarray(start, start + length);
  if (crc32(body) !== bytes.readUInt32LE(offset + 8)) return { status: "bad", reason: "the record fails its checksum" };
  return decodeBody(body, start + length);
}

/** Offset of the next readable frame after `offset`, or -1. */
export function findFrame(bytes: Buffer, offset: number): number {
  const mark = Buffer.from([0x52, 0x53, 0x50, 0x31]);
  for (let at = bytes.indexOf(mark, offset + 1); at !== -1; at = bytes.indexOf(mark, at + 1)) {
    if (decodeFrame(bytes, at).status === "ok") return at;
  }
  return -1;
}

function decodeBody(body: Buffer, end: number): FrameRead {
  const kind = RECORD_KINDS[(body[0] ?? 0) - 1];
  const headBytes = bodyFixedBytes + body.readUInt16LE(2);
  const name = kind === undefined || headBytes > body.length ? null : nameOf(body, headBytes);
  if (kind === undefined || name === null) return { status: "bad", reason: "the record's fields make no sense" };
  const erased = ((body[1] ?? 0) & flagErased) !== 0;
  const payload = body.subarray(headBytes);
  const digest = body.subarray(60, 92);
  if (!erased && !sha256(payload).equals(digest)) {
    return { status: "bad", reason: "the payload is not the one its digest was made of" };
  }
  const record: SpoolRecord = {
    kind,
    ...name,
    epoch: body.readDoubleLE(4),
    seq: body.readDoubleLE(12),
    wallMs: body.readDoubleLE(20),
    erased,
    prev: body.subarray(28, 60),
    digest,
    payload,
    link: linkOf(body, headBytes),
  };
  return { status: "ok", record, end };
}

function nameOf(body: Buffer, headBytes: number): SessionName | null {
  if (((body[1] ?? 0) & flagTenant) === 0) {
    return { tenantId: "", sessionId: body.toString("utf8", bodyFixedBytes, headBytes) };
  }
  const start = bodyFixedBytes + tenantLengthBytes;
  if (start > headBytes) return null;
  const end = start + body.readUInt16LE(bodyFixedBytes);
  if (end > headBytes) return null;
  return { tenantId: body.toString("utf8", start, end), sessionId: body.toString("utf8", end, headBytes) };
}

/** The erased flag is left out of the link, so that erasing a payload breaks no chain. */
function linkOf(body: Buffer, headBytes: number): Uint8Array {
  const flags = body[1] ?? 0;
  if ((flags & flagErased) === 0) return sha256(body.subarray(0, headBytes));
  const head = Buffer.from(body.subarray(0, headBytes));
  head[1] = flags & ~flagErased;
  return sha256(head);
}

function sha256(bytes: Uint8Array): Buffer {
  return hash("sha256", bytes, "buffer");
}

function startsLikeAFrame(bytes: Buffer, offset: number): boolean {
  const start = [0x52, 0x53, 0x50, 0x31];
  return start.every((byte, i) => offset + i >= bytes.length || bytes[offset + i] === byte);
}

function onlyZeros(bytes: Buffer, offset: number): boolean {
  // A frame starts with "R": almost always one look.
  for (let at = offset; at < bytes.length; at++) if (bytes[at] !== 0) return false;
  return true;
}
