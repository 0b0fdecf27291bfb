/** Whether a session's record is what was recorded, and all of it (kernel.md §11). */
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { PredecessorLost, TimelineRecord } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { timelineRecordFromWire } from "@rspp/wire/timeline";
import { sameBytes } from "@rspp/wire/timeline-chain";
import { toHex } from "./chain.ts";
import { digestIsRight } from "./digest.ts";
import { limits } from "./limits.ts";
import type { ReadSegment } from "./read-timeline.ts";
import { declaresLoss, isSessionEnd, opensTurn } from "./segment-writer.ts";

export interface Fault {
  readonly epoch: number;
  readonly sequence: number;
  readonly reason: ErrorReason;
  readonly detail: string;
}

export interface Verdict {
  readonly chainIntact: boolean;
  readonly complete: boolean;
  readonly records: number;
  readonly turnsWithEvidence: number;
  readonly turnsWithoutEvidence: number;
  /** In order, 1000 at most. */
  readonly faults: readonly Fault[];
  readonly declaredLosses: readonly PredecessorLost[];
}

/** Checks records one after another; the whole of them is never in memory. */
export class TimelineVerifier {
  readonly #faults: Fault[] = [];
  readonly #losses: PredecessorLost[] = [];
  readonly #opened = new Set<number>();
  readonly #sealed = new Set<number>();
  #records = 0;
  #broken = false;
  #lost = false;
  #ended = false;
  #epoch = 0;
  #expected = 1;
  #head: Uint8Array = new Uint8Array(0);

  /** Of the epochs in order. */
  record(record: TimelineRecord): void {
    const epoch = Number(record.epoch);
    const sequence = Number(record.sequence);
    this.#records += 1;
    if (epoch !== this.#epoch) this.#beginEpoch(record, epoch);
    else if (sequence === this.#expected && !sameBytes(record.previousDigest, this.#head)) {
      this.#fault(record, "previous_digest is not the digest of the record before");
    }
    if (sequence !== this.#expected) this.#missing(epoch, this.#expected, sequence);
    if (!digestIsRight(record)) this.#fault(record, "digest is not the one of the record's content");
    else this.#content(record);
    this.#expected = sequence + 1;
    this.#head = record.digest;
  }

  /** A stored segment, with what its index says of it. */
  segment({ segment, records, problem }: ReadSegment): void {
    for (const record of records) this.record(record);
    const last = records.at(-1);
    if (problem !== null) {
      const sequence = last === undefined ? segment.firstSequence : Number(last.sequence) + 1;
      const detail = `${problem} (object ${segment.objectKey})`;
      this.#add({ epoch: segment.epoch, sequence, reason: ErrorReason.JOURNAL_TRUNCATED, detail });
      this.#broken = true;
      // What follows begins behind the damage: the gap is told once.
      this.#epoch = segment.epoch;
      this.#expected = segment.lastSequence + 1;
      this.#head = new Uint8Array(Buffer.from(segment.headDigest, "hex"));
    } else if (last !== undefined && toHex(last.digest) !== segment.headDigest) {
      this.#fault(last, "the index knows another digest of this record");
    }
  }

  verdict(): Verdict {
    const missing = [...this.#opened].filter((turn) => !this.#sealed.has(turn)).length;
    const complete = !this.#broken && !this.#lost && this.#ended && missing === 0;
    return {
      chainIntact: !this.#broken,
      complete,
      records: this.#records,
      turnsWithEvidence: this.#sealed.size,
      turnsWithoutEvidence: missing,
      faults: this.#faults.slice(0, limits.VERIFY_FAULTS_MAX),
      declaredLosses: this.#losses.slice(0, limits.VERIFY_LOSSES_MAX),
    };
  }

  #beginEpoch(record: TimelineRecord, epoch: number): void {
    const first = this.#epoch === 0;
    const links = sameBytes(record.previousDigest, first ? new Uint8Array(0) : this.#head);
    // Lost is what the successor says is lost; what nobody declared is a fault.
    if (!links && record.body.case !== "predecessorLost" && Number(record.sequence) === 1) {
      const known = first ? "the first epoch here names one before it" : "it does not continue the epoch before it";
      this.#truncated(record, known);
      this.#broken = true;
    }
    this.#epoch = epoch;
    this.#expected = 1;
  }

  #content(record: TimelineRecord): void {
    const { body } = record;
    if (declaresLoss(record)) {
      this.#lost = true;
      if (body.case === "predecessorLost") this.#losses.push(body.value);
      else this.#truncated(record, `declared loss: ${body.case === "marker" ? body.value.name : ""}`);
    }
    if (isSessionEnd(record)) this.#ended = true;
    const turn = opensTurn(record);
    if (turn > 0) this.#opened.add(turn);
    if (body.case === "evidence") this.#sealed.add(body.value.turnNumber);
    // Evidence with parts missing is there, and named; it is not sealed evidence of all that happened.
    if (body.case === "canonicalRecord" && body.value.kind === "evidence") this.#sealed.add(body.value.turnNumber);
    if (!isKernelRecord(record)) return;
    const kernel = timelineRecordFromWire(record);
    if (!kernel.ok) this.#fault(record, `its content is not what the kernel sealed (${kernel.error.reason})`);
  }

  #missing(epoch: number, expected: number, found: number): void {
    const gap = found > expected;
    const detail = gap ? `records ${expected} to ${found - 1} are missing` : `record ${expected} was expected`;
    const reason = gap ? ErrorReason.JOURNAL_TRUNCATED : ErrorReason.CHAIN_BROKEN;
    this.#broken = true;
    this.#add({ epoch, sequence: expected, reason, detail });
  }

  #fault(record: TimelineRecord, detail: string): void {
    this.#broken = true;
    const { epoch, sequence } = record;
    this.#add({ epoch: Number(epoch), sequence: Number(sequence), reason: ErrorReason.CHAIN_BROKEN, detail });
  }

  #truncated({ epoch, sequence }: TimelineRecord, detail: string): void {
    this.#add({ epoch: Number(epoch), sequence: Number(sequence), reason: ErrorReason.JOURNAL_TRUNCATED, detail });
  }

  #add(fault: Fault): void {
    if (this.#faults.length < limits.VERIFY_FAULTS_MAX)
      this.#faults.push({ ...fault, detail: fault.detail.slice(0, 512) });
  }
}

const kernelKinds: ReadonlySet<string> = new Set([
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

/** A record that the kernel made and gave a hash of its own. */
export function isKernelRecord({ body, canonical }: TimelineRecord): boolean {
  if (canonical.length === 0) return false;
  if (body.case === "canonicalRecord") return kernelKinds.has(body.value.kind);
  const cases = ["evidence", "addendum", "refusal", "turnPlan", "sessionPlan", "snapshot", "levelChange"];
  return cases.includes(body.case ?? "");
}
