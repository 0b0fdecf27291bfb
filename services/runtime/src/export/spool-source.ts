/** What the spool holds for the replay service, one timeline record after another, in the order it was written. */
import type { SpoolRecord } from "../spool/frame.ts";
import { streamKey } from "../spool/scan.ts";
import type { StreamId } from "../spool/spool.ts";
import { type Converted, convert, noteSession } from "./convert.ts";
import { SpoolCursor } from "./cursor.ts";
import { ExportChain } from "./export-chain.ts";
import { exportLimits } from "./limits.ts";
import { type ChainPlace, placeAtStart, readPlace } from "./place.ts";
import type { ExporterOptions } from "./types.ts";

/** `passed`: something was read and needs no export. `lost`: the spool lacks what the chain needs to go on. */
export type Next =
  | { kind: "made"; chain: ExportChain; made: Converted }
  | { kind: "passed" }
  | { kind: "lost"; chain: ExportChain };

interface Current {
  readonly chain: ExportChain;
  readonly record: SpoolRecord;
  readonly records: Generator<Converted>;
}

export class SpoolSource {
  private readonly options: ExporterOptions;
  private readonly cursor: SpoolCursor;
  private readonly known = new Map<string, ExportChain>();
  private current: Current | null = null;

  constructor(options: ExporterOptions) {
    this.options = options;
    this.cursor = new SpoolCursor(options.store);
  }

  chains(): Iterable<ExportChain> {
    return this.known.values();
  }

  find(id: StreamId): ExportChain | null {
    return this.known.get(streamKey(id)) ?? null;
  }

  /** @param session key of tenant and session. */
  named(session: string, epoch: number): ExportChain | null {
    return this.known.get(`${epoch}/${session}`) ?? null;
  }

  /** Null when there is nothing more that is synced, or when the next record's chain is not `ready`. */
  next(ready: (chain: ExportChain) => boolean): Next | null {
    if (this.current !== null) return this.goOn(this.current);
    for (let passed = 0; passed < exportLimits.TURN_PASSED_MAX; passed++) {
      const record = this.cursor.peek();
      if (record === null) return null;
      const { seq } = record;
      const marks = this.options.spool.marks(record);
      const known = this.find(record) ?? undefined;
      const needless = record.kind === "mark" || known?.status === "halted" || seq <= (known?.seq ?? marks.exported);
      if (needless) {
        this.cursor.advance();
        continue;
      }
      // A stream the spool knows nothing of any longer was written long ago.
      if (marks.appended > 0 && seq > marks.synced) return null;
      const chain = known ?? this.open(record, marks.exported);
      if (chain.seq + 1 !== seq || !isNamed(chain.place)) return { kind: "lost", chain };
      if (!ready(chain)) return null;
      const { build, instanceId } = this.options;
      this.current = { chain, record, records: convert(record, chain.place, { build, instanceId }) };
      return this.goOn(this.current);
    }
    return { kind: "passed" };
  }

  /** All that is written has been made. */
  atEnd(): boolean {
    return this.current === null && this.cursor.peek() === null;
  }

  /** Of what is not acknowledged; null when there is nothing. */
  oldestWallMs(): number | null {
    const next = this.current?.record ?? this.cursor.peek();
    let oldest = next === null || next.kind === "mark" ? null : next.wallMs;
    for (const chain of this.known.values()) {
      const { oldestWallMs } = chain;
      if (chain.status !== "halted" && oldestWallMs !== null) oldest = Math.min(oldest ?? oldestWallMs, oldestWallMs);
    }
    return oldest;
  }

  /** The chain of the session's epoch before, while it is known here. */
  before({ id }: ExportChain): ExportChain | null {
    const predecessor = this.options.spool.predecessor(id);
    return predecessor === null ? null : this.find(predecessor);
  }

  done(session: string, epoch: number): void {
    this.known.delete(`${epoch}/${session}`);
  }

  /** Makes the chain's records once more, from the first that the spool has. */
  again(chain: ExportChain): void {
    const { sessionId, epoch } = chain.id;
    const made = new ExportChain(chain.id, placeAtStart(sessionId, epoch, this.placeBefore(chain.id)), 0);
    Object.assign(made.place, { tenant: chain.place.tenant, pipeline: chain.place.pipeline });
    this.known.set(streamKey(chain.id), made);
    this.current = null;
    this.cursor.rewind();
  }

  mark(chain: ExportChain): void {
    const mark = chain.takeMark();
    if (mark !== null) this.options.spool.markExported(chain.id, mark.seq, mark.note);
  }

  /** True when something was marked. */
  markAll(): boolean {
    let any = false;
    for (const chain of this.known.values()) {
      any ||= chain.dirty;
      this.mark(chain);
    }
    return any;
  }

  /** Chains past the bound of which nothing waits, the longest known first. */
  resting(): ExportChain[] {
    const more = this.known.size - exportLimits.CHAINS_MAX;
    if (more <= 0) return [];
    return [...this.known.values()].filter((chain) => chain.status === "live" && chain.settled).slice(0, more);
  }

  private goOn({ chain, record, records }: Current): Next {
    const step = chain.status === "halted" ? null : records.next();
    if (step !== null && step.done !== true) return { kind: "made", chain, made: step.value };
    this.current = null;
    this.cursor.advance();
    if (step === null) return { kind: "passed" };
    chain.ended = record.kind === "session_end";
    chain.recordDone(record.seq, record.wallMs);
    return { kind: "passed" };
  }

  private open(record: SpoolRecord, exported: number): ExportChain {
    const { tenantId, sessionId, epoch, seq } = record;
    const id = { tenantId, sessionId, epoch };
    const noted = seq === 1 ? null : readPlace(this.options.spool.exportNote(id));
    const place = noted ?? placeAtStart(sessionId, epoch, this.placeBefore(id));
    if (tenantId !== "") place.tenant = tenantId;
    if (record.kind === "session") noteSession(record, place);
    const chain = new ExportChain(id, place, noted === null ? 0 : exported);
    chain.fresh = seq === 1 && exported === 0;
    this.known.set(streamKey(id), chain);
    return chain;
  }

  private placeBefore(id: StreamId): ChainPlace | null {
    const predecessor = this.options.spool.predecessor(id);
    if (predecessor === null) return null;
    return this.find(predecessor)?.place ?? readPlace(this.options.spool.exportNote(predecessor));
  }
}

/** The contract names every record's tenant and session; what the spool cannot name cannot be exported. */
function isNamed({ tenant, session, epoch }: ChainPlace): boolean {
  return tenant !== "" && tenant.length <= 64 && session.length <= 128 && epoch >= 1;
}
