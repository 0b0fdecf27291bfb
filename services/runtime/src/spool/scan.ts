import { type SessionName, sessionKey } from "@rspp/base/session-key";
import { decodeFrame, findFrame, type SpoolRecord } from "./frame.ts";
import type { SpoolStore } from "./store.ts";

export interface SpoolProblem {
  /** `torn`: a write cut short at the end of a segment. `altered`: bytes that are no record. `gap`, `chain`: a record is missing or not the one that was linked. */
  kind: "torn" | "altered" | "gap" | "chain" | "unreadable" | "content";
  segment: string;
  /** Byte in the segment. */
  offset: number;
  /** Bytes concerned, where known. */
  bytes: number;
  /** "" where it is not known. */
  tenantId: string;
  sessionId: string;
  epoch: number;
  seq: number;
  reason: string;
}

/** One line for people: where, what, and what to do. */
export function describeProblem(p: SpoolProblem): string {
  const whose =
    p.sessionId === ""
      ? ""
      : ` (${p.tenantId === "" ? "" : `tenant ${p.tenantId}, `}session ${p.sessionId}, epoch ${p.epoch}, record ${p.seq})`;
  return `segment ${p.segment}, offset ${p.offset}: ${p.reason}${whose}; ${remedies[p.kind]}`;
}

const remedies: Readonly<Record<SpoolProblem["kind"], string>> = {
  torn: "what was written up to here is whole; nothing acknowledged is lost after a crash of the process",
  altered: "the rest was read on; restore this segment from a copy to have the record back",
  gap: "records before this one are missing; restore the segment that held them",
  chain: "the record does not follow from the one before: treat the session's recording as altered",
  unreadable: "check the medium and the file's permissions",
  content: "the record is whole but its content cannot be used by this version; read it with the version that wrote it",
};

/** Where a stream (tenant, session, epoch) stands. */
export interface StreamHead {
  tenantId: string;
  sessionId: string;
  epoch: number;
  seq: number;
  link: Uint8Array;
}

/** @param tenantId whose the session is, also where the record itself does not say it; "" where nothing does. */
export type OnRecord = (record: SpoolRecord, segment: string, offset: number, tenantId: string) => void;

/** A record of a build that did not say it has its stream under tenant "". */
export function streamKey(id: SessionName & { readonly epoch: number }): string {
  return `${id.epoch}/${sessionKey(id)}`;
}

export interface Mark {
  tenantId: string;
  sessionId: string;
  epoch: number;
  /** Everything up to this record is acknowledged by whoever exports. */
  seq: number;
  /** That record's link in hex, where it was the stream's last: its segment may be gone, the chain goes on. */
  link?: string;
  /** What the exporter needs to go on behind this record. */
  note?: string;
}

export interface ChainCheck {
  /** Where each stream stands, by records or by its mark. */
  heads(): ReadonlyMap<string, StreamHead>;
  exportedSeq(key: string): number;
  exportNote(key: string): string;
  /** Segment of the stream's last mark; empty for none. */
  markedIn(key: string): string;
  check(record: SpoolRecord, segment: string, offset: number): void;
  /** Problems found, once all records were seen. */
  problems(): SpoolProblem[];
}

/**
 * Checks that each stream's records follow from one another. Segments whose records are all exported are reclaimed; a
 * stream may then start later, which its export mark, read before or after, explains.
 */
export function createChainCheck(): ChainCheck {
  const heads = new Map<string, StreamHead>();
  const marks = new Map<string, Mark & { segment: string }>();
  const exportedSeq = (key: string): number => marks.get(key)?.seq ?? 0;
  const found: { problem: SpoolProblem; key: string; first: boolean }[] = [];
  return {
    exportedSeq,
    exportNote: (key) => marks.get(key)?.note ?? "",
    markedIn: (key) => marks.get(key)?.segment ?? "",
    heads() {
      for (const [key, { tenantId, sessionId, epoch, seq, link }] of marks) {
        if (link === undefined || (heads.get(key)?.seq ?? 0) >= seq) continue;
        heads.set(key, { tenantId, sessionId, epoch, seq, link: Buffer.from(link, "hex") });
      }
      return heads;
    },
    check(record, segment, offset) {
      const { tenantId, sessionId, epoch, seq } = record;
      const key = streamKey(record);
      const before = heads.get(key);
      heads.set(key, { tenantId, sessionId, epoch, seq, link: Uint8Array.from(record.link) });
      if (record.kind === "mark") noteMark(record, segment, marks);
      const reason = chainFault(record, before);
      if (reason === null) return;
      const kind = reason === linkFault ? "chain" : "gap";
      found.push({
        key,
        first: before === undefined,
        problem: { kind, segment, offset, bytes: 0, tenantId, sessionId, epoch, seq, reason },
      });
    },
    problems: () =>
      found
        .filter(({ first, key, problem }) => !(first && exportedSeq(key) >= problem.seq - 1))
        .map(({ problem }) => problem),
  };
}

