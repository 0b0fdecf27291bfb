import type { MonoNs } from "@rspp/base/brand";
import { monoPlusNs, msToNs, nsToMs } from "@rspp/base/brand";
import { invariant, unreachable } from "@rspp/base/invariant";
import type { Result } from "@rspp/base/result";
import { err, ok } from "@rspp/base/result";
import { chainGenesis, chainNext, streamKey } from "./export-chain.ts";
import type {
  ExportAck,
  ExporterConfig,
  ExporterInput,
  ExporterOutput,
  ExporterState,
  ExportLag,
  ExportRefused,
  ExportStream,
  RecordHeader,
  StreamId,
} from "./export-types.ts";
import { limits } from "./limits.ts";

export function createExporter(config: Partial<ExporterConfig> = {}): ExporterState {
  return {
    config: {
      windowRecords: limits.EXPORT_WINDOW_RECORDS,
      windowBytes: limits.EXPORT_WINDOW_BYTES,
      bufferRecords: limits.EXPORT_BUFFER_RECORDS,
      batchRecords: limits.EXPORT_BATCH_RECORDS,
      ...config,
    },
    connection: null,
    streams: {},
    streamCount: 0,
    order: [],
    inFlightRecords: 0,
    inFlightBytes: 0,
    awaitingSinceNs: null,
  };
}

/**
 * Opens a stream before its first record, or takes one up again from the spool after a restart: `recovered` says how far
 * it had come; what is unacknowledged is then read back from the spool.
 */
export function exporterOpen(
  state: ExporterState,
  id: StreamId,
  recovered: { nextIndex: number; acked: number; head: string } | null,
  now: MonoNs,
): Result<void, "streams_full" | "already_open"> {
  const key = streamKey(id.session, id.epoch);
  if (state.streams[key] !== undefined) return err("already_open");
  if (state.streamCount >= limits.EXPORT_STREAMS_MAX) return err("streams_full");
  const nextIndex = recovered?.nextIndex ?? 0;
  const acked = recovered?.acked ?? 0;
  invariant(acked <= nextIndex, "no more is acknowledged than was appended", { acked, nextIndex });
  state.streams[key] = {
    id: { ...id },
    appended: nextIndex,
    synced: nextIndex,
    sent: acked,
    acked,
    head: nextIndex === 0 ? chainGenesis(id) : (recovered?.head ?? ""),
    buffer: [],
    loading: false,
    unbufferedSinceNs: acked < nextIndex ? now : null,
    closed: false,
    halted: null,
    behind: false,
  };
  state.order.push(key);
  state.streamCount++;
  return ok(undefined);
}

/**
 * Counts a record the spool has appended and gives its header. Never refuses and never waits, whatever export does
 * (F-154): past the buffer's bound the header lives in the spool alone and the stream is `behind`.
 */
export function exporterAppend(
  state: ExporterState,
  record: { session: string; epoch: number; digest: string; bytes: number },
  now: MonoNs,
  out: ExporterOutput[],
): RecordHeader {
  const stream = state.streams[streamKey(record.session, record.epoch)];
  invariant(stream !== undefined && !stream.closed, "records are appended to an open stream", record.session);
  const index = stream.appended++;
  const chain = chainNext(stream.head, index, record.digest);
  stream.head = chain;
  const header: RecordHeader = { index, digest: record.digest, chain, bytes: record.bytes, appendedAtNs: now };
  if (stream.unbufferedSinceNs === null && stream.buffer.length < state.config.bufferRecords)
    stream.buffer.push(header);
  else {
    stream.unbufferedSinceNs ??= now;
    if (!stream.behind) {
      stream.behind = true;
      const unexported = stream.appended - stream.acked;
      out.push({ kind: "behind", session: record.session, epoch: record.epoch, unexported });
    }
  }
  return header;
}

