/** What segments say of themselves: their object, their rows in the index, their parts of the timelines' summaries. */
import { createHash, randomUUID } from "node:crypto";
import type { TimelineRecord } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import type { ObjectStore } from "@rspp/store/object-store";
import type { SessionKey } from "@rspp/store/state-store";
import { StoreError } from "@rspp/store/store-error";
import type { NewTimelineSegment, SegmentOutcome, TimelineIndex, TimelinePart } from "@rspp/store/timeline-index";
import { toHex } from "./chain.ts";
import { addSegment } from "./segment-format.ts";

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

/**
 * One object with the segments one after another, then the rows of all in one transaction: durable when it resolves.
 *
 * @returns what became of each, in order: of one that has no place the others are told nothing. Rejects with a StoreError.
 */
export async function writeObject(
  { objects, index }: SegmentStores,
  objectKey: string,
  segments: readonly NewSegment[],
): Promise<readonly (SegmentOutcome | StoreError)[]> {
  const parts: Uint8Array[] = [];
  let byteOffset = 0;
  const rows = segments.map(({ session, epoch, records, encoded, losses }): NewTimelineSegment => {
    const { bytes, sha256 } = addSegment(parts, encoded);
    const firstSequence = Number(records[0]?.sequence ?? 0);
    const last = records.at(-1);
    const lastSequence = Number(last?.sequence ?? 0);
    const headDigest = toHex(last?.digest ?? new Uint8Array(0));
    const at = { objectKey, byteOffset, bytes, sha256 };
    byteOffset += bytes;
    return {
      segment: { session, epoch, firstSequence, lastSequence, headDigest, ...at },
      part: partOf(records, losses),
    };
  });
  await objects.put(objectKey, Buffer.concat(parts));
  try {
    return await index.add(rows);
  } catch (failure) {
    if (!isInvalid(failure) || rows.length === 1) throw failure;
  }
  // What the database cannot hold of one session keeps no other's from being stored.
  const outcomes: (SegmentOutcome | StoreError)[] = [];
  for (const row of rows) {
    const alone = index.add([row]).then(([outcome]) => outcome ?? "does_not_follow");
    outcomes.push(
      await alone.catch((failure: unknown) => {
        if (isInvalid(failure)) return failure;
        throw failure;
      }),
    );
  }
  return outcomes;
}

function isInvalid(failure: unknown): failure is StoreError {
  return failure instanceof StoreError && failure.code === "invalid";
}

const folderMs = 3_600_000;
const keyOf = /^timelines\/\d{7}\/[^/]+\/(\d{14})-[0-9a-f]{12}-\d+$/;

/** Keys of objects in order of their time: by hour, tenant and instant; no other process makes the same. */
export class ObjectKeys {
  readonly #writer = randomUUID().slice(-12);
  #count = 0;

  next(tenantId: string, wallMs: number): string {
    const hour = String(Math.floor(wallMs / folderMs)).padStart(7, "0");
    this.#count += 1;
    return `timelines/${hour}/${keyPart(tenantId)}/${String(wallMs).padStart(14, "0")}-${this.#writer}-${this.#count}`;
  }
}

/** When an object of {@link ObjectKeys} was made, wall milliseconds; null for another key. */
export function objectWallMs(key: string): number | null {
  const found = keyOf.exec(key)?.[1];
  return found === undefined ? null : Number(found);
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
