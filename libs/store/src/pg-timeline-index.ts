import { and, asc, desc, eq, gte, inArray, sql } from "drizzle-orm";
import type { Database, Tx } from "./database.ts";
import { checkLimit, pagePosition, pageToken } from "./page.ts";
import { timelineSegments as g, timelines as t } from "./schema.ts";
import type { SessionKey } from "./state-store.ts";
import type {
  SegmentOutcome,
  TimelineHead,
  TimelineIndex,
  TimelineInfo,
  TimelinePart,
  TimelineSegment,
} from "./timeline-index.ts";

const epochsMax = 256;
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const segmentsOf = ({ tenantId, sessionId }: SessionKey) => and(eq(g.tenantId, tenantId), eq(g.sessionId, sessionId));

function segmentOf({ tenantId, sessionId, ...row }: typeof g.$inferSelect): TimelineSegment {
  return { ...row, session: { tenantId, sessionId }, sha256: hex(row.sha256), headDigest: hex(row.headDigest) };
}

export function pgTimelineIndex(db: Database): TimelineIndex {
  return {
    add: (segment, part) => db.transaction((tx) => add(tx, segment, part)),
    segments: async (session, limit, after, epoch) => {
      checkLimit(limit);
      const beyond =
        after && sql`(${g.epoch}, ${g.firstSequence}) > (${after.epoch}::bigint, ${after.firstSequence}::bigint)`;
      const rows = await db.transaction((tx) =>
        tx
          .select()
          .from(g)
          .where(and(segmentsOf(session), beyond, epoch === undefined ? undefined : eq(g.epoch, epoch)))
          .orderBy(asc(g.epoch), asc(g.firstSequence))
          .limit(limit),
      );
      return rows.map(segmentOf);
    },
    heads: (session) => db.transaction((tx) => heads(tx, session)),
    info: (session) =>
      db.transaction(async (tx) => {
        const rows = await tx
          .select()
          .from(t)
          .where(and(eq(t.tenantId, session.tenantId), eq(t.sessionId, session.sessionId)));
        return (await withEpochs(tx, rows))[0];
      }),
    list: (ask) => list(db, ask),
  };
}

async function add(tx: Tx, segment: TimelineSegment, part: TimelinePart): Promise<SegmentOutcome> {
  const { session, epoch } = segment;
  await tx.execute(sql`SELECT pg_advisory_xact_lock(hashtextextended(${JSON.stringify([session, epoch])}, 154))`);
  const [last] = await tx
    .select()
    .from(g)
    .where(and(segmentsOf(session), eq(g.epoch, epoch)))
    .orderBy(desc(g.firstSequence))
    .limit(1);
  if (last?.firstSequence === segment.firstSequence && hex(last.sha256) === segment.sha256) return "unchanged";
  if (segment.firstSequence !== (last?.lastSequence ?? 0) + 1) return "does_not_follow";
  const { session: _s, sha256, headDigest, ...rest } = segment;
  await tx
    .insert(g)
    .values({ ...session, ...rest, sha256: Buffer.from(sha256, "hex"), headDigest: Buffer.from(headDigest, "hex") });
  await addPart(tx, segment, part);
  return "added";
}

/** Sums and extremes, so that two epochs may add their parts in either order. */
async function addPart(tx: Tx, { session, bytes }: TimelineSegment, part: TimelinePart): Promise<void> {
  const { firstWallMs, ...rest } = part;
  const named = part.pipelineName !== "";
  await tx
    .insert(t)
    .values({ ...session, ...rest, bytes, startedWallMs: firstWallMs })
    .onConflictDoUpdate({
      target: [t.tenantId, t.sessionId],
      set: {
        ...(named ? { pipelineName: part.pipelineName, pipelineVersion: part.pipelineVersion } : {}),
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

async function heads(tx: Tx, session: SessionKey): Promise<TimelineHead[]> {
  const rows = await tx
    .selectDistinctOn([g.epoch], { epoch: g.epoch, lastSequence: g.lastSequence, headDigest: g.headDigest })
    .from(g)
    .where(segmentsOf(session))
    .orderBy(desc(g.epoch), desc(g.firstSequence))
    .limit(epochsMax);
  return rows.map((row) => ({ ...row, headDigest: hex(row.headDigest) })).reverse();
}

async function list(db: Database, ask: Parameters<TimelineIndex["list"]>[0]) {
  checkLimit(ask.limit);
  const position = ask.after ? pagePosition(ask.after, ["number", "string"]) : undefined;
  const found = await db.transaction(async (tx) => {
    const rows = await tx
      .select()
      .from(t)
      .where(
        and(
          eq(t.tenantId, ask.tenantId),
          ask.pipelineName === undefined ? undefined : eq(t.pipelineName, ask.pipelineName),
          ask.sinceWallMs === undefined ? undefined : gte(t.startedWallMs, ask.sinceWallMs),
          position && sql`(${t.startedWallMs}, ${t.sessionId}) < (${position[0]}::bigint, ${position[1]})`,
        ),
      )
      .orderBy(desc(t.startedWallMs), desc(t.sessionId))
      .limit(ask.limit + 1);
    return { timelines: await withEpochs(tx, rows.slice(0, ask.limit)), more: rows.length > ask.limit };
  });
  const last = found.timelines.at(-1);
  const next = found.more && last !== undefined ? pageToken([last.startedWallMs, last.session.sessionId]) : null;
  return { timelines: found.timelines, next };
}

/** The rows are of one tenant. */
async function withEpochs(tx: Tx, rows: readonly (typeof t.$inferSelect)[]): Promise<TimelineInfo[]> {
  const [first] = rows;
  if (first === undefined) return [];
  const ids = rows.map((row) => row.sessionId);
  const found = await tx
    .selectDistinct({ sessionId: g.sessionId, epoch: g.epoch })
    .from(g)
    .where(and(eq(g.tenantId, first.tenantId), inArray(g.sessionId, ids)))
    .orderBy(asc(g.sessionId), asc(g.epoch));
  const epochs = Map.groupBy(found, (one) => one.sessionId);
  return rows.map(({ tenantId, sessionId, ...row }) => ({
    ...row,
    session: { tenantId, sessionId },
    epochs: (epochs.get(sessionId) ?? []).slice(-epochsMax).map(({ epoch }) => epoch),
  }));
}