/** One step of the exporter; `send` outputs name records whose bytes the driver reads from the spool. */
export function exporterStep(state: ExporterState, input: ExporterInput, now: MonoNs): ExporterOutput[] {
  const out: ExporterOutput[] = [];
  switch (input.kind) {
    case "connected":
      state.connection = input.connection;
      rewindAll(state);
      break;
    case "disconnected":
      if (input.connection !== state.connection) break;
      state.connection = null;
      rewindAll(state);
      break;
    case "synced": {
      const stream = find(state, input);
      if (stream !== undefined)
        stream.synced = Math.min(stream.appended, Math.max(stream.synced, input.throughIndex + 1));
      break;
    }
    case "loaded":
      takeLoaded(state, input.session, input.epoch, input.records);
      break;
    case "load_failed": {
      const stream = find(state, input);
      if (stream !== undefined) halt(state, stream, "spool_lost", out);
      break;
    }
    case "ack":
      takeAck(state, input.ack, now, out);
      break;
    case "refused":
      takeRefusal(state, input.refused, out);
      break;
    case "close": {
      const stream = find(state, input);
      if (stream !== undefined) stream.closed = true;
      finishIfDone(state, stream, out);
      break;
    }
    case "tick":
      break;
    default:
      unreachable(input);
  }
  checkTimeout(state, now, out);
  pump(state, now, out);
  return out;
}

/** How far export lags; recording pressure (kernel.md §11) is judged by it. */
export function exporterLag(state: ExporterState, now: MonoNs): ExportLag {
  const lag: ExportLag = { unexportedRecords: 0, oldestAgeMs: 0, streamsBehind: 0 };
  for (const stream of Object.values(state.streams)) {
    lag.unexportedRecords += stream.appended - stream.acked;
    if (stream.behind) lag.streamsBehind++;
    const since = stream.buffer[0]?.appendedAtNs ?? stream.unbufferedSinceNs;
    if (since !== null) lag.oldestAgeMs = Math.max(lag.oldestAgeMs, nsToMs(now - since));
  }
  return lag;
}

/** The next instant at which a `tick` does something; null when none. */
export function exporterNextDeadline(state: ExporterState): MonoNs | null {
  if (state.awaitingSinceNs === null || state.connection === null) return null;
  return monoPlusNs(state.awaitingSinceNs, msToNs(limits.EXPORT_ACK_TIMEOUT_MS));
}

function find(state: ExporterState, key: { session: string; epoch: number }): ExportStream | undefined {
  return state.streams[streamKey(key.session, key.epoch)];
}

/** After a new connection everything unacknowledged is sent again, from the last acknowledged record of each stream. */
function rewindAll(state: ExporterState): void {
  for (const stream of Object.values(state.streams)) rewind(state, stream);
  state.awaitingSinceNs = null;
  invariant(state.inFlightRecords === 0 && state.inFlightBytes === 0, "nothing is in flight after a rewind", state);
}

function rewind(state: ExporterState, stream: ExportStream): void {
  state.inFlightRecords -= stream.sent - stream.acked;
  for (const header of stream.buffer.slice(0, stream.sent - stream.acked)) state.inFlightBytes -= header.bytes;
  stream.sent = stream.acked;
}

function takeAck(state: ExporterState, ack: ExportAck, now: MonoNs, out: ExporterOutput[]): void {
  const stream = find(state, ack);
  if (stream === undefined || ack.nextIndex <= stream.acked || ack.nextIndex > stream.appended) return;
  const count = Math.min(ack.nextIndex - stream.acked, stream.buffer.length);
  const last = stream.buffer[count - 1];
  // An acknowledgement of something else than was sent is no acknowledgement.
  if (last !== undefined && last.index === ack.nextIndex - 1 && last.chain !== ack.head) {
    halt(state, stream, "altered", out);
    return;
  }
  const inFlight = Math.min(stream.sent, ack.nextIndex) - stream.acked;
  state.inFlightRecords -= inFlight;
  for (const header of stream.buffer.slice(0, inFlight)) state.inFlightBytes -= header.bytes;
  stream.buffer.splice(0, count);
  stream.acked = ack.nextIndex;
  stream.sent = Math.max(stream.sent, ack.nextIndex);
  stream.synced = Math.max(stream.synced, ack.nextIndex);
  if (stream.acked === stream.appended) stream.unbufferedSinceNs = null;
  state.awaitingSinceNs = state.inFlightRecords > 0 ? now : null;
  const { session, epoch } = stream.id;
  out.push({ kind: "exported", session, epoch, nextIndex: stream.acked });
  if (stream.behind && stream.unbufferedSinceNs === null) {
    stream.behind = false;
    out.push({ kind: "caught_up", session, epoch });
  }
  finishIfDone(state, stream, out);
}

