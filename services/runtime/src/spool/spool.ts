import { asMonoNs, type MonoNs, msToNs, NS_PER_MS } from "@rspp/base/brand";
import { type SessionName, sessionKey } from "@rspp/base/session-key";
import type { Batch } from "@rspp/kernel/input";
import type { Fact } from "@rspp/kernel/pure-functions";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import { limits } from "../limits.ts";
import { frameBytes, type RecordKind } from "./frame.ts";
import { writeEntry } from "./journal-codec.ts";
import { type ReadSession, readSession, type SpoolVerdict, verifySpool } from "./reader.ts";
import { type Prepared, SegmentLog, type SpoolRecovery, type Stream, type StreamId } from "./segment-log.ts";
import type { SpoolStore } from "./store.ts";

export type { SpoolRecovery, StreamId } from "./segment-log.ts";

export type AppendErrorCode = "no_space" | "io" | "too_large" | "closed" | "stale_epoch";
export type AppendResult =
  | { ok: true; seq: number }
  /** `exhausted`: nothing is set aside for this session any longer (T9). */
  | { ok: false; code: AppendErrorCode; detail: string; exhausted: boolean };

export interface SpoolMarks {
  appended: number;
  synced: number;
  exported: number;
}

export interface SpoolMeasures {
  /** 0 … 1: the fuller of the pending queue, the disk budget and the export queue. */
  fill: number;
  /** Age of the oldest record not yet synced, or what the exporter reports. */
  lagMs: number;
  usedBytes: number;
  reservedBytes: number;
  pendingBytes: number;
  segments: number;
  appendFailures: number;
  syncFailures: number;
  /** Journal lines that a full disk and a full queue have cost: declared loss. */
  linesLost: number;
  /** Records and lines refused because their epoch was below the floor. */
  staleRefused: number;
}

export type LineTag = "journal" | "signal" | "payload";

export interface Spool {
  /** What the start found. */
  readonly recovery: SpoolRecovery;
  /** Returns once the bytes are with the operating system: *appended* (`kernel.md` §11). Lines of the stream go first. */
  append(stream: StreamId, kind: RecordKind, payload: string | Uint8Array, evidence?: boolean): AppendResult;
  /** Adds a line of JSON to the stream's next group record, written within 50 ms. */
  line(stream: StreamId, tag: LineTag, json: string): void;
  /** As {@link Spool.line}, a step of the journal. */
  journal(stream: StreamId, batch: Batch, facts: readonly Fact[], digest: string): void;
  /** Writes the stream's waiting lines now. */
  flush(stream: StreamId): AppendResult | null;
  /** Writes what waits and syncs; settles when synced. */
  sync(): Promise<boolean>;
  /** The highest epoch known for the session; 0 for none. Records of a lower one are refused (`kernel.md` §7). */
  floor(session: SessionName): number;
  raiseFloor(session: SessionName, epoch: number): void;
  /** The session goes on under a higher epoch; its new chain links to the old one. */
  succeed(stream: StreamId, epoch: number): void;
  /** Nothing more comes for the stream. */
  closeStream(stream: StreamId): void;
  marks(stream: StreamId): SpoolMarks;
  /** Acknowledged by whoever exports, up to `seq`. `note`: what it needs to go on from there, kept with the mark. */
  markExported(stream: StreamId, seq: number, note?: string): AppendResult;
  /** The note of the last mark; empty for none. */
  exportNote(stream: StreamId): string;
  /** The session's epoch before this one, where the spool knows of it. */
  predecessor(stream: StreamId): StreamId | null;
  /** A named point in the record of a stream that is still open; null when it is not. */
  marker(stream: StreamId, name: string, fields: Readonly<Record<string, string>>): AppendResult | null;
  /** Removes the oldest segments of which everything is exported. @returns segments removed. */
  reclaim(): number;
  /** Sets bytes aside for a session's evidence, on top of what it has. False when the budget is short. */
  reserve(session: SessionName, bytes: number): boolean;
  /** Gives a session's reservation back. */
  release(session: SessionName): void;
  reserved(session: SessionName): number;
  measures(): SpoolMeasures;
  /** Called after each group write and at least every 250 ms while there is pressure. */
  onMeasures(listener: (measures: SpoolMeasures) => void): () => void;
  /** As `readSession` of the reader: without a tenant, whosesoever session it finds first. */
  readSession(sessionId: string, tenantId?: string): ReadSession;
  verify(): SpoolVerdict;
  close(): Promise<void>;
}

