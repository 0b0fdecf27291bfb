import { asMonoNs, msToNs } from "@rspp/base/brand";
import type { TimelineRecord } from "@rspp/kernel/effect";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type { AppendResult, Spool, StreamId } from "./spool/spool.ts";

const retryMs = 50;
const triesMax = 20;
const heldMax = 16;

interface Held {
  record: TimelineRecord;
  tries: number;
  /** What may be told once the record is appended. */
  told: (() => void)[];
}

export interface EvidenceHost {
  /** First failure, and again with `exhausted` when it is given up. */
  appendFailed(turn: number, exhausted: boolean, detail: string): void;
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
  private retry: TimerHandle | null = null;
  private short = false;
  failures = 0;

  constructor(spool: Spool, stream: StreamId, clock: Clock, quotaBytes: number, host: EvidenceHost) {
    this.spool = spool;
    this.stream = stream;
    this.clock = clock;
    this.quotaBytes = quotaBytes;
    this.host = host;
  }

  write(record: TimelineRecord): void {
    if (isEvidence(record) && this.held.length > 0 && this.held.length < heldMax) {
      // Behind what still waits: an addendum must not be appended before the manifest it is chained to.
      this.held.push({ record, tries: 0, told: [] });
      return;
    }
    const result = this.append(record);
    if (result.ok) return;
    this.failures += 1;
    const turn = turnOf(record);
    this.host.appendFailed(turn, isEvidence(record) && result.exhausted, result.detail);
    if (!isEvidence(record) || this.held.length >= heldMax) return;
    this.held.push({ record, tries: 1, told: [] });
    this.arm();
  }

  /** True when `tell` was put off until the turn's evidence is appended. */
  putOff(turn: number, tell: () => void): boolean {
    if (this.held.length === 0 || turn === 0) return false;
    const held = this.held.findLast((one) => turnOf(one.record) === turn);
    held?.told.push(tell);
    return held !== undefined;
  }

  close(): void {
    this.retry?.clear();
    this.retry = null;
    for (const one of this.held) this.append(one.record);
    this.held.length = 0;
  }

  private append(record: TimelineRecord): AppendResult {
    const evidence = isEvidence(record);
    const result = this.spool.append(this.stream, record.kind, JSON.stringify(record), evidence);
    if (result.ok && evidence) this.refill();
    return result;
  }

  /** What was used is set aside anew, so that the session's quota stays what the kernel was told. */
  private refill(): void {
    const { sessionId } = this.stream;
    const missing = this.quotaBytes - this.spool.reserved(sessionId);
    if (missing <= 0) return;
    const whole = this.spool.reserve(sessionId, missing);
    if (whole && !this.short) return;
    this.short = !whole;
    this.host.quota(this.spool.reserved(sessionId));
  }

  private arm(): void {
    this.retry ??= this.clock.timerAt(asMonoNs(this.clock.nowNs() + msToNs(retryMs)), () => {
      this.retry = null;
      this.again();
    });
  }

  private again(): void {
    for (let one = this.held[0]; one !== undefined; one = this.held[0]) {
      const result = this.append(one.record);
      one.tries += 1;
      if (!result.ok && one.tries < triesMax) break;
      this.held.shift();
      if (result.ok) for (const tell of one.told) tell();
      else this.host.appendFailed(turnOf(one.record), true, result.detail);
    }
    if (this.held.length > 0) this.arm();
  }
}

function isEvidence(record: TimelineRecord): boolean {
  return record.kind === "evidence" || record.kind === "delivery_addendum" || record.kind === "refusal";
}

function turnOf(record: TimelineRecord): number {
  return "turn" in record ? record.turn : 0;
}
