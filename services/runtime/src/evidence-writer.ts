import { asMonoNs, msToNs } from "@rspp/base/brand";
import type { TimelineRecord } from "@rspp/kernel/effect";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import { limits } from "./limits.ts";
import type { AppendResult, Spool, StreamId } from "./spool/spool.ts";

interface Held {
  record: TimelineRecord;
  /** Given up from this instant on. */
  untilNs: number;
  /** What may be told once the record is appended or given up. */
  told: (() => void)[];
}

export interface EvidenceHost {
  /** First failure, and again with `exhausted` when the turn can no longer be accounted for (T9). */
  appendFailed(turn: number, exhausted: boolean, detail: string): void;
  /** The record was given up: declared loss. Called before anything is told that waited for it. */
  lost(record: TimelineRecord, detail: string): void;
  /** Bytes still set aside, when they could not be filled up again or are whole again. */
  quota(bytes: number): void;
}

/**
 * Appends a session's timeline records. Evidence comes before what is told about it (`kernel.md` §11): while a turn's
 * evidence waits for another try, the signals of that turn wait too.
 */
export class EvidenceWriter {
  private readonly spool: Spool;
  private readonly stream: StreamId;
  private readonly clock: Clock;
  private readonly host: EvidenceHost;
  private readonly quotaBytes: number;
  private readonly held: Held[] = [];
  private readonly unmarked: { kind: string; turn: number; hash: string }[] = [];
  private retry: TimerHandle | null = null;
  private short = false;
  private closed = false;
  failures = 0;
  /** Records given up. */
  lost = 0;

  constructor(spool: Spool, stream: StreamId, clock: Clock, quotaBytes: number, host: EvidenceHost) {
    this.spool = spool;
    this.stream = stream;
    this.clock = clock;
    this.quotaBytes = quotaBytes;
    this.host = host;
  }

  write(record: TimelineRecord): void {
    // Behind what still waits: an addendum must not be appended before the manifest it is chained to.
    if (isEvidence(record) && this.held.length > 0) return this.hold(record);
    const result = this.append(record);
    if (result.ok) return;
    this.failures += 1;
    // A plan's turn is Active: where nothing is set aside any longer it ends now (T9). A terminal has its tries first.
    const exhausted = record.kind === "plan" && result.exhausted;
    this.host.appendFailed(turnOf(record), exhausted, result.detail);
    if (isEvidence(record)) this.hold(record);
  }

  /** True when `tell` was put off until the turn's evidence is appended. */
  putOff(turn: number, tell: () => void): boolean {
    if (this.held.length === 0 || turn === 0) return false;
    const held = this.held.findLast((one) => turnOf(one.record) === turn);
    held?.told.push(tell);
    return held !== undefined;
  }

  close(): void {
    this.closed = true;
    this.retry?.clear();
    this.retry = null;
    for (let one = this.held.shift(); one !== undefined; one = this.held.shift())
      this.settle(one, this.append(one.record));
  }

  private hold(record: TimelineRecord): void {
    const untilNs = this.clock.nowNs() + msToNs(limits.EVIDENCE_GIVE_UP_MS);
    const one: Held = { record, untilNs, told: [] };
    if (this.held.length >= limits.EVIDENCE_HELD_ITEMS_MAX) return this.giveUp(one, "too many records wait");
    this.held.push(one);
    this.arm();
  }

  /** Nothing that was held back is dropped: after the last try it is told all the same, behind the declaration of loss. */
  private settle(one: Held, result: AppendResult): void {
    if (!result.ok) return this.giveUp(one, result.detail);
    for (const tell of one.told) tell();
  }

  private giveUp(one: Held, detail: string): void {
    const { record } = one;
    this.lost += 1;
    const hash = "hash" in record ? record.hash : "";
    if (this.unmarked.length < limits.EVIDENCE_LOST_ITEMS_MAX)
      this.unmarked.push({ kind: record.kind, turn: turnOf(record), hash });
    this.host.lost(record, detail);
    for (const tell of one.told) tell();
    this.host.appendFailed(turnOf(record), true, detail);
  }

  /** As soon as the spool takes something again, it says what is missing (`kernel.md` §11: declared loss). */
  private markLost(): void {
    const lost = this.unmarked.splice(0);
    const content = JSON.stringify({ kind: "evidence_lost", lost, records: this.lost });
    if (!this.spool.append(this.stream, "evidence_lost", content).ok) this.unmarked.unshift(...lost);
  }

  private append(record: TimelineRecord): AppendResult {
    const evidence = isEvidence(record);
    const result = this.spool.append(this.stream, record.kind, JSON.stringify(record), evidence);
    if (result.ok && evidence) this.refill();
    if (result.ok && this.unmarked.length > 0) this.markLost();
    return result;
  }

  /** What was used is set aside anew, so that the session's quota stays what the kernel was told. */
  private refill(): void {
    const missing = this.quotaBytes - this.spool.reserved(this.stream);
    if (missing <= 0) return;
    const whole = this.spool.reserve(this.stream, missing);
    if (whole && !this.short) return;
    this.short = !whole;
    this.host.quota(this.spool.reserved(this.stream));
  }

  private arm(): void {
    if (this.closed) return;
    this.retry ??= this.clock.timerAt(asMonoNs(this.clock.nowNs() + msToNs(limits.EVIDENCE_RETRY_MS)), () => {
      this.retry = null;
      this.again();
    });
  }

  private again(): void {
    for (let one = this.held[0]; one !== undefined; one = this.held[0]) {
      const result = this.append(one.record);
      if (!result.ok && this.clock.nowNs() < one.untilNs) break;
      this.held.shift();
      this.settle(one, result);
    }
    if (this.held.length > 0) this.arm();
  }
}

function isEvidence(record: TimelineRecord): boolean {
  const { kind } = record;
  return ["evidence", "delivery_addendum", "late_outcome", "refusal", "plan"].includes(kind);
}

function turnOf(record: TimelineRecord): number {
  return "turn" in record ? record.turn : 0;
}
