import { type SessionName, sessionKey } from "@rspp/base/session-key";
import type { Clock } from "@rspp/ports/clock";
import { limits } from "../limits.ts";
import { encodeFrame, GENESIS, type RecordKind } from "./frame.ts";
import { LineBuffer } from "./line-buffer.ts";
import { createChainCheck, type SpoolProblem, scanStore, streamKey } from "./scan.ts";
import type { SpoolStore, StoreFailure } from "./store.ts";

/** Whose records follow from one another. */
export interface StreamId extends SessionName {
  epoch: number;
}

export interface SpoolRecovery {
  segments: number;
  records: number;
  streams: number;
  /** Torn tails were cut off; everything else is left as it was found. */
  problems: readonly SpoolProblem[];
}

export interface Stream extends StreamId {
  /** {@link streamKey} and {@link sessionKey} of it: made once. */
  readonly key: string;
  readonly sessionKey: string;
  /** Whose it is, also where its records do not say it; "" where nothing does. */
  readonly owner: string;
  /** The last record appended, and its link. */
  seq: number;
  link: Uint8Array;
  /** Lines of the next group record. */
  readonly lines: LineBuffer;
  synced: number;
  exported: number;
  /** The exporter's own words on what follows `exported`. */
  note: string;
  /** Segment of its last mark; empty for none. */
  markedIn: string;
  open: boolean;
}

export interface Prepared {
  stream: Stream;
  frame: Buffer;
  link: Uint8Array;
}

interface Segment {
  bytes: number;
  /** Last record of each stream in it. */
  lastSeq: Map<string, number>;
}

const marksKey = streamKey({ tenantId: "", sessionId: "", epoch: 0 });

/** The segments of one spool: recovery, whole writes, rotation by size, sync, reclaim. */
export class SegmentLog {
  readonly recovery: SpoolRecovery;
  usedBytes = 0;
  freeBytes: number;
  appendFailures = 0;
  syncFailures = 0;
  oldestUnsyncedNs = -1;
  private readonly store: SpoolStore;
  private readonly clock: Clock;
  private readonly segmentBytesMax: number;
  private readonly streams = new Map<string, Stream>();
  /** Highest epoch known of each session: nothing of a lower one is appended any more. */
  private readonly floors = new Map<string, number>();
  /** Of recordings whose tenant is not known any longer: they hold for the id, whosesoever it is. */
  private readonly unownedFloors = new Map<string, number>();
  private readonly segments = new Map<string, Segment>();
  private readonly unsyncedStreams = new Set<Stream>();
  private readonly unsyncedSegments = new Set<string>();
  private current = "";
  private nextSegment: number;

  constructor(store: SpoolStore, clock: Clock, segmentBytesMax: number) {
    this.store = store;
    this.clock = clock;
    this.segmentBytesMax = segmentBytesMax;
    this.recovery = this.recover();
    this.nextSegment = segmentAfter(store.list());
    for (const segment of this.segments.values()) this.usedBytes += segment.bytes;
    this.freeBytes = store.freeBytes();
  }

  segmentCount(): number {
    return this.segments.size;
  }

  /** Null when nothing was ever appended for it. */
  find(id: StreamId): Stream | null {
    return this.streams.get(streamKey(id)) ?? null;
  }

  /** The stream of the session's epoch before, where it is known. */
  predecessor(id: StreamId): Stream | null {
    const owner = this.find(id)?.owner ?? id.tenantId;
    let found: Stream | null = null;
    for (const stream of this.streams.values()) {
      if (stream.sessionId !== id.sessionId || stream.epoch >= id.epoch || stream.owner !== owner) continue;
      if (found === null || stream.epoch > found.epoch) found = stream;
    }
    return found;
  }

  /** @param key of the session, where the caller has it: it is asked for at every line. */
  floor(session: SessionName, key: string = sessionKey(session)): number {
    const floor = this.floors.get(key) ?? 0;
    return this.unownedFloors.size === 0 ? floor : Math.max(floor, this.unownedFloors.get(session.sessionId) ?? 0);
  }

  raiseFloor(session: SessionName, epoch: number): void {
    if (session.sessionId === "") return;
    if (session.tenantId === "") raise(this.unownedFloors, session.sessionId, epoch);
    else raise(this.floors, sessionKey(session), epoch);
  }

