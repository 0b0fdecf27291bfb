/** What one segment says of itself: its object, its row in the index, its part of the timeline's summary. */
import { createHash } from "node:crypto";
import type { TimelineRecord } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import type { ObjectStore } from "@rspp/store/object-store";
import type { SessionKey } from "@rspp/store/state-store";
import type { SegmentOutcome, TimelineIndex, TimelinePart } from "@rspp/store/timeline-index";
import { toHex } from "./chain.ts";
import { encodeSegment } from "./segment-format.ts";

export interface SegmentStores {
  readonly objects: ObjectStore;
  readonly index: TimelineIndex;
}

export interface NewSegment {
  readonly session: SessionKey;
  readonly epoch: number;
  readonly records: readonly TimelineRecord[];
  readonly encoded: readonly Uint8Array[];
  /** Losses beside those that the records declare. */
  readonly losses: number;
}

/** Durable when it resolves: the object first, then its row. Rejects with a StoreError. */
export async function writeSegment(stores: SegmentStores, segment: NewSegment): Promise<SegmentOutcome> {
  const { session, epoch, records } = segment;
  const content = encodeSegment(segment.encoded);
  const first = Number(records[0]?.sequence ?? 0);
  const last = records.at(-1);
  const sha256 = createHash("sha256").update(content).digest("hex");
  const place = `${keyPart(session.tenantId)}/${keyPart(session.sessionId)}/${epoch}`;
  const objectKey = `timelines/${place}/${String(first).padStart(16, "0")}-${sha256.slice(0, 16)}`;
  await stores.objects.put(objectKey, content);
  return stores.index.add(
    {
      session,
      epoch,
      firstSequence: first,
      lastSequence: Number(last?.sequence ?? 0),
      objectKey,
      bytes: content.length,
      sha256,
      headDigest: toHex(last?.digest ?? new Uint8Array(0)),
    },
    partOf(records, segment.losses),
  );
}

/** Markers that say that something of the session is not in its record. */
const lossMarkers: ReadonlySet<string> = new Set(["evidence_lost", "record_left_out", "record_unreadable"]);

export function declaresLoss(record: TimelineRecord): boolean {
  const { case: name, value } = record.body;
  return name === "predecessorLost" || (name === "marker" && lossMarkers.has(value.name));
}

export function isSessionEnd(record: TimelineRecord): boolean {
  return record.body.case === "marker" && record.body.value.name === "session_end";
}

/** The number of the turn that this record opens; 0 for none. A plan is recorded for each accepted turn, at every level. */
export function opensTurn(record: TimelineRecord): number {
  const { case: name, value } = record.body;
  if (name === "canonicalRecord" && value.kind === "plan") return value.turnNumber;
  return name === "turnPlan" ? Number(/^t-(\d+)$/.exec(value.turnId)?.[1] ?? 0) : 0;
}

function partOf(records: readonly TimelineRecord[], losses: number): TimelinePart {
  let pipeline = { name: "", version: 0 };
  let level = 0;
  let turns = 0;
  let lost = losses;
  let ended = false;
  const walls: number[] = [];
  for (const record of records) {
    if (record.body.case === "header" && record.body.value.pipeline !== undefined)
      pipeline = record.body.value.pipeline;
    if (opensTurn(record) > 0) turns += 1;
    if (declaresLoss(record)) lost += 1;
    ended ||= isSessionEnd(record);
    level = Math.max(level, record.level);
    walls.push(Number(record.wallMs));
  }
  return {
    pipelineName: pipeline.name,
    pipelineVersion: pipeline.version,
    firstWallMs: walls.reduce((a, b) => Math.min(a, b)),
    lastWallMs: walls.reduce((a, b) => Math.max(a, b)),
    records: records.length,
    turns,
    recordingLevel: level,
    ended,
    losses: lost,
  };
}

/** Ids that are no path of their own stand for themselves; others by their digest. */
function keyPart(id: string): string {
  if (/^[A-Za-z0-9_@+-][A-Za-z0-9._@+-]{0,127}$/.test(id)) return id;
  return `=${createHash("sha256").update(id).digest("hex").slice(0, 40)}`;
}