export interface SpoolOptions {
  store: SpoolStore;
  clock: Clock;
  diskBytesMax?: number;
  segmentBytesMax?: number;
  syncMs?: number;
  /** What the exporter measures, where there is one. */
  exportMeasure?: () => { fill: number; lagMs: number };
}

const marksStream: StreamId = { tenantId: "", sessionId: "", epoch: 0 };

/** Reads what is there, mends torn tails, and appends to a new segment from then on. */
export function createSpool(options: SpoolOptions): Spool {
  return new SpoolShell(options);
}

class SpoolShell implements Spool {
  readonly recovery: SpoolRecovery;
  private readonly options: SpoolOptions;
  private readonly clock: Clock;
  private readonly diskBytesMax: number;
  private readonly log: SegmentLog;
  private readonly reservations = new Map<string, number>();
  private readonly listeners = new Set<(measures: SpoolMeasures) => void>();
  private readonly dirty = new Set<Stream>();
  private readonly streams = new WeakMap<StreamId, Stream>();
  private reservedBytes = 0;
  private pendingBytes = 0;
  private linesLost = 0;
  private staleRefused = 0;
  private syncTimer: TimerHandle | null = null;
  private pressureTimer: TimerHandle | null = null;
  private closed = false;

  constructor(options: SpoolOptions) {
    this.options = options;
    this.clock = options.clock;
    this.diskBytesMax = options.diskBytesMax ?? limits.SPOOL_DISK_BYTES_MAX;
    this.log = new SegmentLog(options.store, options.clock, options.segmentBytesMax ?? limits.SPOOL_SEGMENT_BYTES_MAX);
    this.recovery = this.log.recovery;
  }

  append(id: StreamId, kind: RecordKind, payload: string | Uint8Array, evidence = false): AppendResult {
    if (this.stale(id)) {
      return refused("stale_epoch", `epoch ${id.epoch} is below the floor ${this.floor(id)}`, false);
    }
    const stream = this.log.stream(id);
    const lines = this.flushStream(stream);
    if (lines !== null && !lines.ok && !evidence) return lines;
    const bytes = typeof payload === "string" ? Buffer.from(payload, "utf8") : payload;
    return this.appendNow(stream, kind, bytes, evidence);
  }

  line(id: StreamId, tag: LineTag, json: string): void {
    if (this.closed || this.stale(id)) return;
    if (json.length > limits.SPOOL_GROUP_BYTES_MAX && Buffer.byteLength(json) > limits.SPOOL_LINE_BYTES_MAX) {
      this.linesLost += 1;
      return;
    }
    const stream = this.streamOf(id);
    stream.lines.begin(tag);
    stream.lines.utf8(json);
    this.lineEnded(stream);
  }

  journal(id: StreamId, batch: Batch, facts: readonly Fact[], digest: string): void {
    if (this.closed || this.stale(id)) return;
    const stream = this.streamOf(id);
    stream.lines.begin("journal");
    writeEntry(stream.lines, batch, facts, digest);
    this.lineEnded(stream);
  }

  private lineEnded(stream: Stream): void {
    const { lines } = stream;
    const bytes = lines.end();
    if (bytes > limits.SPOOL_LINE_BYTES_MAX) {
      lines.rollback();
      lines.count -= 1;
      this.linesLost += 1;
      return;
    }
    this.pendingBytes += bytes;
    this.dirty.add(stream);
    this.armSync();
    if (lines.size >= limits.SPOOL_GROUP_BYTES_MAX) this.flushStream(stream);
    else if (this.pendingBytes >= limits.SPOOL_PENDING_BYTES_MAX) this.flushAll();
  }

  /** The stream is asked for at every line; its key is a string that has to be made. An open one is never forgotten. */
  private streamOf(id: StreamId): Stream {
    const known = this.streams.get(id);
    if (known?.open && known.epoch === id.epoch) return known;
    const stream = this.log.stream(id);
    this.streams.set(id, stream);
    return stream;
  }

  flush(id: StreamId): AppendResult | null {
    return this.flushStream(this.log.stream(id));
  }

  sync(): Promise<boolean> {
    return new Promise((resolve) => this.syncNow(resolve));
  }

  floor(session: SessionName): number {
    return this.log.floor(session);
  }

  raiseFloor(session: SessionName, epoch: number): void {
    this.log.raiseFloor(session, epoch);
  }

  succeed(id: StreamId, epoch: number): void {
    this.flushStream(this.log.stream(id));
    this.log.succeed(id, epoch);
    this.closeStream(id);
  }

