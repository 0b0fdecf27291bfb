/** One chain of records, (session, epoch): what may follow, what waits to be stored, what is acknowledged. */
import type { MonoNs } from "@rspp/base/brand";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { TimelineRecord } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { chainGenesis, chainNext, streamKey } from "@rspp/protocol/export-chain";
import {
  createExportServer,
  exportServerReceive,
  exportServerRestore,
  exportServerStored,
} from "@rspp/protocol/export-server";
import type { ExportServerState, ServerStream, StreamId } from "@rspp/protocol/export-types";
import type { SessionKey } from "@rspp/store/state-store";
import { sameBytes } from "@rspp/wire/timeline-chain";
import { digestIsRight } from "./digest.ts";
import { limits } from "./limits.ts";
import { encodeRecord } from "./segment-format.ts";

/** Who sent a record: told once it is stored. */
export interface Sender {
  stored(records: number, bytes: number): void;
}

export interface Pending<S extends Sender> {
  readonly record: TimelineRecord;
  readonly bytes: Uint8Array;
  readonly sender: S;
}

export interface Refusal {
  readonly sequence: number;
  readonly reason: ErrorReason;
  readonly metadata: Readonly<Record<string, string>>;
  readonly remedy: string;
}

/** `known`: here already, it is acknowledged again and not stored twice. */
export type Taken = { kind: "fresh"; bytes: number } | { kind: "known" } | { kind: "refused"; refusal: Refusal };

/** What is known of the session's other epochs. */
export interface Neighbours {
  /** The last digest of the epoch before; empty for none. */
  readonly predecessorHead: Uint8Array;
  /** The session's highest epoch: below it nothing new is taken (kernel.md §7). */
  readonly floor: number;
}

export class Chain<S extends Sender> {
  readonly session: SessionKey;
  readonly epoch: number;
  /** Everything up to here is durable; its digest. */
  stored: number;
  storedHead: Uint8Array;
  /** Digest of the last record accepted. */
  head: Uint8Array;
  readonly pending: Pending<S>[] = [];
  /** Who sent again what another stream of before had sent and what is not stored yet: told, too, once it is. */
  readonly repeated = new Set<S>();
  pendingBytes = 0;
  /** A segment of it is being written. */
  writing = false;
  /** It does not continue the head known of the epoch before: a loss, counted with its first segment. */
  unlinked = false;
  /** Given up after a failure of the store; the next sender begins from what is stored. */
  broken = false;
  private readonly server: ExportServerState;
  private readonly name: string;
  /** As the machine knows the end of what was stored before this process. */
  private readonly restored: { readonly index: number; readonly chain: string };

  constructor(session: SessionKey, epoch: number, stored: number, head: Uint8Array) {
    this.session = session;
    this.epoch = epoch;
    this.stored = stored;
    this.storedHead = head;
    this.head = head;
    this.name = JSON.stringify([session.tenantId, session.sessionId]);
    this.restored = { index: stored - 1, chain: toHex(head) };
    const id: StreamId = { session: this.name, epoch, predecessorHead: "" };
    const known = { id, nextIndex: stored, recent: [this.restored.chain] };
    this.server = stored === 0 ? createExportServer(1) : exportServerRestore(1, [known]);
  }

  /** Sequence of the last record accepted. */
  get accepted(): number {
    return this.stream()?.accepted ?? 0;
  }

  get idle(): boolean {
    return this.pending.length === 0 && !this.writing;
  }

  /** Takes the next record, knows one that is here, or refuses what does not continue the chain. */
  take(record: TimelineRecord, sender: S, neighbours: Neighbours): Taken {
    const { accepted } = this;
    const index = Number(record.sequence) - 1;
    const bytes = index < accepted ? new Uint8Array(0) : encodeRecord(record);
    const refusal = index < accepted ? null : this.refusalOf(record, bytes.length, neighbours.floor);
    if (refusal !== null) return { kind: "refused", refusal };
    const stream = this.stream();
    const id = stream?.id ?? {
      session: this.name,
      epoch: this.epoch,
      predecessorHead: toHex(record.previousDigest),
    };
    const digest = toHex(record.digest);
    const chain = index < accepted ? this.chainAt(index, digest) : chainNext(this.lastChain(id), index, digest);
    const header = { index, digest, chain, bytes: bytes.length, appendedAtNs: 0 as MonoNs };
    for (const output of exportServerReceive(this.server, { stream: id, records: [header] }, "")) {
      if (output.kind === "stream_opened") {
        this.unlinked = !sameBytes(record.previousDigest, neighbours.predecessorHead);
      } else if (output.kind === "refuse") {
        const { reason, nextIndex } = output.refused;
        return { kind: "refused", refusal: machineRefusal(index + 1, reason === "gap", nextIndex + 1) };
      } else if (output.kind === "store") {
        this.pending.push({ record, bytes, sender });
        this.pendingBytes += bytes.length;
        this.head = record.digest;
        return { kind: "fresh", bytes: bytes.length };
      }
    }
    if (index >= this.stored) this.repeated.add(sender);
    return { kind: "known" };
  }

