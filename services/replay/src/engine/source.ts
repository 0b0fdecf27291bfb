/** What a replay is made from: a recording's journal with its configuration, its texts and its own evidence. */
import { err, ok, type Result } from "@rspp/base/result";
import type { SignalEvent, TimelineRecord } from "@rspp/kernel/effect";
import type { JournalEntry } from "@rspp/kernel/replay";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { restoreState } from "@rspp/kernel/snapshot";
import type { SessionState } from "@rspp/kernel/state";
import { type Recording, textsOf } from "../re-execute.ts";
import { collectorCreate, takeRecord, takeSignal } from "./run-collector.ts";
import { RUN_TIMELINE_SCHEMA, type RunTimeline } from "./run-timeline.ts";

export interface ReplaySource {
  readonly config: SessionConfig;
  readonly entries: readonly JournalEntry[];
  /** Recorded texts by ref; null where payloads were not kept throughout: facts are then served as recorded. */
  readonly texts: ReadonlyMap<number, string> | null;
  readonly redacted: boolean;
  /** Canonical state snapshots by the batch behind which they stand (`kernel.md` §11). */
  readonly snapshots: ReadonlyMap<number, string>;
  /** Of the recording itself, where there is more than a journal. */
  readonly signals: readonly SignalEvent[];
  readonly records: readonly TimelineRecord[];
}

/** A journal alone, e.g. a golden recording. */
export function sourceOfJournal(
  config: SessionConfig,
  entries: readonly JournalEntry[],
  texts: ReadonlyMap<number, string> | null = null,
): ReplaySource {
  return { config, entries, texts, redacted: false, snapshots: new Map(), signals: [], records: [] };
}

/** @param damaged the recording has known faults: texts are then not relied on. */
export function sourceOfRecording(recording: Recording, damaged = false): Result<ReplaySource, "no_journal"> {
  const config = (recording.start as { config?: SessionConfig | null } | null)?.config;
  if (config === null || config === undefined || recording.entries.length === 0) return err("no_journal");
  const records = kernelRecords(recording);
  const moved = records.some(({ kind }) => kind === "recording_level");
  const redacted = isRedacted(recording);
  const whole = config.recording.ceiling === "L2" && !moved && !damaged && !redacted;
  return ok({
    config,
    entries: recording.entries,
    texts: whole ? textsOf(recording) : null,
    redacted,
    snapshots: snapshotsOf(records),
    signals: recording.signals as SignalEvent[],
    records,
  });
}

function kernelRecords(recording: Recording): TimelineRecord[] {
  return recording.records.flatMap(({ content }) => (content === null ? [] : [content as TimelineRecord]));
}

/** Redaction leaves its mark in the header, or at each payload it changed. */
function isRedacted({ start, payloads }: Recording): boolean {
  const header = start as { redacted?: unknown; redaction?: unknown } | null;
  if (header?.redacted === true) return true;
  if (header?.redaction !== undefined && header.redaction !== null && header.redaction !== "none") return true;
  for (const payload of payloads.values()) if ((payload as { redacted?: unknown }).redacted !== undefined) return true;
  return false;
}

function snapshotsOf(records: readonly TimelineRecord[]): Map<number, string> {
  const found = new Map<number, string>();
  for (const record of records) {
    if (record.kind !== "state_snapshot") continue;
    const at = batchOf(record.state);
    if (at !== null) found.set(at, record.state);
  }
  return found;
}

function batchOf(state: string): number | null {
  try {
    const { batchIndex } = restoreState(state) as Partial<SessionState>;
    return typeof batchIndex === "number" ? batchIndex : null;
  } catch {
    return null;
  }
}

/** The session as its own records tell it, at any level: signals, plans, evidence, delivery; no texts. */
export function timelineOfRecording(recording: Recording): RunTimeline {
  const config = (recording.start as { config?: SessionConfig | null } | null)?.config ?? null;
  const records = kernelRecords(recording);
  const signals = recording.signals as SignalEvent[];
  const timeline = timelineOfRecords(config ?? nobody, isRedacted(recording), signals, records);
  if (config === null) fromEvidence(timeline, records);
  timeline.ended = recording.ended;
  return timeline;
}

export function timelineOfRecords(
  config: SessionConfig,
  redacted: boolean,
  signals: readonly SignalEvent[],
  records: readonly TimelineRecord[],
): RunTimeline {
  const level = config.recording?.ceiling ?? "L0";
  const collector = collectorCreate(config, "live", { level, redacted });
  for (const event of signals) takeSignal(collector, event, event.monoNs);
  for (const record of records) takeRecord(collector.timeline, record, 0);
  const { timeline } = collector;
  timeline.basis = "records";
  timeline.turns.sort((a, b) => a.turn - b.turn);
  timeline.events = timeline.events.filter(({ lane }) => lane === "control");
  const instants = signals.map(({ monoNs }) => monoNs);
  timeline.startNs = instants.reduce((a, b) => Math.min(a, b), instants[0] ?? 0);
  timeline.endNs = instants.reduce((a, b) => Math.max(a, b), 0);
  timeline.ended = signals.some(({ signal }) => signal === "session_ended" || signal === "ended");
  return timeline;
}

const nobody = { tenantId: "", sessionId: "", snapshots: { pipeline: "" } } as SessionConfig;

/** Without a header, whose session it was stands in the evidence. */
function fromEvidence(timeline: RunTimeline, records: readonly TimelineRecord[]): void {
  for (const record of records) {
    if (record.kind !== "evidence") continue;
    const { manifest } = record.manifest as {
      manifest: { tenantId: string | null; sessionId: string | null; pipelineVersion: string | null };
    };
    timeline.tenantId = manifest.tenantId ?? "";
    timeline.sessionId = manifest.sessionId ?? "";
    timeline.pipeline = manifest.pipelineVersion ?? "";
  }
}

/** A run timeline that was saved. */
export function timelineFromJson(value: unknown): RunTimeline | null {
  const found = value as Partial<RunTimeline> | null;
  if (typeof found !== "object" || found === null || found.schema !== RUN_TIMELINE_SCHEMA) return null;
  return Array.isArray(found.turns) && Array.isArray(found.events) ? (found as RunTimeline) : null;
}
