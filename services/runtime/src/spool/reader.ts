import { sessionKey } from "@rspp/base/session-key";
import type { JournalEntry } from "@rspp/kernel/replay";
import type { SpoolRecord } from "./frame.ts";
import { decodeEntry } from "./journal-codec.ts";
import { createChainCheck, type SpoolProblem, scanStore } from "./scan.ts";
import type { SpoolStore } from "./store.ts";

export interface SpoolVerdict {
  ok: boolean;
  segments: number;
  records: number;
  problems: SpoolProblem[];
}

/** Checks every record and every chain; writes nothing. Problems stand in the order of the segments. */
export function verifySpool(store: SpoolStore): SpoolVerdict {
  const chain = createChainCheck();
  const problems: SpoolProblem[] = [];
  let records = 0;
  scanStore(
    store,
    (record, segment, offset) => {
      records += 1;
      chain.check(record, segment, offset);
    },
    (problem) => problems.push(problem),
  );
  problems.push(...chain.problems());
  problems.sort((a, b) => (a.segment < b.segment ? -1 : a.segment > b.segment ? 1 : a.offset - b.offset));
  return { ok: problems.length === 0, segments: store.list().length, records, problems };
}

export interface SessionSummary {
  /** "" where the recording does not tell any longer. */
  tenantId: string;
  sessionId: string;
  epochs: number[];
  records: number;
  firstWallMs: number;
  lastWallMs: number;
}

/** Which sessions the spool holds, by their first record. */
export function listSessions(store: SpoolStore): SessionSummary[] {
  const found = new Map<string, SessionSummary>();
  const note = ({ sessionId, epoch, wallMs }: SpoolRecord, _segment: string, _offset: number, tenantId: string) => {
    if (sessionId === "") return;
    const key = sessionKey({ tenantId, sessionId });
    const known = found.get(key);
    if (known === undefined) {
      found.set(key, { tenantId, sessionId, epochs: [epoch], records: 1, firstWallMs: wallMs, lastWallMs: wallMs });
      return;
    }
    known.records += 1;
    known.lastWallMs = wallMs;
    if (!known.epochs.includes(epoch)) known.epochs.push(epoch);
  };
  scanStore(store, note, () => {});
  return [...found.values()];
}

export interface ReadRecord {
  kind: SpoolRecord["kind"];
  epoch: number;
  seq: number;
  wallMs: number;
  /** The JSON that was appended; null where the payload was erased. */
  content: unknown;
}

/** What was recorded between one start of a session and the next. */
export interface SessionRun {
  /** Content of the `session` record that began it; null when that record is missing. */
  start: unknown;
  /** Journal entries in order, as they were written (L1 and L2). */
  entries: JournalEntry[];
  signals: unknown[];
  /** Payloads by ref (L2): text, or base64 of the bytes. */
  payloads: Map<number, { text?: string; base64?: string }>;
  /** All other records: evidence, plans, snapshots … */
  records: ReadRecord[];
  ended: boolean;
}

export interface ReadSession {
  tenantId: string;
  sessionId: string;
  /** One per start under this id, oldest first. */
  runs: SessionRun[];
  /** Damage in any segment that may concern this session. */
  problems: SpoolProblem[];
}

/**
 * Everything the spool holds of one session. Damaged parts are named in `problems`, never guessed at.
 * @param tenantId undefined: of whichever tenant the id is found with first; {@link listSessions} tells whether there are several.
 */
export function readSession(store: SpoolStore, sessionId: string, tenantId?: string): ReadSession {
  let owner = tenantId;
  const chain = createChainCheck();
  const problems: SpoolProblem[] = [];
  const runs: SessionRun[] = [];
  const current = (): SessionRun => {
    const last = runs.at(-1);
    if (last !== undefined) return last;
    const made = newRun(null);
    runs.push(made);
    return made;
  };
  scanStore(
    store,
    (record, segment, offset, whose) => {
      const mine = record.sessionId === sessionId && sessionId !== "" && whose === (owner ?? whose);
      if (mine) owner = whose;
      if (record.kind === "mark" || mine) chain.check(record, segment, offset);
      if (!mine) return;
      const fault = takeIn(record, runs, current);
      if (fault === null) return;
      const { epoch, seq } = record;
      problems.push({
        kind: "content",
        segment,
        offset,
        bytes: 0,
        tenantId: whose,
        sessionId,
        epoch,
        seq,
        reason: fault,
      });
    },
    (problem) => problems.push(problem),
  );
  problems.push(...chain.problems());
  return { tenantId: owner ?? "", sessionId, runs, problems };
}

function newRun(start: unknown): SessionRun {
  return { start, entries: [], signals: [], payloads: new Map(), records: [], ended: false };
}

function takeIn(record: SpoolRecord, runs: SessionRun[], current: () => SessionRun): string | null {
  const { kind, epoch, seq, wallMs } = record;
  if (record.erased) {
    current().records.push({ kind, epoch, seq, wallMs, content: null });
    return null;
  }
  const text = Buffer.from(record.payload).toString("utf8");
  if (kind === "group") return takeGroup(text, current());
  const content = parse(text);
  if (content === undefined) return "the record's content is not JSON";
  if (kind === "session") runs.push(newRun(content));
  else if (kind === "session_end") current().ended = true;
  if (kind !== "session") current().records.push({ kind, epoch, seq, wallMs, content });
  return null;
}

function takeGroup(text: string, run: SessionRun): string | null {
  let fault: string | null = null;
  for (const line of text.split("\n")) {
    const space = line.indexOf(" ");
    const tag = line.slice(0, space);
    const content = parse(line.slice(space + 1));
    if (content === undefined) fault = "a line of a group is not JSON";
    else if (tag === "journal") {
      const entry = decodeEntry(content);
      if (entry === null) fault = "a line of the journal is no journal entry";
      else {
        run.entries.push(entry);
        if (entry.digest === "") fault = `the kernel broke at step ${entry.batch.index}: ${entry.fault ?? "unknown"}`;
      }
    } else if (tag === "signal") run.signals.push(content);
    else if (tag === "payload") takePayload(content, run);
    else fault = "a line of a group has an unknown tag";
  }
  return fault;
}

function takePayload(content: unknown, run: SessionRun): void {
  const { ref, text, base64 } = content as { ref?: unknown; text?: unknown; base64?: unknown };
  if (typeof ref !== "number") return;
  if (typeof text === "string") run.payloads.set(ref, { text });
  else if (typeof base64 === "string") run.payloads.set(ref, { base64 });
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json) as unknown;
  } catch {
    return undefined;
  }
}
