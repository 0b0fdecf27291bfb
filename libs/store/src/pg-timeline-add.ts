import { inArray, sql } from "drizzle-orm";
import type { Tx } from "./database.ts";
import { timelineSegments as g, timelineSweptObjects as swept, timelines as t } from "./schema.ts";
import { StoreError } from "./store-error.ts";
import type { NewTimelineSegment, SegmentOutcome, TimelinePart, TimelineSegment } from "./timeline-index.ts";

const forgetAfter = "30 days";
/** Of advisory locks on objects: writers share one, who gives an object up has it alone. */
const lockSpace = 154;
/** Objects given up at once, each with a lock. */
const givenUpMax = 100;

/**
 * One statement adds all that follow. No lock is needed between writers: a segment is added only behind the last one that
 * is committed, and two that would stand behind the same one have the same key, of which the first wins.
 */
export async function addSegments(tx: Tx, added: readonly NewTimelineSegment[]): Promise<SegmentOutcome[]> {
  await holdObjects(tx, [...new Set(added.map(({ segment }) => segment.objectKey))]);
  // In one order, so that two writers never wait for each other.
  const segments = added.map(({ segment }) => segment).sort(byKey);
  const column = <T>(of: (segment: TimelineSegment) => T) => sql.param(segments.map(of));
  const { rows } = await tx.execute<{ at: number }>(sql`
    WITH fresh AS (
      SELECT * FROM unnest(
        ${column(({ session }) => session.tenantId)}::text[], ${column(({ session }) => session.sessionId)}::text[],
        ${column(({ epoch }) => epoch)}::bigint[], ${column(({ firstSequence }) => firstSequence)}::bigint[],
        ${column(({ lastSequence }) => lastSequence)}::bigint[], ${column(({ objectKey }) => objectKey)}::text[],
        ${column(({ byteOffset }) => byteOffset)}::bigint[], ${column(({ bytes }) => bytes)}::bigint[],
        ${column(({ sha256 }) => sha256)}::text[], ${column(({ headDigest }) => headDigest)}::text[]
      ) WITH ORDINALITY AS f(tenant_id, session_id, epoch, first_sequence, last_sequence, object_key, byte_offset, bytes,
        sha256, head_digest, at)
    ), done AS (
      INSERT INTO ${g} (tenant_id, session_id, epoch, first_sequence, last_sequence, object_key, byte_offset, bytes,
        sha256, head_digest)
      SELECT tenant_id, session_id, epoch, first_sequence, last_sequence, object_key, byte_offset, bytes,
        decode(sha256, 'hex'), decode(head_digest, 'hex')
      FROM fresh f
      WHERE first_sequence = 1 + coalesce((
        SELECT s.last_sequence FROM ${g} s
        WHERE s.tenant_id = f.tenant_id AND s.session_id = f.session_id AND s.epoch = f.epoch
        ORDER BY s.first_sequence DESC LIMIT 1), 0)
      ORDER BY at
      ON CONFLICT DO NOTHING
      RETURNING tenant_id, session_id, epoch, first_sequence
    )
    SELECT at::integer FROM fresh JOIN done USING (tenant_id, session_id, epoch, first_sequence)`);
  const there = new Set(rows.map(({ at }) => segments[at - 1]));
  await addParts(
    tx,
    added.filter(({ segment }) => there.has(segment)),
  );
  const known = new Set<TimelineSegment>();
  for (const segment of segments) if (!there.has(segment) && (await isKnown(tx, segment))) known.add(segment);
  return added.map(({ segment }) =>
    there.has(segment) ? "added" : known.has(segment) ? "unchanged" : "does_not_follow",
  );
}

/** From here to the end of the transaction nobody gives them up. @throws StoreError `conflict` when somebody has. */
async function holdObjects(tx: Tx, keys: readonly string[]): Promise<void> {
  for (const key of [...keys].sort()) {
    await tx.execute(sql`SELECT pg_advisory_xact_lock_shared(${lockSpace}, hashtext(${key}))`);
  }
  const gone = await tx
    .select()
    .from(swept)
    .where(inArray(swept.objectKey, [...keys]))
    .limit(1);
  if (gone.length === 0) return;
  throw new StoreError("conflict", "The segment's object was given up before it was indexed", "Write it anew");
}

