/**
 * The kernel's timeline records <-> the replay contract (kernel.md §11). The exact record travels as canonical JSON with
 * its hash; the typed body beside it is for readers that do not parse it. Chain and sequence are the recorder's.
 */
import { create } from "@bufbuild/protobuf";
import { canonicalJson } from "@rspp/base/canonical-json";
import { err, ok, type Result } from "@rspp/base/result";
import { sha256, sha256Utf8Hex } from "@rspp/base/sha256";
import { type TimelineRecord as RecordMessage, TimelineRecordSchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import type { TimelineRecord } from "@rspp/kernel/effect";
import { type SealedEvidence, verifyEvidence } from "@rspp/kernel/evidence";
import { parseCanonical } from "./journal.ts";
import { limits } from "./limits.ts";
import { levelNames } from "./names.ts";
import { recordBody } from "./timeline-body.ts";
import { validate } from "./validate.ts";
import { refuseField, type WireError, wireError } from "./wire-error.ts";
import { turnIdOf } from "./wire-event.ts";

/** Where a record stands: what the recorder knows and the kernel does not say. */
export interface RecordPlace {
  tenant: string;
  session: string;
  epoch: number;
  /** Per session and epoch, from 1 without gaps. */
  sequence: number;
  level: "L0" | "L1" | "L2";
  monoNs: number;
  wallMs: number;
  /** Digest of the record before; empty for the first of all. */
  previousDigest: Uint8Array;
  /** Batch after which it was made. */
  batch: number;
}

const text = new TextEncoder();

/** The digest of a record: SHA-256 over the digest before and the digest of its content. */
export function chainDigest(previous: Uint8Array, content: Uint8Array): Uint8Array {
  const body = sha256(content);
  const joined = new Uint8Array(previous.length + body.length);
  joined.set(previous, 0);
  joined.set(body, previous.length);
  return sha256(joined);
}

/** Encodes a record; `canonical` is the record itself, so that nothing is lost whatever the typed body can hold. */
export function timelineRecord(record: TimelineRecord, place: RecordPlace): Result<RecordMessage, WireError> {
  const canonical = text.encode(canonicalJson(record));
  if (canonical.length > limits.WIRE_RECORD_BYTES_MAX) {
    return err(
      wireError("message_too_large", {
        bytes: String(canonical.length),
        bytes_max: String(limits.WIRE_RECORD_BYTES_MAX),
      }),
    );
  }
  const turn = "turn" in record ? record.turn : 0;
  return validate(
    TimelineRecordSchema,
    create(TimelineRecordSchema, {
      schemaVersion: 1,
      session: { tenantId: place.tenant, sessionId: place.session },
      epoch: BigInt(place.epoch),
      sequence: BigInt(place.sequence),
      level: levelNames.number(place.level) ?? 0,
      monotonicNs: BigInt(place.monoNs),
      wallMs: BigInt(place.wallMs),
      turnId: turnIdOf(turn),
      previousDigest: place.previousDigest,
      digest: chainDigest(place.previousDigest, canonical),
      canonical,
      body: recordBody(record, place),
    }),
  );
}

/** The kernel's record, once its chain digest and the kernel's own hash both agree with its content. */
export function timelineRecordFromWire(message: RecordMessage): Result<TimelineRecord, WireError> {
  const valid = validate(TimelineRecordSchema, message);
  if (!valid.ok) return valid;
  if (message.canonical.length === 0) {
    return refuseField("canonical", "required", "the record has no canonical form", "read its typed body");
  }
  if (!sameBytes(chainDigest(message.previousDigest, message.canonical), message.digest)) return broken("digest");
  const parsed = parseCanonical(message.canonical, "canonical");
  if (!parsed.ok) return parsed;
  const record = parsed.value;
  if (!isRecord(record)) return refuseField("canonical", "record.kind", "is no kernel record", "read its typed body");
  return hashHolds(record) ? ok(record) : broken(`${record.kind} hash`);
}

const kinds: ReadonlySet<unknown> = new Set<TimelineRecord["kind"]>([
  "evidence",
  "delivery_addendum",
  "late_outcome",
  "dead_letter",
  "refusal",
  "plan",
  "session_plan",
  "state_snapshot",
  "recording_level",
]);

function isRecord(value: unknown): value is TimelineRecord {
  return typeof value === "object" && value !== null && "kind" in value && kinds.has(value.kind);
}

/** Recomputes the hash the kernel gave the record; true where it gives none. */
function hashHolds(record: TimelineRecord): boolean {
  try {
    switch (record.kind) {
      case "evidence":
        return verifyEvidence(record.manifest as SealedEvidence) && record.hash === ownHash(record.manifest);
      case "delivery_addendum":
        return record.hash === ownHash(record.addendum) && record.hash === hashWithout(record.addendum);
      case "dead_letter":
        return record.hash === ownHash(record.letter) && record.hash === hashWithout(record.letter);
      case "late_outcome":
        return record.hash === ownHash(record.outcome) && record.hash === hashWithout(record.outcome);
      case "refusal":
        return ownHash(record.manifest) === hashWithout(record.manifest);
      case "plan":
      case "session_plan":
        return record.hash === sha256Utf8Hex(canonicalJson(record.plan));
      default:
        return true;
    }
  } catch {
    // Content of another shape than its kind has: not what the kernel hashed.
    return false;
  }
}

function ownHash(value: unknown): unknown {
  return (value as { hash?: unknown }).hash;
}

function hashWithout(value: unknown): string {
  const { hash: _hash, ...rest } = value as Record<string, unknown>;
  return sha256Utf8Hex(canonicalJson(rest));
}

function broken(what: string): { readonly ok: false; readonly error: WireError } {
  return err(wireError("chain_broken", { what }));
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
