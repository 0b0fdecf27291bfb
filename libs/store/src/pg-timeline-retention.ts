import { sql } from "drizzle-orm";
import type { Database, Tx } from "./database.ts";
import { appendAudit } from "./pg-audit-store.ts";
import {
  sessionStates as d,
  sessionStateEntries as e,
  timelineSegments as g,
  leases as l,
  sessionSummaries as m,
  sessions as s,
  timelines as t,
} from "./schema.ts";
import { stateNumbers } from "./session-rows.ts";
import type { ExpiredTimelines, RetentionAsk, TimelineRetention } from "./timeline-retention.ts";

/** Their ids fit into one audit entry. */
const expiredMax = 64;
const none: ExpiredTimelines = { sessions: [], objectKeys: [], records: 0, bytes: 0 };

export function pgTimelineRetention(db: Database): TimelineRetention {
  return {
    tenants: (after, limit) => db.transaction((tx) => tenants(tx, after, limit)),
    expire: (ask) => db.transaction((tx) => expire(tx, ask)),
  };
}

/** Steps from one tenant to the next in the index, however many timelines each has. */
async function tenants(tx: Tx, after: string, limit: number): Promise<string[]> {
  const next = (from: ReturnType<typeof sql>) => sql`(SELECT min(x.tenant_id) FROM ${t} x WHERE x.tenant_id > ${from})`;
  const { rows } = await tx.execute<{ tenant: string }>(sql`
    WITH RECURSIVE found(tenant) AS (
      SELECT ${next(sql`${after}`)} UNION ALL SELECT ${next(sql`found.tenant`)} FROM found WHERE found.tenant IS NOT NULL
    ) SELECT tenant FROM found WHERE tenant IS NOT NULL LIMIT ${limit}`);
  return rows.map(({ tenant }) => tenant);
}

interface Gone extends Record<string, unknown> {
  session_id: string;
  records: string;
  bytes: string;
}

async function expire(tx: Tx, ask: RetentionAsk): Promise<ExpiredTimelines> {
  const { tenantId, beforeWallMs, nowWallMs, actor, reason } = ask;
  const same = (other: typeof s | typeof l) =>
    sql`${other.tenantId} = ${t.tenantId} AND ${other.sessionId} = ${t.sessionId}`;
  // A timeline that somebody writes to is held by the writer, and skipped. By the beginning, for which there is an index.
  const { rows } = await tx.execute<Gone>(sql`
    DELETE FROM ${t} WHERE tenant_id = ${tenantId} AND session_id IN (
      SELECT session_id FROM ${t}
      WHERE tenant_id = ${tenantId} AND started_wall_ms < ${beforeWallMs} AND last_wall_ms < ${beforeWallMs}
        AND NOT EXISTS (SELECT FROM ${s} WHERE ${same(s)} AND ${s.state} <> ${stateNumbers.ended})
        AND NOT EXISTS (SELECT FROM ${l} WHERE ${same(l)} AND ${l.endedWallMs} = 0 AND ${l.expiresWallMs} > ${nowWallMs})
      ORDER BY started_wall_ms, session_id LIMIT ${Math.min(ask.limit, expiredMax)}
      FOR UPDATE SKIP LOCKED)
    RETURNING session_id, records, bytes`);
  if (rows.length === 0) return none;
  const ids = sql`ANY(${sql.param(rows.map((row) => row.session_id))}::text[])`;
  const named = await tx.execute<{ object_key: string }>(sql`
    WITH gone AS (DELETE FROM ${g} WHERE tenant_id = ${tenantId} AND session_id = ${ids} RETURNING object_key)
    SELECT DISTINCT object_key FROM gone ORDER BY object_key`);
  await tx.execute(sql`DELETE FROM ${e} WHERE tenant_id = ${tenantId} AND session_id = ${ids}`);
  await tx.execute(sql`DELETE FROM ${d} WHERE tenant_id = ${tenantId} AND session_id = ${ids}`);
  await tx.execute(sql`DELETE FROM ${m} WHERE tenant_id = ${tenantId} AND session_id = ${ids}`);
  const sessions = rows.map((row) => row.session_id).sort();
  const sum = (of: "records" | "bytes") => rows.reduce((all, row) => all + Number(row[of]), 0);
  const counts = { timelines: rows.length, records: sum("records"), bytes: sum("bytes") };
  await appendAudit(tx, {
    tenantId,
    atWallMs: nowWallMs,
    actor,
    action: "retention.expire",
    subject: "timelines",
    detail: { ...reason, before_wall_ms: beforeWallMs, ...counts, sessions },
  });
  return {
    sessions: sessions.map((sessionId) => ({ tenantId, sessionId })),
    objectKeys: named.rows.map((row) => row.object_key),
    records: counts.records,
    bytes: counts.bytes,
  };
}