/** The very segment is there, wherever it was written: an answer was lost, and it came again. */
async function isKnown(tx: Tx, { session, epoch, firstSequence, sha256 }: TimelineSegment): Promise<boolean> {
  const { rows } = await tx.execute(sql`
    SELECT 1 FROM ${g} WHERE tenant_id = ${session.tenantId} AND session_id = ${session.sessionId} AND epoch = ${epoch}
      AND first_sequence = ${firstSequence} AND sha256 = decode(${sha256}, 'hex')`);
  return rows.length > 0;
}

/** Sums and extremes, so that two epochs may add their parts in either order. */
async function addParts(tx: Tx, added: readonly NewTimelineSegment[]): Promise<void> {
  if (added.length === 0) return;
  const sums = new Map<string, NewTimelineSegment>();
  for (const { segment, part } of added) {
    const key = JSON.stringify([segment.session.tenantId, segment.session.sessionId]);
    const before = sums.get(key);
    const bytes = segment.bytes + (before?.segment.bytes ?? 0);
    const sum = before === undefined ? part : together(before.part, part);
    sums.set(key, { segment: { ...segment, bytes }, part: sum });
  }
  const rows = [...sums.values()].map(({ segment, part: { firstWallMs, ...rest } }) => {
    return { ...segment.session, ...rest, bytes: segment.bytes, startedWallMs: firstWallMs };
  });
  const named = sql`excluded.pipeline_name <> ''`;
  await tx
    .insert(t)
    .values(rows.sort((a, b) => compare(a.tenantId, b.tenantId) || compare(a.sessionId, b.sessionId)))
    .onConflictDoUpdate({
      target: [t.tenantId, t.sessionId],
      set: {
        pipelineName: sql`CASE WHEN ${named} THEN excluded.pipeline_name ELSE ${t.pipelineName} END`,
        pipelineVersion: sql`CASE WHEN ${named} THEN excluded.pipeline_version ELSE ${t.pipelineVersion} END`,
        startedWallMs: sql`least(${t.startedWallMs}, excluded.started_wall_ms)`,
        lastWallMs: sql`greatest(${t.lastWallMs}, excluded.last_wall_ms)`,
        records: sql`${t.records} + excluded.records`,
        bytes: sql`${t.bytes} + excluded.bytes`,
        turns: sql`${t.turns} + excluded.turns`,
        recordingLevel: sql`greatest(${t.recordingLevel}, excluded.recording_level)`,
        ended: sql`${t.ended} or excluded.ended`,
        losses: sql`${t.losses} + excluded.losses`,
      },
    });
}

function together(a: TimelinePart, b: TimelinePart): TimelinePart {
  const named = b.pipelineName === "" ? a : b;
  return {
    pipelineName: named.pipelineName,
    pipelineVersion: named.pipelineVersion,
    firstWallMs: Math.min(a.firstWallMs, b.firstWallMs),
    lastWallMs: Math.max(a.lastWallMs, b.lastWallMs),
    records: a.records + b.records,
    turns: a.turns + b.turns,
    recordingLevel: Math.max(a.recordingLevel, b.recordingLevel),
    ended: a.ended || b.ended,
    losses: a.losses + b.losses,
  };
}

/** The lock waits for writers that are about to name one of them; who comes after finds it given up. */
export async function giveUpObjects(tx: Tx, keys: readonly string[]): Promise<string[]> {
  if (keys.length === 0) return [];
  const named = async (some: readonly string[]): Promise<Set<string>> => {
    const rows = await tx
      .selectDistinct({ key: g.objectKey })
      .from(g)
      .where(inArray(g.objectKey, [...some]));
    return new Set(rows.map(({ key }) => key));
  };
  const first = await named(keys);
  const candidates = keys
    .filter((key) => !first.has(key))
    .sort()
    .slice(0, givenUpMax);
  if (candidates.length === 0) return [];
  for (const key of candidates) await tx.execute(sql`SELECT pg_advisory_xact_lock(${lockSpace}, hashtext(${key}))`);
  const late = await named(candidates);
  const given = candidates.filter((key) => !late.has(key));
  await tx.execute(sql`DELETE FROM ${swept} WHERE swept_at < now() - ${forgetAfter}::interval`);
  if (given.length > 0) {
    const rows = given.map((objectKey) => ({ objectKey }));
    await tx.insert(swept).values(rows).onConflictDoNothing();
  }
  return given;
}

function byKey(a: TimelineSegment, b: TimelineSegment): number {
  return (
    compare(a.session.tenantId, b.session.tenantId) ||
    compare(a.session.sessionId, b.session.sessionId) ||
    a.epoch - b.epoch
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