const linkFault = "the record's link is not that of the one before";

function chainFault(record: SpoolRecord, before: StreamHead | undefined): string | null {
  // The streams of marks are rewritten whole when segments are reclaimed.
  if (before === undefined)
    return record.seq === 1 || record.sessionId === "" ? null : `records 1 to ${record.seq - 1} are missing`;
  if (record.seq !== before.seq + 1) return `record ${before.seq + 1} was expected, ${record.seq} found`;
  return sameBytes(record.prev, before.link) ? null : linkFault;
}

function noteMark(record: SpoolRecord, segment: string, marks: Map<string, Mark & { segment: string }>): void {
  const mark = parseMark(record.payload);
  if (mark === null) return;
  const key = streamKey(mark);
  if (mark.seq >= (marks.get(key)?.seq ?? 0)) marks.set(key, { ...mark, segment });
}

function parseMark(payload: Uint8Array): Mark | null {
  try {
    const mark = JSON.parse(Buffer.from(payload).toString("utf8")) as Partial<Mark> | null;
    const good =
      typeof mark?.sessionId === "string" && Number.isSafeInteger(mark.epoch) && Number.isSafeInteger(mark.seq);
    if (mark?.tenantId !== undefined && typeof mark.tenantId !== "string") return null;
    if (mark?.note !== undefined && typeof mark.note !== "string") return null;
    if (mark?.link !== undefined && !/^[0-9a-f]{64}$/.test(mark.link)) return null;
    return good ? { tenantId: "", ...(mark as Omit<Mark, "tenantId">) } : null;
  } catch {
    return null;
  }
}

/** Reads one segment from its start; bytes that are no record are reported and skipped. @returns the torn tail's offset, or -1. */
export function scanSegment(
  segment: string,
  raw: Uint8Array,
  onRecord: (record: SpoolRecord, segment: string, offset: number) => void,
  onProblem: (p: SpoolProblem) => void,
): number {
  const bytes = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength);
  let at = 0;
  while (at < bytes.length) {
    const read = decodeFrame(bytes, at);
    if (read.status === "ok") {
      onRecord(read.record, segment, at);
      at = read.end;
      continue;
    }
    const next = findFrame(bytes, at);
    const end = next === -1 ? bytes.length : next;
    // A cut with records behind it is no torn tail: somebody took bytes out.
    const torn = read.status === "torn" && next === -1;
    const kind = torn ? "torn" : "altered";
    const where = { segment, offset: at, bytes: end - at };
    onProblem({ kind, ...where, tenantId: "", sessionId: "", epoch: 0, seq: 0, reason: read.reason });
    if (torn) return at;
    at = end;
  }
  return -1;
}

/** Reads all segments in order. Never throws for what the bytes hold. @returns torn tails by segment. */
export function scanStore(
  store: SpoolStore,
  onRecord: OnRecord,
  onProblem: (p: SpoolProblem) => void,
  onSegment: (segment: string, bytes: number) => void = () => {},
): { segment: string; offset: number }[] {
  const torn: { segment: string; offset: number }[] = [];
  const tenantOf = createTenantFinder();
  for (const segment of store.list()) {
    let raw: Uint8Array;
    try {
      raw = store.read(segment);
    } catch (error) {
      const reason = `the segment cannot be read (${error instanceof Error ? error.message : "unknown error"})`;
      onProblem({
        kind: "unreadable",
        segment,
        offset: 0,
        bytes: 0,
        tenantId: "",
        sessionId: "",
        epoch: 0,
        seq: 0,
        reason,
      });
      continue;
    }
    const told = (record: SpoolRecord, at: string, from: number): void => onRecord(record, at, from, tenantOf(record));
    const offset = scanSegment(segment, raw, told, onProblem);
    onSegment(segment, raw.length);
    if (offset !== -1) torn.push({ segment, offset });
  }
  return torn;
}

/** Whose a record is: where it does not say so itself, its stream's last `session` record does. */
function createTenantFinder(): (record: SpoolRecord) => string {
  const found = new Map<string, string>();
  return (record) => {
    if (record.tenantId !== "" || record.sessionId === "") return record.tenantId;
    const key = streamKey(record);
    if (record.kind === "session" && !record.erased) {
      const tenantId = tenantIn(record.payload);
      if (tenantId !== "") found.set(key, tenantId);
    }
    return found.get(key) ?? "";
  };
}

function tenantIn(payload: Uint8Array): string {
  try {
    const content = JSON.parse(Buffer.from(payload).toString("utf8")) as { tenantId?: unknown } | null;
    return typeof content?.tenantId === "string" ? content.tenantId : "";
  } catch {
    return "";
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
