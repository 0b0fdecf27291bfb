/** A session's recording out of its timeline records, ready to be replayed or drawn. */

import { err, ok, type Result } from "@rspp/base/result";
import type { TimelineRecord as RecordMessage } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import type { SignalEvent } from "@rspp/kernel/effect";
import type { JournalEntry } from "@rspp/kernel/replay";
import { journalFromWire, parseCanonical } from "@rspp/wire/journal";
import { timelineRecordFromWire } from "@rspp/wire/timeline";
import { configOf, type Recording, reExecute, type SessionReplay } from "./re-execute.ts";
import { isSessionEnd } from "./segment-writer.ts";
import { isKernelRecord, TimelineVerifier } from "./verify-timeline.ts";

interface Building {
  start: unknown;
  entries: JournalEntry[];
  signals: unknown[];
  payloads: Map<number, { text?: string; base64?: string }>;
  records: { content: unknown }[];
  ended: boolean;
}

export interface ReadRecording {
  /** Of the last start under this session id. */
  readonly recording: Recording;
  /** Damage, a line each; empty when the records are whole and follow from one another. */
  readonly problems: string[];
}

/** Never throws for what the records hold; what cannot be used is named in `problems`. */
export function recordingOf(records: readonly RecordMessage[]): ReadRecording {
  const { runs, problems } = recordingsOf(records);
  return { recording: runs.at(-1) ?? building(null), problems };
}

/** As {@link recordingOf}, with one recording for each start under this session id, oldest first. */
export function recordingsOf(records: readonly RecordMessage[]): { runs: Recording[]; problems: string[] } {
  const verifier = new TimelineVerifier();
  const problems: string[] = [];
  let run = building(null);
  const runs = [run];
  for (const record of records) {
    verifier.record(record);
    if (record.body.case === "header") {
      const start = record.canonical.length === 0 ? null : content(record);
      // A new epoch of the same run goes on where the one before ended.
      if ((start as { continued?: unknown } | null)?.continued === true) continue;
      run = building(start);
      runs.push(run);
      continue;
    }
    const fault = takeIn(record, run);
    if (fault !== null) problems.push(`epoch ${record.epoch}, record ${record.sequence}: ${fault}`);
  }
  const { chainIntact, faults } = verifier.verdict();
  if (!chainIntact || faults.length > 0) {
    for (const { epoch, sequence, detail } of faults) problems.push(`epoch ${epoch}, record ${sequence}: ${detail}`);
  }
  const [first, ...others] = runs;
  // Before the first header there is only what a damaged record left.
  return { runs: others.length === 0 && first !== undefined ? [first] : others, problems };
}

/** Why a timeline cannot be replayed by re-execution; `failed`: its content is of another build, or was altered. */
export type ReplayRefusal = "no_records" | "no_journal" | "failed";

/** Replays a session from all its timeline records: the same result as from the spool of the runtime that held it. */
export function replayTimeline(records: readonly RecordMessage[]): Result<SessionReplay, ReplayRefusal> {
  const sessionId = records[0]?.session?.sessionId;
  if (sessionId === undefined) return err("no_records");
  const { recording, problems } = recordingOf(records);
  const config = configOf(recording);
  if (config === null) return err("no_journal");
  try {
    return ok(reExecute(sessionId, config, recording, problems));
  } catch {
    // The kernel's own words are about its invariants, not about the record: VerifyTimeline says where it was altered.
    return err("failed");
  }
}

function building(start: unknown): Building {
  return { start, entries: [], signals: [], payloads: new Map(), records: [], ended: false };
}

function takeIn(record: RecordMessage, run: Building): string | null {
  const { body } = record;
  if (isSessionEnd(record)) run.ended = true;
  if (body.case === "batch") {
    const entry = journalFromWire(body.value);
    if (!entry.ok) return `a step of the journal cannot be read (${entry.error.reason})`;
    run.entries.push(entry.value);
    return null;
  }
  if (body.case === "erased") {
    run.records.push({ content: null });
    return null;
  }
  if (isKernelRecord(record)) {
    const kernel = timelineRecordFromWire(record);
    if (!kernel.ok) return `its content is not what the kernel sealed (${kernel.error.reason})`;
    run.records.push({ content: kernel.value });
    return null;
  }
  if (body.case === "marker" || body.case === "predecessorLost") {
    if (record.canonical.length > 0) run.records.push({ content: content(record) });
    return null;
  }
  const kind = body.case === "canonicalRecord" || body.case === "effect" ? body.value.kind : "";
  if (kind === "signal") return takeSignal(content(record), run);
  if (kind === "payload") takePayload(content(record), run);
  else if (kind === "journal") return takeJournal(content(record), run);
  return null;
}

/** A step past the contract's bounds, or the one that broke the kernel. */
function takeJournal(found: unknown, run: Building): string | null {
  const entry = found as JournalEntry | null;
  if (!Array.isArray(entry?.facts) || !Array.isArray(entry.batch?.inputs) || typeof entry.digest !== "string") {
    return "a step of the journal cannot be read";
  }
  run.entries.push(entry);
  return entry.digest === "" ? `the kernel broke at step ${entry.batch.index}: ${entry.fault ?? "unknown"}` : null;
}

function takeSignal(found: unknown, run: Building): string | null {
  const { signal, turn, monoNs, fields } = (found ?? {}) as Partial<SignalEvent>;
  const whole = typeof signal === "string" && typeof turn === "number" && typeof monoNs === "number";
  if (!whole || typeof fields !== "object" || fields === null) return "a signal cannot be read";
  run.signals.push(found);
  return null;
}

function takePayload(found: unknown, run: Building): void {
  const { ref, text, base64 } = (found ?? {}) as { ref?: unknown; text?: unknown; base64?: unknown };
  if (typeof ref !== "number") return;
  if (typeof text === "string") run.payloads.set(ref, { text });
  else if (typeof base64 === "string") run.payloads.set(ref, { base64 });
}

function content({ canonical }: RecordMessage): unknown {
  const parsed = parseCanonical(canonical, "canonical");
  return parsed.ok ? parsed.value : null;
}