  /** The stream of the session's next epoch, whose chain goes on from where the one before stands. */
  succeed(before: StreamId, epoch: number): void {
    const { link } = this.stream(before);
    const { tenantId, sessionId } = before;
    const after = this.stream({ tenantId, sessionId, epoch });
    if (after.seq === 0) after.link = link;
  }

  stream(id: StreamId): Stream {
    const key = streamKey(id);
    const known = this.streams.get(key);
    if (known !== undefined) {
      known.open = true;
      return known;
    }
    if (this.streams.size >= limits.SPOOL_STREAMS_MAX) forgetOneStream(this.streams);
    this.raiseFloor(id, id.epoch);
    const made = newStream(id, id.tenantId);
    this.streams.set(key, made);
    return made;
  }

  prepare(stream: Stream, kind: RecordKind, payload: Uint8Array): Prepared {
    const { tenantId, sessionId, epoch, link: prev } = stream;
    const wallMs = this.clock.wallMs();
    const { frame, link } = encodeFrame({
      kind,
      tenantId,
      sessionId,
      epoch,
      seq: stream.seq + 1,
      wallMs,
      prev,
      payload,
    });
    return { stream, frame, link };
  }

  /** Appends all frames or none; at most one per stream. */
  write(frames: readonly Prepared[], bytes: number): StoreFailure | null {
    if (this.current === "" || this.segmentOf(this.current).bytes + bytes > this.segmentBytesMax) this.rotate();
    const one = frames.length === 1 ? (frames[0] as Prepared).frame : Buffer.concat(frames.map((f) => f.frame));
    const failure = this.store.append(this.current, one);
    if (failure !== null) {
      this.appendFailures += 1;
      this.freeBytes = this.store.freeBytes();
      // Behind a torn tail nothing may follow: the next record starts a segment of its own.
      if (failure.torn) this.current = "";
      return failure;
    }
    const segment = this.segmentOf(this.current);
    segment.bytes += bytes;
    this.usedBytes += bytes;
    this.freeBytes -= bytes;
    for (const { stream, link } of frames) {
      stream.seq += 1;
      stream.link = link;
      segment.lastSeq.set(stream.key, stream.seq);
      this.unsyncedStreams.add(stream);
    }
    this.unsyncedSegments.add(this.current);
    if (this.oldestUnsyncedNs === -1) this.oldestUnsyncedNs = this.clock.nowNs();
    return null;
  }

  /** Syncs what was appended before this call; `done(false)` when some of it must be tried again. */
  sync(done: (good: boolean) => void): void {
    const since = this.oldestUnsyncedNs;
    const upTo = [...this.unsyncedStreams].map((stream): [Stream, number] => [stream, stream.seq]);
    const names = [...this.unsyncedSegments];
    this.oldestUnsyncedNs = -1;
    this.unsyncedStreams.clear();
    this.unsyncedSegments.clear();
    if (names.length === 0) return done(true);
    let left = names.length;
    let good = true;
    for (const name of names) {
      this.store.sync(name, (failure) => {
        if (failure !== null) this.syncFailed(name);
        good &&= failure === null;
        left -= 1;
        if (left > 0) return;
        if (good) for (const [stream, seq] of upTo) stream.synced = Math.max(stream.synced, seq);
        else this.syncAgain(since, upTo);
        done(good);
      });
    }
  }

  /** Removes the oldest segments of which every record is exported. `mark` writes a stream's export mark anew. */
  reclaim(mark: (stream: Stream) => void): number {
    let removed = 0;
    for (const name of [...this.segments.keys()].sort()) {
      const segment = this.segments.get(name);
      if (name === this.current || segment === undefined || !this.reclaimable(segment)) break;
      // The marks that explain the missing records must stay behind.
      for (const stream of this.streams.values()) if (this.markGoes(stream, name, segment)) mark(stream);
      if (this.store.remove(name) !== null) break;
      this.segments.delete(name);
      this.usedBytes -= segment.bytes;
      removed += 1;
    }
    this.freeBytes = this.store.freeBytes();
    return removed;
  }

  /** The stream's last mark is in the current segment. */
  markedHere(stream: Stream): void {
    stream.markedIn = this.current;
  }

  refreshFree(): void {
    this.freeBytes = this.store.freeBytes();
  }

