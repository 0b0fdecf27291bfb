/** Reads a spool's records in the order of its segments, in pieces, behind its writer. */
import { limits } from "../limits.ts";
import { decodeFrame, findFrame, HEADER_BYTES, type SpoolRecord } from "../spool/frame.ts";
import type { SpoolStore } from "../spool/store.ts";

const pieceBytes = 65_536;

export class SpoolCursor {
  private readonly store: SpoolStore;
  private segment = "";
  /** In the segment, of the next record. */
  private offset = 0;
  private piece: Buffer = Buffer.alloc(0);
  /** Where the piece stands in the segment. */
  private pieceAt = 0;
  private next: { record: SpoolRecord; end: number } | null = null;
  /** Bytes that were no record and were passed over. */
  skippedBytes = 0;

  constructor(store: SpoolStore) {
    this.store = store;
  }

  /** The next record, again and again until {@link advance}; null at the end of what is written. */
  peek(): SpoolRecord | null {
    while (this.next === null) {
      if (this.segment === "" && !this.nextSegment()) return null;
      if (this.read()) continue;
      if (!this.nextSegment()) return null;
    }
    return this.next.record;
  }

  advance(): void {
    if (this.next !== null) this.offset = this.next.end;
    this.next = null;
  }

  /** Back to the oldest segment. */
  rewind(): void {
    this.segment = "";
    this.offset = 0;
    this.drop();
  }

  private drop(): void {
    this.piece = Buffer.alloc(0);
    this.pieceAt = this.offset;
    this.next = null;
  }

  /** False when there is none after this one. */
  private nextSegment(): boolean {
    const after = this.store.list().find((name) => name > this.segment);
    if (after === undefined) return false;
    this.segment = after;
    this.offset = 0;
    this.drop();
    return true;
  }

  /** False at the end of the segment; true when there is a record, or something was passed over. */
  private read(): boolean {
    let wanted = pieceBytes;
    for (;;) {
      const at = this.offset - this.pieceAt;
      const found = at < this.piece.length ? decodeFrame(this.piece, at) : null;
      if (found?.status === "ok") {
        this.next = { record: found.record, end: this.pieceAt + found.end };
        return true;
      }
      const more = this.fill(wanted);
      if (!more) return this.skip();
      wanted = Math.min(8 * wanted, limits.SPOOL_RECORD_BYTES_MAX + HEADER_BYTES);
    }
  }

  /** Reads the piece anew from the next record on; false when that brings nothing that was not there. */
  private fill(bytes: number): boolean {
    const known = this.pieceAt + this.piece.length;
    const read = this.store.readRange(this.segment, this.offset, Math.max(bytes, known - this.offset + pieceBytes));
    this.piece = Buffer.from(read.buffer, read.byteOffset, read.length);
    this.pieceAt = this.offset;
    return this.pieceAt + this.piece.length > known;
  }

  /** Damage in the middle of a segment is passed over; a torn tail is left until a segment follows. */
  private skip(): boolean {
    if (this.piece.length === 0) return false;
    const next = findFrame(this.piece, 0);
    if (next === -1) return false;
    this.skippedBytes += next;
    this.offset = this.pieceAt + next;
    return true;
  }
}
