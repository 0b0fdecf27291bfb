/** A recording to replay, from wherever it is: this machine, the replay service, or a file. */
import { readFile } from "node:fs/promises";
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { type TimelineRecord, TimelineRecordSchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import type { JournalEntry } from "@rspp/kernel/replay";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { RUN_TIMELINE_SCHEMA, type RunTimeline } from "@rspp/replay/engine/run-timeline";
import { timelineFromJson } from "@rspp/replay/engine/source";
import type { Recording } from "@rspp/replay/re-execute";
import { recordingOf } from "@rspp/replay/recording";
import { readSession } from "@rspp/runtime/spool/reader";
import { describeProblem } from "@rspp/runtime/spool/scan";
import { InputError } from "../errors.ts";
import type { RecordingOptions, Where } from "../timeline/options.ts";
import { openSource, orNowhere, readRecords } from "../timeline/source.ts";
import { isFile } from "./judge-options.ts";

export type Loaded =
  | { readonly kind: "recording"; readonly recording: Recording; readonly problems: readonly string[] }
  | { readonly kind: "timeline"; readonly timeline: RunTimeline };

const fileBytesMax = 1_073_741_824;

/** @throws InputError, CommandError for what is not there or cannot be read. */
export async function load(target: string, options: RecordingOptions, where: Where): Promise<Loaded> {
  if (isFile(target)) return loadFile(target);
  return orNowhere(target, options, where, loadSession(target, options, where));
}

async function loadSession(session: string, options: RecordingOptions, where: Where): Promise<Loaded> {
  const source = openSource(session, options, where);
  if (source.kind === "service") return { kind: "recording", ...recordingOf(await readRecords(session, source)) };
  const read = readSession(source.store, session, source.tenant);
  const recording = read.runs.at(-1);
  if (recording === undefined)
    throw new InputError(
      `session ${session}: not in this spool\n   help: list the sessions with \`rspp sessions --data ${source.data}\``,
    );
  return { kind: "recording", recording, problems: read.problems.map(describeProblem) };
}

async function loadFile(path: string): Promise<Loaded> {
  const text = await readText(path);
  const whole = jsonOf(text);
  if (whole !== null) {
    const timeline = timelineFromJson(whole);
    if (timeline !== null) return { kind: "timeline", timeline };
    const golden = goldenOf(whole);
    if (golden !== null) return { kind: "recording", recording: golden, problems: [] };
  }
  const records = text.split("\n").flatMap((line, i) => (line.trim() === "" ? [] : [recordOf(line, path, i + 1)]));
  if (records.length === 0) throw unreadable(path, "holds nothing");
  return { kind: "recording", ...recordingOf(records) };
}

async function readText(path: string): Promise<string> {
  try {
    const bytes = await readFile(path);
    if (bytes.length > fileBytesMax) throw unreadable(path, `has ${bytes.length} bytes`);
    return bytes.toString("utf8");
  } catch (cause) {
    if (cause instanceof InputError) throw cause;
    throw unreadable(path, `cannot be read (${(cause as NodeJS.ErrnoException).code ?? "error"})`);
  }
}

function unreadable(path: string, why: string): InputError {
  return new InputError(
    `${path}: ${why}\n   help: name a session, a file of \`rspp timeline SESSION --export FILE\`, or a run timeline (${RUN_TIMELINE_SCHEMA})`,
  );
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** A journal with its configuration, as golden recordings are kept. */
function goldenOf(value: unknown): Recording | null {
  const { config, entries } = (value ?? {}) as { config?: SessionConfig; entries?: JournalEntry[] };
  if (typeof config !== "object" || !Array.isArray(entries)) return null;
  return { start: { config }, entries, signals: [], payloads: new Map(), records: [], ended: false };
}

function recordOf(line: string, path: string, number: number): TimelineRecord {
  try {
    return fromJson(TimelineRecordSchema, JSON.parse(line) as JsonValue);
  } catch (cause) {
    throw unreadable(path, `line ${number} is no timeline record (${(cause as Error).message.slice(0, 120)})`);
  }
}