function takeRefusal(state: ExporterState, refused: ExportRefused, out: ExporterOutput[]): void {
  const stream = find(state, refused);
  if (stream === undefined || refused.reason === "streams_full") return;
  if (refused.reason === "altered") {
    halt(state, stream, "altered", out);
    return;
  }
  rewind(state, stream);
  if (refused.nextIndex >= stream.acked) return;
  const { session, epoch } = stream.id;
  out.push({ kind: "server_lost", session, epoch, fromIndex: refused.nextIndex, toIndex: stream.acked - 1 });
  stream.unbufferedSinceNs = stream.buffer[0]?.appendedAtNs ?? stream.unbufferedSinceNs;
  stream.buffer = [];
  stream.acked = refused.nextIndex;
  stream.sent = refused.nextIndex;
  stream.loading = false;
}

function takeLoaded(state: ExporterState, session: string, epoch: number, records: RecordHeader[]): void {
  const stream = find(state, { session, epoch });
  if (stream === undefined || !stream.loading) return;
  stream.loading = false;
  for (const header of records) {
    if (header.index !== stream.acked + stream.buffer.length) continue;
    if (stream.buffer.length >= state.config.bufferRecords) break;
    stream.buffer.push({ ...header });
    // The next one was appended later than this one, so the lag is never understated.
    stream.unbufferedSinceNs = header.appendedAtNs;
  }
  if (stream.acked + stream.buffer.length === stream.appended) stream.unbufferedSinceNs = null;
}

function halt(
  state: ExporterState,
  stream: ExportStream,
  reason: "altered" | "spool_lost",
  out: ExporterOutput[],
): void {
  if (stream.halted !== null) return;
  rewind(state, stream);
  stream.halted = reason;
  out.push({ kind: "halted", session: stream.id.session, epoch: stream.id.epoch, reason });
}

function finishIfDone(state: ExporterState, stream: ExportStream | undefined, out: ExporterOutput[]): void {
  if (stream === undefined || !stream.closed || stream.acked < stream.appended) return;
  const { session, epoch } = stream.id;
  const key = streamKey(session, epoch);
  delete state.streams[key];
  state.streamCount--;
  state.order = state.order.filter((k) => k !== key);
  out.push({ kind: "stream_done", session, epoch, head: stream.head });
}

function checkTimeout(state: ExporterState, now: MonoNs, out: ExporterOutput[]): void {
  const deadline = exporterNextDeadline(state);
  if (deadline === null || now < deadline || state.connection === null) return;
  out.push({ kind: "reconnect", connection: state.connection });
  state.connection = null;
  rewindAll(state);
}

/** Sends in turn what is synced and fits the window; asks the spool for headers where the buffer ran dry. */
function pump(state: ExporterState, now: MonoNs, out: ExporterOutput[]): void {
  if (state.connection === null) return;
  for (let n = state.order.length; n > 0; n--) {
    const key = state.order.shift();
    const stream = key === undefined ? undefined : state.streams[key];
    if (key === undefined || stream === undefined) continue;
    state.order.push(key);
    if (stream.halted !== null) continue;
    loadIfDry(state, stream, out);
    sendBatch(state, stream, state.connection, now, out);
  }
}

function loadIfDry(state: ExporterState, stream: ExportStream, out: ExporterOutput[]): void {
  const fromIndex = stream.acked + stream.buffer.length;
  const room = state.config.bufferRecords - stream.buffer.length;
  const missing = Math.min(stream.synced - fromIndex, limits.EXPORT_LOAD_RECORDS);
  // Half empty first: reading one header at a time would cost the spool a seek for each.
  if (stream.loading || missing <= 0 || room * 2 < state.config.bufferRecords) return;
  stream.loading = true;
  const { session, epoch } = stream.id;
  out.push({ kind: "load", session, epoch, fromIndex, count: Math.min(missing, room) });
}

function sendBatch(
  state: ExporterState,
  stream: ExportStream,
  connection: number,
  now: MonoNs,
  out: ExporterOutput[],
): void {
  const records: RecordHeader[] = [];
  while (records.length < state.config.batchRecords && stream.sent < stream.synced) {
    const header = stream.buffer[stream.sent - stream.acked];
    if (header === undefined || state.inFlightRecords >= state.config.windowRecords) break;
    // One record alone may be larger than the window; it then travels alone.
    if (state.inFlightRecords > 0 && state.inFlightBytes + header.bytes > state.config.windowBytes) break;
    records.push({ ...header });
    stream.sent++;
    state.inFlightRecords++;
    state.inFlightBytes += header.bytes;
  }
  if (records.length === 0) return;
  state.awaitingSinceNs ??= now;
  out.push({ kind: "send", connection, batch: { stream: { ...stream.id }, records } });
}
