import type { MonoNs } from "@rspp/base/brand";

// Timeline export (kernel.md §11): appended -> synced -> exported. The machines see record headers alone; the bytes stay
// in the runtime's spool until they are acknowledged, and are read from there by the driver.

/** One record's header. `index` counts from 0 in its (session, epoch); `chain` covers every digest up to this one. */
export interface RecordHeader {
  index: number;
  /** SHA-256 (hex) of the record's content, keyed or not: the chain is over digests, so a lawful erasure still verifies. */
  digest: string;
  chain: string;
  bytes: number;
  appendedAtNs: MonoNs;
}

/** Names a stream of records and what it continues: the head of the predecessor's last exported record, "" for none. */
export interface StreamId {
  session: string;
  epoch: number;
  predecessorHead: string;
}

export interface ExportBatch {
  stream: StreamId;
  records: RecordHeader[];
}

/** `nextIndex` records are stored for good; `head` is the chain value of the last of them ("" when none). */
export interface ExportAck {
  session: string;
  epoch: number;
  nextIndex: number;
  head: string;
}

export type ExportRefusal = "gap" | "altered" | "streams_full";

export interface ExportRefused {
  session: string;
  epoch: number;
  reason: ExportRefusal;
  /** The index the server would take next. */
  nextIndex: number;
}

// --- exporter (runtime) ---

export interface ExportStream {
  id: StreamId;
  /** One past the last record in each state; acked <= sent <= synced <= appended. */
  appended: number;
  synced: number;
  sent: number;
  acked: number;
  /** Chain value of the last appended record. */
  head: string;
  /** Headers from `acked` on, without holes, bounded; the rest is in the spool only. */
  buffer: RecordHeader[];
  /** A load from the spool is under way. */
  loading: boolean;
  /** When the first record not in `buffer` was appended, or a little earlier; null when all are in it. */
  unbufferedSinceNs: MonoNs | null;
  /** No more appends will come. */
  closed: boolean;
  /** The server found it altered, or the spool lost it: left alone until an operator acts. */
  halted: "altered" | "spool_lost" | null;
  behind: boolean;
}

export interface ExporterConfig {
  windowRecords: number;
  windowBytes: number;
  bufferRecords: number;
  batchRecords: number;
}

export interface ExporterState {
  config: ExporterConfig;
  connection: number | null;
  streams: Record<string, ExportStream>;
  streamCount: number;
  /** Keys in the order of their turn to send. */
  order: string[];
  inFlightRecords: number;
  inFlightBytes: number;
  /** When the oldest unanswered sending began; null when nothing is in flight. */
  awaitingSinceNs: MonoNs | null;
}

export type ExporterInput =
  | { kind: "connected"; connection: number }
  | { kind: "disconnected"; connection: number }
  /** The spool's group fsync covers every record below `throughIndex + 1`. */
  | { kind: "synced"; session: string; epoch: number; throughIndex: number }
  | { kind: "loaded"; session: string; epoch: number; records: RecordHeader[] }
  | { kind: "load_failed"; session: string; epoch: number }
  | { kind: "ack"; ack: ExportAck }
  | { kind: "refused"; refused: ExportRefused }
  | { kind: "close"; session: string; epoch: number }
  | { kind: "tick" };

export type ExporterOutput =
  | { kind: "send"; connection: number; batch: ExportBatch }
  /** Read headers from the spool, `count` at most, and answer `loaded` or `load_failed`. */
  | { kind: "load"; session: string; epoch: number; fromIndex: number; count: number }
  | { kind: "exported"; session: string; epoch: number; nextIndex: number }
  /** All of a closed stream is exported; the spool may let it go. */
  | { kind: "stream_done"; session: string; epoch: number; head: string }
  | { kind: "behind"; session: string; epoch: number; unexported: number }
  | { kind: "caught_up"; session: string; epoch: number }
  | { kind: "halted"; session: string; epoch: number; reason: "altered" | "spool_lost" }
  /** The server has less than it once acknowledged; sending goes on from what it has. */
  | { kind: "server_lost"; session: string; epoch: number; fromIndex: number; toIndex: number }
  | { kind: "reconnect"; connection: number };

export interface ExportLag {
  unexportedRecords: number;
  /** Age of the oldest record not yet exported, 0 when there is none; never less than the truth (kernel.md §11). */
  oldestAgeMs: number;
  streamsBehind: number;
}

// --- server (replay) ---

export interface ServerStream {
  id: StreamId;
  /** Accepted in order and handed to the store. */
  accepted: number;
  acceptedHead: string;
  /** Stored for good, hence acknowledged. */
  stored: number;
  storedHead: string;
  /** Chain values of the last records accepted; `recent[i]` is of index `accepted - recent.length + i`. */
  recent: string[];
}

export interface ExportServerState {
  streams: Record<string, ServerStream>;
  streamCount: number;
  streamsMax: number;
}

export type ExportServerOutput =
  | { kind: "store"; stream: StreamId; records: RecordHeader[] }
  | { kind: "ack"; ack: ExportAck }
  | { kind: "refuse"; refused: ExportRefused }
  /** First records of a stream; `linked` is false when the predecessor's head is not the one known here: declared loss. */
  | { kind: "stream_opened"; stream: StreamId; linked: boolean };
