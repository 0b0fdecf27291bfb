import { asMonoNs, type MonoNs, msToNs, NS_PER_MS } from "@rspp/base/brand";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import { limits } from "../limits.ts";
import { encodeFrame, frameBytes, GENESIS, type RecordKind } from "./frame.ts";
import { type ReadSession, readSession, type SpoolVerdict, verifySpool } from "./reader.ts";
import { createChainCheck, type SpoolProblem, scanStore, streamKey } from "./scan.ts";
import type { SpoolStore, StoreFailure } from "./store.ts";

export interface StreamId {
  sessionId: string;
  epoch: number;
}

export type AppendResult =
  | { ok: true; seq: number }
  /** `exhausted`: nothing is set aside for this session any longer (T9). */
  | { ok: false; code: "no_space" | "io" | "too_large" | "closed"; detail: string; exhausted: boolean };

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
}

export interface SpoolRecovery {
  segments: number;
  records: number;
  streams: number;
  /** Torn tails were cut off; everything else is left as it was found. */
  problems: readonly SpoolProblem[];
}

export type LineTag = "journal" | "signal" | "payload";

export interface Spool {
  /** What the start found. */
  readonly recovery: SpoolRecovery;
  /** Returns once the bytes are with the operating system: *appended* (`kernel.md` §11). Lines of the stream go first. */
  append(stream: StreamId, kind: RecordKind, payload: string | Uint8Array, evidence?: boolean): AppendResult;
  /** Adds a line of JSON to the stream's next group record, written within 50 ms. */
  line(stream: StreamId, tag: LineTag, json: string): void;
  /** Writes the stream's waiting lines now. */
  flush(stream: StreamId): AppendResult | null;
  /** Writes what waits and syncs; settles when synced. */
  sync(): Promise<boolean>;
  /** Nothing more comes for the stream. */
  closeStream(stream: StreamId): void;
  marks(stream: StreamId): SpoolMarks;
  /** Acknowledged by whoever exports, up to `seq`. */
  markExported(stream: StreamId, seq: number): AppendResult;
  /** Removes the oldest segments of which everything is exported. @returns segments removed. */
  reclaim(): number;
  /** Sets bytes aside for a session's evidence, on top of what it has. False when the budget is short. */
  reserve(sessionId: string, bytes: number): boolean;
  /** Gives a session's reservation back. */
  release(sessionId: string): void;
  reserved(sessionId: string): number;
  measures(): SpoolMeasures;
  /** Called after each group write and at least every 250 ms while there is pressure. */
  onMeasures(listener: (measures: SpoolMeasures) => void): () => void;
  readSession(sessionId: string): ReadSession;
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

interface Stream extends StreamId {
  seq: number;
  link: Uint8Array;
  lines: string[];
  lineBytes: number;
  synced: number;
  exported: number;
  open: boolean;
}

interface Prepared {
  stream: Stream;
  frame: Buffer;
  link: Uint8Array;
}

const marksStream: StreamId = { sessionId: "", epoch: 0 };

/** Reads what is there, mends torn tails, and appends to a new segment from then on. */
export function createSpool(options: SpoolOptions): Spool {
  const { store, clock } = options;
  const diskBytesMax = options.diskBytesMax ?? limits.SPOOL_DISK_BYTES_MAX;
  const segmentBytesMax = options.segmentBytesMax ?? limits.SPOOL_SEGMENT_BYTES_MAX;
  const streams = new Map<string, Stream>();
  const reservations = new Map<string, number>();
  const segments = new Map<string, { bytes: number; lastSeq: Map<string, number> }>();
  const listeners = new Set<(measures: SpoolMeasures) => void>();
  const recovery = recover();
  const dirty = new Set<Stream>();
  const unsyncedStreams = new Set<Stream>();
  const unsyncedSegments = new Set<string>();
  let current = "";
  let nextSegment = segmentAfter(store.list());
  let usedBytes = 0;
  for (const segment of segments.values()) usedBytes += segment.bytes;
  let reservedBytes = 0;
  let pendingBytes = 0;
  let freeBytes = store.freeBytes();
  let oldestUnsyncedNs = -1;
  let appendFailures = 0;
  let syncFailures = 0;
  let linesLost = 0;
  let syncTimer: TimerHandle | null = null;
  let pressureTimer: TimerHandle | null = null;
  let closed = false;

  function recover(): SpoolRecovery {
    const chain = createChainCheck();
    const problems: SpoolProblem[] = [];
    let records = 0;
    const torn = scanStore(
      store,
      (record, segment, offset) => {
        records += 1;
        chain.check(record, segment, offset);
        segmentOf(segment).lastSeq.set(streamKey(record.sessionId, record.epoch), record.seq);
      },
      (problem) => problems.push(problem),
    );
    for (const tail of torn) store.truncate(tail.segment, tail.offset);
    for (const name of store.list()) segmentOf(name).bytes = store.read(name).length;
    const heads = chain.heads();
    for (const [key, head] of heads) {
      const { sessionId, epoch, seq, link } = head;
      const exported = chain.exportedSeq(key);
      streams.set(key, { sessionId, epoch, seq, link, lines: [], lineBytes: 0, synced: seq, exported, open: false });
    }
    return { segments: segments.size, records, streams: heads.size, problems: [...problems, ...chain.problems()] };
  }
  function segmentOf(name: string): { bytes: number; lastSeq: Map<string, number> } {
    const known = segments.get(name) ?? { bytes: 0, lastSeq: new Map<string, number>() };
    segments.set(name, known);
    return known;
  }
  const streamOf = (id: StreamId): Stream => {
    const key = streamKey(id.sessionId, id.epoch);
    const known = streams.get(key);
    if (known !== undefined) {
      known.open = true;
      return known;
    }
    if (streams.size >= limits.SPOOL_STREAMS_MAX) forgetOneStream(streams);
    const made: Stream = { ...id, seq: 0, link: GENESIS, lines: [], lineBytes: 0, synced: 0, exported: 0, open: true };
    streams.set(key, made);
    return made;
  };
  const available = (): number => Math.min(diskBytesMax - usedBytes, freeBytes) - reservedBytes;
  const prepare = (stream: Stream, kind: RecordKind, payload: Uint8Array): Prepared => {
    const { sessionId, epoch, link: prev } = stream;
    const seq = stream.seq + 1;
    const { frame, link } = encodeFrame({ kind, sessionId, epoch, seq, wallMs: clock.wallMs(), prev, payload });
    return { stream, frame, link };
  };
  /** All or none of the frames are appended. */
  const write = (frames: readonly Prepared[], bytes: number): StoreFailure | null => {
    if (current === "" || segmentOf(current).bytes + bytes > segmentBytesMax) {
      current = String(nextSegment++).padStart(10, "0");
      freeBytes = store.freeBytes();
    }
    const one = frames.length === 1 ? (frames[0] as Prepared).frame : Buffer.concat(frames.map((f) => f.frame));
    const failure = store.append(current, one);
    if (failure !== null) {
      appendFailures += 1;
      freeBytes = store.freeBytes();
      // Behind a torn tail nothing may follow: the next record starts a segment of its own.
      if (failure.torn) current = "";
      return failure;
    }
    const segment = segmentOf(current);
    segment.bytes += bytes;
    usedBytes += bytes;
    freeBytes -= bytes;
    for (const { stream, link } of frames) {
      stream.seq += 1;
      stream.link = link;
      segment.lastSeq.set(streamKey(stream.sessionId, stream.epoch), stream.seq);
      unsyncedStreams.add(stream);
    }
    unsyncedSegments.add(current);
    if (oldestUnsyncedNs === -1) oldestUnsyncedNs = clock.nowNs();
    armSync();
    return null;
  };
  const takeLines = (stream: Stream): string[] => {
    const { lines } = stream;
    pendingBytes -= stream.lineBytes;
    stream.lines = [];
    stream.lineBytes = 0;
    dirty.delete(stream);
    return lines;
  };
  /** Lines that could not be written wait for the next try; past the bound they are lost, and counted. */
  const giveBack = (stream: Stream, lines: string[]): void => {
    let bytes = 0;
    for (const line of lines) bytes += line.length + 1;
    if (pendingBytes + bytes > limits.SPOOL_PENDING_BYTES_MAX) {
      linesLost += lines.length;
      return;
    }
    stream.lines = lines.concat(stream.lines);
    stream.lineBytes += bytes;
    pendingBytes += bytes;
    dirty.add(stream);
    armSync();
  };
  const refused = (
    code: "no_space" | "io" | "too_large" | "closed",
    detail: string,
    exhausted: boolean,
  ): AppendResult => ({
    ok: false,
    code,
    detail,
    exhausted,
  });
  const appendNow = (stream: Stream, kind: RecordKind, payload: Uint8Array, evidence: boolean): AppendResult => {
    if (closed) return refused("closed", "the spool is closed", true);
    const bytes = frameBytes(stream.sessionId, payload.length);
    if (bytes > limits.SPOOL_RECORD_BYTES_MAX) {
      return refused("too_large", `a record of ${bytes} bytes is past ${limits.SPOOL_RECORD_BYTES_MAX}`, false);
    }
    const mine = reservations.get(stream.sessionId) ?? 0;
    const held = evidence ? Math.min(mine, bytes) : 0;
    if (bytes - held > available()) return refused("no_space", "the disk budget is used up", mine < bytes);
    const failure = write([prepare(stream, kind, payload)], bytes);
    if (failure !== null) return refused(failure.code, failure.detail, mine < bytes || failure.code === "no_space");
    if (held > 0) setReservation(stream.sessionId, mine - held);
    return { ok: true, seq: stream.seq };
  };
  const setReservation = (sessionId: string, bytes: number): void => {
    reservedBytes += bytes - (reservations.get(sessionId) ?? 0);
    if (bytes === 0) reservations.delete(sessionId);
    else reservations.set(sessionId, bytes);
  };
  const flushStream = (stream: Stream): AppendResult | null => {
    if (stream.lines.length === 0) return null;
    const lines = takeLines(stream);
    const result = appendNow(stream, "group", groupOf(lines), false);
    if (!result.ok) giveBack(stream, lines);
    return result;
  };
  /** One write for the groups of all streams. */
  const flushAll = (): void => {
    let taken: [Stream, string[]][] = [];
    let frames: Prepared[] = [];
    let bytes = 0;
    const put = (): void => {
      const written = frames.length === 0 || (bytes <= available() && write(frames, bytes) === null);
      if (!written) for (const [stream, lines] of taken) giveBack(stream, lines);
      taken = [];
      frames = [];
      bytes = 0;
    };
    for (const stream of [...dirty]) {
      const lines = takeLines(stream);
      const prepared = prepare(stream, "group", groupOf(lines));
      if (bytes + prepared.frame.length > limits.SPOOL_RECORD_BYTES_MAX) put();
      taken.push([stream, lines]);
      frames.push(prepared);
      bytes += prepared.frame.length;
    }
    put();
  };
  const measures = (): SpoolMeasures => {
    const exported = options.exportMeasure?.() ?? { fill: 0, lagMs: 0 };
    const disk = (usedBytes + reservedBytes) / Math.max(1, Math.min(diskBytesMax, usedBytes + freeBytes));
    const fill = Math.min(1, Math.max(pendingBytes / limits.SPOOL_PENDING_BYTES_MAX, disk, exported.fill));
    const age = oldestUnsyncedNs === -1 ? 0 : (clock.nowNs() - oldestUnsyncedNs) / NS_PER_MS;
    const lagMs = Math.max(age, exported.lagMs);
    return {
      fill,
      lagMs,
      usedBytes,
      reservedBytes,
      pendingBytes,
      segments: segments.size,
      appendFailures,
      syncFailures,
      linesLost,
    };
  };
  const tellMeasures = (): void => {
    if (listeners.size === 0) return;
    const now = measures();
    for (const listener of listeners) listener(now);
    if (closed || pressureTimer !== null || (now.fill < 0.8 && now.lagMs < 2_000)) return;
    pressureTimer = clock.timerAt(after(limits.SPOOL_PRESSURE_EVERY_MS), () => {
      pressureTimer = null;
      tellMeasures();
    });
  };
  const after = (ms: number): MonoNs => asMonoNs(clock.nowNs() + msToNs(ms));
  const armSync = (): void => {
    if (syncTimer !== null || closed) return;
    syncTimer = clock.timerAt(after(options.syncMs ?? limits.SPOOL_SYNC_MS), () => {
      syncTimer = null;
      void syncGroup();
    });
  };
  const retrySync = (since: number, upTo: readonly [Stream, number][]): void => {
    if (oldestUnsyncedNs === -1 || since < oldestUnsyncedNs) oldestUnsyncedNs = since;
    for (const [stream] of upTo) unsyncedStreams.add(stream);
    armSync();
  };
  const syncGroup = (): Promise<boolean> => {
    flushAll();
    const since = oldestUnsyncedNs;
    oldestUnsyncedNs = -1;
    const upTo: [Stream, number][] = [];
    for (const stream of unsyncedStreams) upTo.push([stream, stream.seq]);
    unsyncedStreams.clear();
    const names = [...unsyncedSegments];
    unsyncedSegments.clear();
    if (names.length === 0) {
      tellMeasures();
      return Promise.resolve(true);
    }
    return new Promise((resolve) => {
      let left = names.length;
      let good = true;
      const finish = (): void => {
        if (good) for (const [stream, seq] of upTo) stream.synced = Math.max(stream.synced, seq);
        else retrySync(since, upTo);
        tellMeasures();
        resolve(good);
      };
      for (const name of names) {
        store.sync(name, (failure) => {
          if (failure !== null) {
            good = false;
            syncFailures += 1;
            unsyncedSegments.add(name);
          }
          left -= 1;
          if (left === 0) finish();
        });
      }
    });
  };
  const reclaimable = (segment: { lastSeq: Map<string, number> }): boolean => {
    for (const [key, seq] of segment.lastSeq) {
      if (key !== streamKey("", 0) && (streams.get(key)?.exported ?? 0) < seq) return false;
    }
    return true;
  };

  const spool: Spool = {
    recovery,
    append(id, kind, payload, evidence = false) {
      const stream = streamOf(id);
      const lines = flushStream(stream);
      if (lines !== null && !lines.ok && !evidence) return lines;
      return appendNow(stream, kind, typeof payload === "string" ? Buffer.from(payload, "utf8") : payload, evidence);
    },
    line(id, tag, json) {
      if (closed) return;
      const stream = streamOf(id);
      const text = `${tag} ${json}`;
      // Counted in UTF-16 units: a bound, not an account.
      stream.lines.push(text);
      stream.lineBytes += text.length + 1;
      pendingBytes += text.length + 1;
      dirty.add(stream);
      armSync();
      if (stream.lineBytes >= limits.SPOOL_GROUP_BYTES_MAX) flushStream(stream);
      else if (pendingBytes >= limits.SPOOL_PENDING_BYTES_MAX) flushAll();
    },
    flush: (id) => flushStream(streamOf(id)),
    sync: syncGroup,
    closeStream(id) {
      const stream = streams.get(streamKey(id.sessionId, id.epoch));
      if (stream === undefined) return;
      flushStream(stream);
      stream.open = false;
    },
    marks(id) {
      const stream = streams.get(streamKey(id.sessionId, id.epoch));
      return { appended: stream?.seq ?? 0, synced: stream?.synced ?? 0, exported: stream?.exported ?? 0 };
    },
    markExported(id, seq) {
      const stream = streamOf(id);
      stream.exported = Math.max(stream.exported, Math.min(seq, stream.seq));
      return appendNow(streamOf(marksStream), "mark", markOf(stream), false);
    },
    reclaim() {
      let removed = 0;
      for (const name of [...segments.keys()].sort()) {
        const segment = segments.get(name);
        if (name === current || segment === undefined || !reclaimable(segment)) break;
        // The marks that explain the missing records must stay behind.
        for (const key of segment.lastSeq.keys()) {
          const stream = streams.get(key);
          if (stream !== undefined && stream.sessionId !== "") spool.markExported(stream, stream.exported);
        }
        if (store.remove(name) !== null) break;
        segments.delete(name);
        usedBytes -= segment.bytes;
        removed += 1;
      }
      freeBytes = store.freeBytes();
      return removed;
    },
    reserve(sessionId, bytes) {
      freeBytes = store.freeBytes();
      if (closed || bytes > available()) return false;
      setReservation(sessionId, (reservations.get(sessionId) ?? 0) + bytes);
      return true;
    },
    release: (sessionId) => setReservation(sessionId, 0),
    reserved: (sessionId) => reservations.get(sessionId) ?? 0,
    measures,
    onMeasures(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    readSession(sessionId) {
      flushAll();
      return readSession(store, sessionId);
    },
    verify() {
      flushAll();
      return verifySpool(store);
    },
    async close() {
      if (closed) return;
      await syncGroup();
      closed = true;
      syncTimer?.clear();
      pressureTimer?.clear();
      store.close();
    },
  };
  return spool;
}

function groupOf(lines: readonly string[]): Uint8Array {
  return Buffer.from(lines.join("\n"), "utf8");
}

function markOf(stream: Stream): Uint8Array {
  const { sessionId, epoch, exported: seq } = stream;
  const link = seq === stream.seq ? { link: Buffer.from(stream.link).toString("hex") } : {};
  return Buffer.from(JSON.stringify({ sessionId, epoch, seq, ...link }), "utf8");
}

/** The longest-known stream of which nothing more is expected; its chain would start anew. */
function forgetOneStream(streams: Map<string, Stream>): void {
  for (const [key, stream] of streams) {
    if (stream.open || stream.lines.length > 0 || stream.sessionId === "") continue;
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