  closeStream(id: StreamId): void {
    const stream = this.log.find(id);
    if (stream === null) return;
    this.flushStream(stream);
    stream.open = false;
  }

  marks(id: StreamId): SpoolMarks {
    const stream = this.log.find(id);
    return { appended: stream?.seq ?? 0, synced: stream?.synced ?? 0, exported: stream?.exported ?? 0 };
  }

  markExported(id: StreamId, seq: number, note?: string): AppendResult {
    // A mark opens no stream that was closed.
    const stream = this.log.find(id) ?? this.log.stream(id);
    const upTo = Math.min(seq, stream.seq);
    if (upTo >= stream.exported && note !== undefined) stream.note = note;
    stream.exported = Math.max(stream.exported, upTo);
    const marked = this.appendNow(this.log.stream(marksStream), "mark", markOf(stream), false);
    if (marked.ok) this.log.markedHere(stream);
    return marked;
  }

  exportNote(id: StreamId): string {
    return this.log.find(id)?.note ?? "";
  }

  predecessor(id: StreamId): StreamId | null {
    return this.log.predecessor(id);
  }

  marker(id: StreamId, name: string, fields: Readonly<Record<string, string>>): AppendResult | null {
    const stream = this.log.find(id);
    if (stream?.open !== true) return null;
    return this.append(id, "marker", JSON.stringify({ name, fields }));
  }

  reclaim(): number {
    return this.log.reclaim((stream) => this.markExported(stream, stream.exported));
  }

  reserve(session: SessionName, bytes: number): boolean {
    this.log.refreshFree();
    if (this.closed || bytes > this.available()) return false;
    const key = sessionKey(session);
    this.setReservation(key, this.reservedBy(key) + bytes);
    return true;
  }

  release(session: SessionName): void {
    this.setReservation(sessionKey(session), 0);
  }

  reserved(session: SessionName): number {
    return this.reservedBy(sessionKey(session));
  }

  measures(): SpoolMeasures {
    const { usedBytes, freeBytes, oldestUnsyncedNs, appendFailures, syncFailures } = this.log;
    const { reservedBytes, pendingBytes, linesLost, staleRefused } = this;
    const exported = this.options.exportMeasure?.() ?? { fill: 0, lagMs: 0 };
    const budget = Math.max(1, Math.min(this.diskBytesMax, usedBytes + freeBytes));
    const disk = (usedBytes + reservedBytes) / budget;
    const fill = Math.min(1, Math.max(pendingBytes / limits.SPOOL_PENDING_BYTES_MAX, disk, exported.fill));
    const age = oldestUnsyncedNs === -1 ? 0 : (this.clock.nowNs() - oldestUnsyncedNs) / NS_PER_MS;
    const lagMs = Math.max(age, exported.lagMs);
    const segments = this.log.segmentCount();
    return {
      fill,
      lagMs,
      usedBytes,
      reservedBytes,
      pendingBytes,
      segments,
      appendFailures,
      syncFailures,
      linesLost,
      staleRefused,
    };
  }

