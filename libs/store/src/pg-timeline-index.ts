import { and, asc, desc, eq, gte, inArray, sql } from "drizzle-orm";
import type { Database, Tx } from "./database.ts";
import { checkLimit, pagePosition, pageToken } from "./page.ts";
import { addSegments, giveUpObjects } from "./pg-timeline-add.ts";
import { timelineSegments as g, timelines as t } from "./schema.ts";
import type { SessionKey } from "./state-store.ts";
import type { TimelineHead, TimelineIndex, TimelineInfo, TimelineSegment } from "./timeline-index.ts";

const epochsMax = 256;
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const segmentsOf = ({ tenantId, sessionId }: SessionKey) => and(eq(g.tenantId, tenantId), eq(g.sessionId, sessionId));

function segmentOf({ tenantId, sessionId, ...row }: typeof g.$inferSelect): TimelineSegment {
  return { ...row, session: { tenantId, sessionId }, sha256: hex(row.sha256), headDigest: hex(row.headDigest) };
}

export function pgTimelineIndex(db: Database): TimelineIndex {
  return {
    add: (segments) =>
      segments.length === 0 ? Promise.resolve([]) : db.transaction((tx) => addSegments(tx, segments)),
    giveUpObjects: async (keys) => {
      checkLimit(keys.length);
      return db.transaction((tx) => giveUpObjects(tx, keys));
    },
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
  return rows.map(({ tenantId, sessionId, summedUp: _summedUp, ...row }) => ({
    ...row,
    session: { tenantId, sessionId },
    epochs: (epochs.get(sessionId) ?? []).slice(-epochsMax).map(({ epoch }) => epoch),
  }));
}
