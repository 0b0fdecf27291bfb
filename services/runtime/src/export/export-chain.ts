/** One chain on its way to the replay service: what was made of it, what waits, what is acknowledged. */
import { sessionKey } from "@rspp/base/session-key";
import type { TimelineRecord } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import type { StreamId } from "../spool/spool.ts";
import { type ChainPlace, writePlace } from "./place.ts";

/** The end of one spool record: once the timeline's record `sequence` is acknowledged, the spool's `seq` is exported. */
interface Boundary {
  readonly seq: number;
  readonly wallMs: number;
  readonly place: ChainPlace;
}

/**
 * `asking`: how far it is acknowledged is not known yet. `passing`: records that are acknowledged are made again, to know
 * what follows. `live`: the machine counts it. `halted`: left alone.
 */
export type ChainStatus = "asking" | "passing" | "live" | "halted";

export class ExportChain {
  readonly id: StreamId;
  /** Tenant and session as the machine knows them; made once, since every record is told with it. */
  readonly session: string;
  readonly place: ChainPlace;
  status: ChainStatus = "asking";
  /** Nothing of it was ever marked as acknowledged: it begins at once, and is not asked for. */
  fresh = false;
  /** The resume query has gone out on the present connection. */
  asked = false;
  /** What the service acknowledged when it was asked. */
  resume: { sequence: number; head: Uint8Array } = { sequence: 0, head: new Uint8Array(0) };
  /** Spool records made so far. */
  seq: number;
  /** Its last record said that nothing more comes. */
  ended = false;
  /** Something was acknowledged and not yet marked in the spool. */
  dirty = false;
  /** Records acknowledged while export was behind. */
  caughtUp = 0;
  /** Not acknowledged, by index from `acked` on. */
  readonly waiting: { record: TimelineRecord; bytes: number }[] = [];
  acked = 0;
  private readonly boundaries: Boundary[] = [];
  private exported: Boundary | null = null;

  constructor(id: StreamId, place: ChainPlace, seq: number) {
    this.id = { ...id };
    this.session = sessionKey(id);
    this.place = place;
    this.seq = seq;
  }

  /** Wall time of the oldest spool record that is not wholly acknowledged; null for none. */
  get oldestWallMs(): number | null {
    return this.boundaries[0]?.wallMs ?? null;
  }

  isLive(): boolean {
    return this.status === "live";
  }

  get settled(): boolean {
    return this.boundaries.length === 0;
  }

  recordDone(seq: number, wallMs: number): void {
    this.seq = seq;
    this.boundaries.push({ seq, wallMs, place: { ...this.place } });
    this.export();
  }

  /** Everything below `nextIndex` is acknowledged. @returns records and bytes that wait no longer; `late`: but for marks. */
  acknowledge(nextIndex: number): { records: number; bytes: number; late: number } {
    const gone = this.waiting.splice(0, Math.max(0, nextIndex - this.acked));
    this.acked = Math.max(this.acked, nextIndex);
    this.export();
    const late = gone.filter(({ record }) => !isCaughtUpMark(record)).length;
    return { records: gone.length, bytes: gone.reduce((sum, { bytes }) => sum + bytes, 0), late };
  }

  /** What the spool is to be told, once. */
  takeMark(): { seq: number; note: string } | null {
    if (!this.dirty || this.exported === null) return null;
    this.dirty = false;
    const { seq, place } = this.exported;
    return { seq, note: writePlace(place) };
  }

  private export(): void {
    for (let first = this.boundaries[0]; first !== undefined; first = this.boundaries[0]) {
      if (first.place.sequence > this.acked) return;
      this.boundaries.shift();
      this.exported = first;
      this.dirty = true;
    }
  }
}

export const CAUGHT_UP = "export_caught_up";

/** The mark of an earlier catching up: that it was late itself is worth no other. */
function isCaughtUpMark({ body }: TimelineRecord): boolean {
  return body.case === "marker" && body.value.name === CAUGHT_UP;
}