  /**
   * The next records that make one segment of at most so many records and bytes, but for a first one that is larger where
   * `alone`; at most one segment of a chain is written at a time.
   */
  nextSegment(room: { readonly records: number; readonly bytes: number }, alone: boolean): Pending<S>[] {
    const taken: Pending<S>[] = [];
    let bytes = 0;
    for (const item of this.pending) {
      const full = taken.length >= room.records || bytes + item.bytes.length > room.bytes;
      if (full && !(alone && taken.length === 0)) break;
      taken.push(item);
      bytes += item.bytes.length;
    }
    return taken;
  }

  /** What {@link nextSegment} gave is durable. */
  segmentStored(items: readonly Pending<S>[]): void {
    const last = items.at(-1);
    if (last === undefined) return;
    this.pending.splice(0, items.length);
    for (const { bytes } of items) this.pendingBytes -= bytes.length;
    this.stored = Number(last.record.sequence);
    this.storedHead = last.record.digest;
    exportServerStored(this.server, this.name, this.epoch, this.stored);
  }

  private refusalOf(record: TimelineRecord, bytes: number, floor: number): Refusal | null {
    const sequence = Number(record.sequence);
    if (this.epoch < floor) {
      const metadata = { epoch: String(this.epoch), floor: String(floor) };
      const remedy = `Epoch ${floor} has taken this session over: send nothing more under epoch ${this.epoch}.`;
      return { sequence, reason: ErrorReason.AUTHORITY_EPOCH_MISMATCH, metadata, remedy };
    }
    if (bytes > limits.RECORD_BYTES_MAX) {
      const metadata = { bytes: String(bytes), bytes_max: String(limits.RECORD_BYTES_MAX) };
      const remedy = "Leave the record out and declare the loss in its place.";
      return { sequence, reason: ErrorReason.MESSAGE_TOO_LARGE, metadata, remedy };
    }
    if (!digestIsRight(record))
      return chainBroken(sequence, "digest is not the one of previous_digest and the content");
    // Whether the first record continues the epoch before is judged apart: its absence is a loss, not a fault.
    if (sequence !== this.accepted + 1 || sequence === 1 || sameBytes(record.previousDigest, this.head)) return null;
    return chainBroken(sequence, "previous_digest is not the digest of the record before");
  }

  private lastChain(id: StreamId): string {
    return this.stream()?.acceptedHead ?? chainGenesis(id);
  }

  /** The machine's chain value of a record that should be here already; what cannot be told any more is taken as known. */
  private chainAt(index: number, digest: string): string {
    const stream = this.stream();
    if (stream === undefined) return "";
    const at = (i: number): string | undefined => stream.recent[i - (stream.accepted - stream.recent.length)];
    if (index === this.restored.index) return digest === this.restored.chain ? digest : "";
    const before = index === 0 ? chainGenesis(stream.id) : at(index - 1);
    return before === undefined ? (at(index) ?? "") : chainNext(before, index, digest);
  }

  private stream(): ServerStream | undefined {
    return this.server.streams[streamKey(this.name, this.epoch)];
  }
}

function machineRefusal(sequence: number, gap: boolean, expected: number): Refusal {
  if (!gap) return chainBroken(sequence, "another record is stored under this sequence");
  const metadata = { expected_sequence: String(expected) };
  return { sequence, reason: ErrorReason.OUT_OF_ORDER, metadata, remedy: `Send record ${expected} first.` };
}

function chainBroken(sequence: number, problem: string): Refusal {
  const remedy = "Stop sending this chain: its records were altered, or belong to another run of the session.";
  return { sequence, reason: ErrorReason.CHAIN_BROKEN, metadata: { problem }, remedy };
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex");
}
