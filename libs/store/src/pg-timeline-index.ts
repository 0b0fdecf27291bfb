import { and, asc, desc, eq, gte, sql } from "drizzle-orm";
import type { Database, Tx } from "./database.ts";
import { checkLimit, pagePosition, pageToken } from "./page.ts";
import { timelineSegments as g, timelines as t } from "./schema.ts";
import type { SessionKey } from "./state-store.ts";
import type { SegmentOutcome, TimelineIndex, TimelineInfo, TimelineSegment } from "./timeline-index.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const segmentsOf = ({ tenantId, sessionId }: SessionKey) => and(eq(g.tenantId, tenantId), eq(g.sessionId, sessionId));

function segmentOf({ tenantId, sessionId, ...row }: typeof g.$inferSelect): TimelineSegment {
  return { ...row, session: { tenantId, sessionId }, sha256: hex(row.sha256), headDigest: hex(row.headDigest) };
}

function infoOf({ tenantId, sessionId, ...row }: typeof t.$inferSelect): TimelineInfo {
  return { ...row, session: { tenantId, sessionId } };
}

export function pgTimelineIndex(db: Database): TimelineIndex {
  return {
    add: (segment, info) => db.transaction((tx) => add(tx, segment, info)),
    segments: async (session, limit, after) => {
      checkLimit(limit);
      const beyond =
        after && sql`(${g.epoch}, ${g.firstSequence}) > (${after.epoch}::bigint, ${after.firstSequence}::bigint)`;
      const rows = await db.transaction((tx) =>
        tx
          .select()
          .from(g)
          .where(and(segmentsOf(session), beyond))
          .orderBy(asc(g.epoch), asc(g.firstSequence))
          .limit(limit),
      );
      return rows.map(segmentOf);
    },
    info: ({ tenantId, sessionId }) =>
      db.transaction(async (tx) => {
        const [row] = await tx
          .select()
          .from(t)
          .where(and(eq(t.tenantId, tenantId), eq(t.sessionId, sessionId)));
        return row && infoOf(row);
      }),
    list: (ask) => list(db, ask),
  };
}

async function add(tx: Tx, segment: TimelineSegment, info: TimelineInfo): Promise<SegmentOutcome> {
  const { session, epoch } = segment;
  await tx.execute(sql`SELECT pg_advisory_xact_lock(hashtextextended(${JSON.stringify([session, epoch])}, 154))`);
  const [last] = await tx
    .select()
    .from(g)
    .where(and(segmentsOf(session), eq(g.epoch, epoch)))
    .orderBy(desc(g.firstSequence))
    .limit(1);
  if (last?.firstSequence === segment.firstSequence && hex(last.sha256) === segment.sha256) return "unchanged";
  if (last !== undefined && segment.firstSequence !== last.lastSequence + 1) return "does_not_follow";
  const { session: _s, sha256, headDigest, ...rest } = segment;
  await tx
    .insert(g)
    .values({ ...session, ...rest, sha256: Buffer.from(sha256, "hex"), headDigest: Buffer.from(headDigest, "hex") });
  const { session: _i, ...summary } = info;
  await tx
    .insert(t)
    .values({ ...session, ...summary })
    .onConflictDoUpdate({ target: [t.tenantId, t.sessionId], set: summary });
  return "added";
}

async function list(db: Database, ask: Parameters<TimelineIndex["list"]>[0]) {
  checkLimit(ask.limit);
  const position = ask.after ? pagePosition(ask.after, ["number", "string"]) : undefined;
  const rows = await db.transaction((tx) =>
    tx
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
      .limit(ask.limit + 1),
  );
  const timelines = rows.slice(0, ask.limit).map(infoOf);
  const last = timelines.at(-1);
  const more = rows.length > ask.limit && last !== undefined;
  return { timelines, next: more ? pageToken([last.startedWallMs, last.session.sessionId]) : null };
}
