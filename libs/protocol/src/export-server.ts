import { chainGenesis, chainNext, streamKey } from "./export-chain.ts";
import type {
  ExportAck,
  ExportBatch,
  ExportRefusal,
  ExportServerOutput,
  ExportServerState,
  RecordHeader,
  ServerStream,
  StreamId,
} from "./export-types.ts";
import { limits } from "./limits.ts";

export function createExportServer(streamsMax: number = limits.EXPORT_STREAMS_MAX): ExportServerState {
  return { streams: {}, streamCount: 0, streamsMax };
}

/**
 * Takes a batch: in order or not at all. What continues the chain goes to the store and is acknowledged when
 * {@link exportServerStored} says so; what is already here is acknowledged again and not stored twice; a gap or an altered
 * chain is refused with the index that would be taken next. Receivers check the batch's epoch against the floor before
 * this (kernel.md §7). `predecessorHead`: the last head known here of the session's earlier epoch, "" when none is.
 */
export function exportServerReceive(
  state: ExportServerState,
  batch: ExportBatch,
  predecessorHead: string,
): ExportServerOutput[] {
  const out: ExportServerOutput[] = [];
  const key = streamKey(batch.stream.session, batch.stream.epoch);
  let stream = state.streams[key];
  if (stream === undefined) {
    if (state.streamCount >= state.streamsMax) return [refusal(batch.stream, "streams_full", 0)];
    stream = openStream(batch.stream);
    state.streams[key] = stream;
    state.streamCount++;
    out.push({
      kind: "stream_opened",
      stream: { ...batch.stream },
      linked: batch.stream.predecessorHead === predecessorHead,
    });
  }
  if (stream.id.predecessorHead !== batch.stream.predecessorHead) {
    out.push(refusal(batch.stream, "altered", stream.accepted));
    return out;
  }
  const fresh: RecordHeader[] = [];
  let duplicates = false;
  let refused: ExportRefusal | null = null;
  for (const header of batch.records) {
    const verdict = judge(stream, header);
    if (verdict === "duplicate") duplicates = true;
    else if (verdict === "next") {
      accept(stream, header);
      fresh.push(header);
    } else {
      refused = verdict;
      break;
    }
  }
  if (fresh.length > 0) out.push({ kind: "store", stream: { ...stream.id }, records: fresh });
  if (duplicates) out.push({ kind: "ack", ack: ackOf(stream) });
  if (refused !== null) out.push(refusal(stream.id, refused, stream.accepted));
  return out;
}

/** The store holds every record below `nextIndex` for good: only now are they acknowledged. */
export function exportServerStored(
  state: ExportServerState,
  session: string,
  epoch: number,
  nextIndex: number,
): ExportServerOutput[] {
  const stream = state.streams[streamKey(session, epoch)];
  if (stream === undefined || nextIndex <= stream.stored || nextIndex > stream.accepted) return [];
  stream.stored = nextIndex;
  stream.storedHead = chainAt(stream, nextIndex - 1) ?? stream.storedHead;
  return [{ kind: "ack", ack: ackOf(stream) }];
}

/** After a restart: streams begin again at what the store really holds; anything accepted and not stored is asked again. */
export function exportServerRestore(
  streamsMax: number,
  stored: readonly { id: StreamId; nextIndex: number; recent: readonly string[] }[],
): ExportServerState {
  const state = createExportServer(streamsMax);
  for (const { id, nextIndex, recent } of stored) {
    const stream = openStream(id);
    stream.accepted = nextIndex;
    stream.stored = nextIndex;
    stream.recent = recent.slice(-limits.EXPORT_SERVER_RECENT_RECORDS);
    stream.acceptedHead = stream.recent.at(-1) ?? stream.acceptedHead;
    stream.storedHead = nextIndex === 0 ? "" : stream.acceptedHead;
    state.streams[streamKey(id.session, id.epoch)] = stream;
    state.streamCount++;
  }
  return state;
}

/** Forgets a stream that is complete or given up; its place is free again. */
export function exportServerForget(state: ExportServerState, session: string, epoch: number): void {
  const key = streamKey(session, epoch);
  if (state.streams[key] === undefined) return;
  delete state.streams[key];
  state.streamCount--;
}

function openStream(id: StreamId): ServerStream {
  return {
    id: { ...id },
    accepted: 0,
    acceptedHead: chainGenesis(id),
    stored: 0,
    storedHead: "",
    recent: [],
  };
}

function judge(stream: ServerStream, header: RecordHeader): "next" | "duplicate" | "gap" | "altered" {
  if (header.index > stream.accepted) return "gap";
  if (header.index === stream.accepted) {
    return header.chain === chainNext(stream.acceptedHead, header.index, header.digest) ? "next" : "altered";
  }
  const known = chainAt(stream, header.index);
  return known === null || known === header.chain ? "duplicate" : "altered";
}

function accept(stream: ServerStream, header: RecordHeader): void {
  stream.accepted++;
  stream.acceptedHead = header.chain;
  stream.recent.push(header.chain);
  // What is accepted and not yet stored must stay, so that its acknowledgement can name its head.
  const pending = stream.accepted - stream.stored;
  while (stream.recent.length > Math.max(limits.EXPORT_SERVER_RECENT_RECORDS, pending)) stream.recent.shift();
}

function chainAt(stream: ServerStream, index: number): string | null {
  return stream.recent[index - (stream.accepted - stream.recent.length)] ?? null;
}

function ackOf(stream: ServerStream): ExportAck {
  return { session: stream.id.session, epoch: stream.id.epoch, nextIndex: stream.stored, head: stream.storedHead };
}

function refusal(id: StreamId, reason: ExportRefusal, nextIndex: number): ExportServerOutput {
  return { kind: "refuse", refused: { session: id.session, epoch: id.epoch, reason, nextIndex } };
}