  private recover(): SpoolRecovery {
    const chain = createChainCheck();
    const problems: SpoolProblem[] = [];
    const owners = new Map<string, string>();
    let records = 0;
    const torn = scanStore(
      this.store,
      (record, segment, offset, owner) => {
        records += 1;
        chain.check(record, segment, offset);
        const key = streamKey(record);
        owners.set(key, owner);
        this.segmentOf(segment).lastSeq.set(key, record.seq);
      },
      (problem) => problems.push(problem),
      (segment, bytes) => {
        this.segmentOf(segment).bytes = bytes;
      },
    );
    for (const { segment, offset } of torn) {
      if (this.store.truncate(segment, offset) === null) this.segmentOf(segment).bytes = offset;
    }
    const heads = chain.heads();
    for (const [key, { tenantId, sessionId, epoch, seq, link }] of heads) {
      const exported = chain.exportedSeq(key);
      const owner = owners.get(key) ?? tenantId;
      this.raiseFloor({ tenantId: owner, sessionId }, epoch);
      const note = chain.exportNote(key);
      const kept = { exported, note, markedIn: chain.markedIn(key) };
      const stream = newStream({ tenantId, sessionId, epoch }, owner);
      this.streams.set(key, { ...stream, seq, link, synced: seq, ...kept, open: false });
    }
    const found = [...problems, ...chain.problems()];
    return { segments: this.segments.size, records, streams: heads.size, problems: found };
  }

  /** Whether a stream needs a new mark when this segment goes: with its own records, or with a mark that explains others. */
  private markGoes(stream: Stream, name: string, segment: Segment): boolean {
    const { key } = stream;
    if (key === marksKey) return false;
    if (segment.lastSeq.has(key)) return true;
    if (stream.markedIn !== name) return false;
    if (stream.open || stream.exported < stream.seq) return true;
    for (const [other, { lastSeq }] of this.segments) if (other > name && lastSeq.has(key)) return true;
    return false;
  }

  private segmentOf(name: string): Segment {
    const known = this.segments.get(name) ?? { bytes: 0, lastSeq: new Map<string, number>() };
    this.segments.set(name, known);
    return known;
  }

  private rotate(): void {
    this.current = String(this.nextSegment++).padStart(10, "0");
    this.freeBytes = this.store.freeBytes();
  }

  private syncFailed(name: string): void {
    this.syncFailures += 1;
    this.unsyncedSegments.add(name);
    // A medium that failed once may have lost pages: nothing more is put behind them.
    if (name === this.current) this.current = "";
  }

  private syncAgain(since: number, upTo: readonly [Stream, number][]): void {
    if (this.oldestUnsyncedNs === -1 || since < this.oldestUnsyncedNs) this.oldestUnsyncedNs = since;
    for (const [stream] of upTo) this.unsyncedStreams.add(stream);
  }

  private reclaimable(segment: Segment): boolean {
    for (const [key, seq] of segment.lastSeq) {
      if (key !== marksKey && (this.streams.get(key)?.exported ?? 0) < seq) return false;
    }
    return true;
  }
}

/** At most SPOOL_STREAMS_MAX are remembered, those longest known forgotten first. */
function raise(floors: Map<string, number>, key: string, epoch: number): void {
  if (epoch <= (floors.get(key) ?? 0)) return;
  if (floors.size >= limits.SPOOL_STREAMS_MAX) floors.delete(floors.keys().next().value ?? "");
  floors.set(key, epoch);
}

function newStream(id: StreamId, owner: string): Stream {
  const { tenantId, sessionId, epoch } = id;
  const names = { tenantId, sessionId, epoch, key: streamKey(id), sessionKey: sessionKey(id), owner };
  const nothing = { seq: 0, link: GENESIS, lines: new LineBuffer(), synced: 0, exported: 0, note: "", markedIn: "" };
  return { ...nothing, ...names, open: true };
}

/** The longest-known stream of which nothing more is expected; its chain would start anew. */
function forgetOneStream(streams: Map<string, Stream>): void {
  for (const [key, stream] of streams) {
    if (stream.open || stream.lines.count > 0 || stream.sessionId === "") continue;
    streams.delete(key);
    return;
  }
}

function segmentAfter(names: readonly string[]): number {
  let last = 0;
  for (const name of names) {
    const number = Number.parseInt(name, 10);
    if (Number.isSafeInteger(number) && number > last) last = number;
  }
  return last + 1;
}