  onMeasures(listener: (measures: SpoolMeasures) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  readSession(sessionId: string, tenantId?: string): ReadSession {
    this.flushAll();
    return readSession(this.options.store, sessionId, tenantId);
  }

  verify(): SpoolVerdict {
    this.flushAll();
    return verifySpool(this.options.store);
  }

  async close(): Promise<void> {
    if (this.closed) return;
    await this.sync();
    this.closed = true;
    this.syncTimer?.clear();
    this.pressureTimer?.clear();
    this.options.store.close();
  }

  /** No promise inside, so that a simulator's run depends on no queue but its own. */
  private syncNow(done: (good: boolean) => void): void {
    this.flushAll();
    this.log.sync((good) => {
      if (!good) this.armSync();
      this.tellMeasures();
      done(good);
    });
  }

  private available(): number {
    return Math.min(this.diskBytesMax - this.log.usedBytes, this.log.freeBytes) - this.reservedBytes;
  }

  /** Asks the medium again before it says no: a disk that was full and is not any more must not stay so here. */
  private fits(bytes: number): boolean {
    if (bytes <= this.available()) return true;
    this.log.refreshFree();
    return bytes <= this.available();
  }

  private stale(id: StreamId): boolean {
    if (id.epoch >= this.log.floor(id, this.streams.get(id)?.sessionKey)) return false;
    this.staleRefused += 1;
    return true;
  }

  private reservedBy(key: string): number {
    return this.reservations.get(key) ?? 0;
  }

  private setReservation(key: string, bytes: number): void {
    this.reservedBytes += bytes - this.reservedBy(key);
    if (bytes === 0) this.reservations.delete(key);
    else this.reservations.set(key, bytes);
  }

  private appendNow(stream: Stream, kind: RecordKind, payload: Uint8Array, evidence: boolean): AppendResult {
    if (this.closed) return refused("closed", "the spool is closed", true);
    const bytes = frameBytes(stream, payload.length);
    if (bytes > limits.SPOOL_RECORD_BYTES_MAX) {
      return refused("too_large", `a record of ${bytes} bytes is past ${limits.SPOOL_RECORD_BYTES_MAX}`, false);
    }
    const mine = this.reservedBy(stream.sessionKey);
    const held = evidence ? Math.min(mine, bytes) : 0;
    if (!this.fits(bytes - held)) return refused("no_space", "the disk budget is used up", mine < bytes);
    const failure = this.log.write([this.log.prepare(stream, kind, payload)], bytes);
    if (failure !== null) return refused(failure.code, failure.detail, mine < bytes || failure.code === "no_space");
    if (held > 0) this.setReservation(stream.sessionKey, mine - held);
    this.armSync();
    return { ok: true, seq: stream.seq };
  }

  private flushStream(stream: Stream): AppendResult | null {
    if (stream.lines.count === 0) return null;
    const result = this.appendNow(stream, "group", stream.lines.view(), false);
    if (result.ok) this.forgetLines(stream);
    else this.keepLines(stream);
    return result;
  }

  /** Few writes for the groups of all streams. */
  private flushAll(): void {
    let taken: Stream[] = [];
    let frames: Prepared[] = [];
    let bytes = 0;
    const put = (): void => {
      const written = frames.length === 0 || (this.fits(bytes) && this.log.write(frames, bytes) === null);
      for (const stream of taken)
        if (written) this.forgetLines(stream);
        else this.keepLines(stream);
      taken = [];
      frames = [];
      bytes = 0;
    };
    for (const stream of [...this.dirty]) {
      const prepared = this.log.prepare(stream, "group", stream.lines.view());
      if (bytes + prepared.frame.length > limits.SPOOL_RECORD_BYTES_MAX) put();
      taken.push(stream);
      frames.push(prepared);
      bytes += prepared.frame.length;
    }
    put();
  }

  private forgetLines(stream: Stream): void {
    this.pendingBytes -= stream.lines.size;
    stream.lines.clear();
    this.dirty.delete(stream);
  }

  /** Lines that could not be written wait for the next try; past the bound they are lost, and counted. */
  private keepLines(stream: Stream): void {
    const { lines } = stream;
    if (this.pendingBytes > limits.SPOOL_PENDING_BYTES_MAX || lines.size > limits.SPOOL_LINE_BYTES_MAX) {
      this.linesLost += lines.count;
      return this.forgetLines(stream);
    }
    this.armSync();
  }

  private tellMeasures(): void {
    if (this.listeners.size === 0) return;
    const now = this.measures();
    for (const listener of this.listeners) listener(now);
    if (this.closed || this.pressureTimer !== null || (now.fill < 0.8 && now.lagMs < 2_000)) return;
    this.pressureTimer = this.clock.timerAt(this.after(limits.SPOOL_PRESSURE_EVERY_MS), () => {
      this.pressureTimer = null;
      this.tellMeasures();
    });
  }

  private armSync(): void {
    if (this.syncTimer !== null || this.closed) return;
    this.syncTimer = this.clock.timerAt(this.after(this.options.syncMs ?? limits.SPOOL_SYNC_MS), () => {
      this.syncTimer = null;
      this.syncNow(() => {});
    });
  }

  private after(ms: number): MonoNs {
    return asMonoNs(this.clock.nowNs() + msToNs(ms));
  }
}

function refused(code: AppendErrorCode, detail: string, exhausted: boolean): AppendResult {
  return { ok: false, code, detail, exhausted };
}

function markOf(stream: Stream): Uint8Array {
  const { tenantId, sessionId, epoch, exported: seq, note } = stream;
  const link = seq === stream.seq ? { link: Buffer.from(stream.link).toString("hex") } : {};
  const kept = note === "" ? {} : { note };
  const whose = tenantId === "" ? {} : { tenantId };
  return Buffer.from(JSON.stringify({ ...whose, sessionId, epoch, seq, ...link, ...kept }), "utf8");
}
