import { sql } from "drizzle-orm";
import type { Database, Tx } from "./database.ts";
import { checkLimit, pagePosition, pageToken } from "./page.ts";
import { appendAudit } from "./pg-audit-store.ts";
import { leases as l, sessionSummaries as m, sessions as s, timelines as t, webhookOutbox as w } from "./schema.ts";
import type { DueWebhook, NewWebhook, SessionEnds, StoredSummary } from "./session-ends.ts";
import { stateNumbers } from "./session-rows.ts";

const states = { waiting: 0, delivered: 1, dead: 2 } as const;
const forgottenMax = 1_000;
/** Of advisory locks on the queue of a tenant: its bound is exact. */
const lockSpace = 155;

export function pgSessionEnds(db: Database): SessionEnds {
  return {
    due: (ask) => db.transaction((tx) => due(tx, ask)),
    close: (summary, webhooks, at) => db.transaction((tx) => close(tx, summary, webhooks, at)),
    summary: ({ tenantId, sessionId }) =>
      db.transaction(async (tx) => {
        const { rows } = await tx.execute<SummaryRow>(
          sql`SELECT * FROM ${m} WHERE tenant_id = ${tenantId} AND session_id = ${sessionId}`,
        );
        return rows.map(summaryOf)[0];
      }),
    summaries: (ask) => summaries(db, ask),
    take: (ask) => db.transaction((tx) => take(tx, ask)),
    settle: (webhook, outcome, at) => db.transaction((tx) => settle(tx, webhook, outcome, at)),
    forget: (beforeWallMs) =>
      db.transaction(async (tx) => {
        const { rowCount } = await tx.execute(sql`
          DELETE FROM ${w} WHERE id IN (SELECT id FROM ${w}
            WHERE state <> ${states.waiting} AND finished_wall_ms < ${beforeWallMs} LIMIT ${forgottenMax})`);
        return rowCount ?? 0;
      }),
  };
}

async function due(tx: Tx, ask: Parameters<SessionEnds["due"]>[0]) {
  checkLimit(ask.limit);
  const same = (other: typeof s | typeof l) =>
    sql`${other.tenantId} = ${t.tenantId} AND ${other.sessionId} = ${t.sessionId}`;
  const { rows } = await tx.execute<{
    tenant_id: string;
    session_id: string;
    pipeline_name: string;
    last_wall_ms: string;
    ended: boolean;
  }>(sql`
    SELECT tenant_id, session_id, pipeline_name, last_wall_ms, ended FROM ${t}
    WHERE NOT summed_up AND last_wall_ms < CASE WHEN ended THEN ${ask.endedBeforeMs}::bigint
        ELSE ${ask.silentBeforeMs}::bigint END
      AND NOT EXISTS (SELECT FROM ${s} WHERE ${same(s)} AND ${s.state} <> ${stateNumbers.ended})
      AND NOT EXISTS (SELECT FROM ${l} WHERE ${same(l)} AND ${l.endedWallMs} = 0 AND ${l.expiresWallMs} > ${ask.nowWallMs})
    ORDER BY last_wall_ms LIMIT ${ask.limit}`);
  return rows.map((row) => ({
    session: { tenantId: row.tenant_id, sessionId: row.session_id },
    pipelineName: row.pipeline_name,
    lastWallMs: Number(row.last_wall_ms),
    ended: row.ended,
  }));
}

async function close(
  tx: Tx,
  { session: { tenantId, sessionId }, endedWallMs, pipelineName, summary }: StoredSummary,
  webhooks: readonly NewWebhook[],
  at: Parameters<SessionEnds["close"]>[2],
): Promise<boolean> {
  const { rowCount } = await tx.execute(sql`
    UPDATE ${t} SET summed_up = true
    WHERE tenant_id = ${tenantId} AND session_id = ${sessionId} AND NOT summed_up`);
  if (rowCount !== 1) return false;
  await tx.execute(sql`
    INSERT INTO ${m} (tenant_id, session_id, ended_wall_ms, pipeline_name, summary)
    VALUES (${tenantId}, ${sessionId}, ${endedWallMs}, ${pipelineName}, ${JSON.stringify(summary)}::jsonb)
    ON CONFLICT (tenant_id, session_id) DO UPDATE SET summary = excluded.summary`);
  if (webhooks.length === 0) return true;
  await tx.execute(sql`SELECT pg_advisory_xact_lock(${lockSpace}, hashtext(${tenantId}))`);
  const { rows } = await tx.execute<{ waiting: string }>(
    sql`SELECT count(*) AS waiting FROM ${w} WHERE tenant_id = ${tenantId} AND state = ${states.waiting}`,
  );
  let room = at.queueMax - Number(rows[0]?.waiting ?? 0);
  const refused: NewWebhook[] = [];
  for (const hook of webhooks) {
    const full = room <= 0;
    const state = full ? states.dead : states.waiting;
    const added = await tx.execute(sql`
      INSERT INTO ${w} (id, tenant_id, session_id, event, url, secret, secret_tenant, body, created_wall_ms, next_wall_ms,
        state, outcome, finished_wall_ms)
      VALUES (${hook.id}, ${tenantId}, ${sessionId}, ${hook.event}, ${hook.url}, ${hook.secret}, ${hook.secretTenant},
        ${hook.body}, ${at.wallMs}, ${at.wallMs}, ${state}, ${full ? "queue full" : ""}, ${full ? at.wallMs : 0})
      ON CONFLICT (id) DO NOTHING`);
    if (added.rowCount !== 1) continue;
    if (full) refused.push(hook);
    else room -= 1;
  }
  for (const hook of refused) await auditDead(tx, hook, { attempts: 0, outcome: "queue full" }, at);
  return true;
}

interface SummaryRow extends Record<string, unknown> {
  tenant_id: string;
  session_id: string;
  ended_wall_ms: string;
  pipeline_name: string;
  summary: Record<string, unknown>;
}

function summaryOf(row: SummaryRow): StoredSummary {
  return {
    session: { tenantId: row.tenant_id, sessionId: row.session_id },
    endedWallMs: Number(row.ended_wall_ms),
    pipelineName: row.pipeline_name,
    summary: row.summary,
  };
}

async function summaries(db: Database, ask: Parameters<SessionEnds["summaries"]>[0]) {
  checkLimit(ask.limit);
  const position = ask.after ? pagePosition(ask.after, ["number", "string"]) : undefined;
  const named = ask.pipelineName === undefined ? sql`` : sql`AND pipeline_name = ${ask.pipelineName}`;
  const since = ask.sinceWallMs === undefined ? sql`` : sql`AND ended_wall_ms >= ${ask.sinceWallMs}`;
  const beyond =
    position === undefined
      ? sql``
      : sql`AND (ended_wall_ms, session_id) < (${position[0]}::bigint, ${position[1]}::text)`;
  const { rows } = await db.transaction((tx) =>
    tx.execute<SummaryRow>(sql`
      SELECT * FROM ${m} WHERE tenant_id = ${ask.tenantId} ${named} ${since} ${beyond}
      ORDER BY ended_wall_ms DESC, session_id DESC LIMIT ${ask.limit + 1}`),
  );
  const found = rows.slice(0, ask.limit).map(summaryOf);
  const last = found.at(-1);
  const more = rows.length > ask.limit && last !== undefined;
  return { summaries: found, next: more ? pageToken([last.endedWallMs, last.session.sessionId]) : null };
}

interface OutboxRow extends Record<string, unknown> {
  id: string;
  tenant_id: string;
  session_id: string;
  event: string;
  url: string;
  secret: string;
  secret_tenant: string;
  body: string;
  created_wall_ms: string;
  attempts: number;
}

async function take(tx: Tx, ask: Parameters<SessionEnds["take"]>[0]): Promise<DueWebhook | undefined> {
  const { rows } = await tx.execute<OutboxRow>(sql`
    UPDATE ${w} SET attempts = attempts + 1, next_wall_ms = ${ask.nowWallMs + ask.leaseMs}
    WHERE id = (SELECT id FROM ${w}
      WHERE state = ${states.waiting} AND next_wall_ms <= ${ask.nowWallMs}
        AND tenant_id <> ALL(${sql.param([...ask.except])}::text[])
      ORDER BY next_wall_ms LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING *`);
  return rows.map((row) => ({
    id: row.id,
    session: { tenantId: row.tenant_id, sessionId: row.session_id },
    event: row.event,
    url: row.url,
    secret: row.secret,
    secretTenant: row.secret_tenant,
    body: row.body,
    createdWallMs: Number(row.created_wall_ms),
    attempts: row.attempts,
  }))[0];
}

async function settle(
  tx: Tx,
  webhook: DueWebhook,
  { delivered, retryAtWallMs, outcome }: Parameters<SessionEnds["settle"]>[1],
  at: Parameters<SessionEnds["settle"]>[2],
): Promise<void> {
  const again = !delivered && retryAtWallMs !== null;
  const state = delivered ? states.delivered : again ? states.waiting : states.dead;
  // Whoever was given it after this attempt's time was over says by himself what became of it; a delivery counts at any time.
  const mine = delivered ? sql`` : sql`AND attempts = ${webhook.attempts}`;
  const { rowCount } = await tx.execute(sql`
    UPDATE ${w} SET state = ${state}, outcome = ${outcome.slice(0, 256)},
      next_wall_ms = ${again ? retryAtWallMs : 0}, finished_wall_ms = ${again ? 0 : at.wallMs}
    WHERE id = ${webhook.id} AND state = ${states.waiting} ${mine}`);
  if (rowCount === 1 && state === states.dead) {
    await auditDead(tx, webhook, { attempts: webhook.attempts, outcome }, at);
  }
}

function auditDead(
  tx: Tx,
  { id, session, event, url }: NewWebhook,
  detail: { readonly attempts: number; readonly outcome: string },
  { wallMs: atWallMs, actor }: { readonly wallMs: number; readonly actor: string },
): Promise<void> {
  return appendAudit(tx, {
    tenantId: session.tenantId,
    atWallMs,
    actor,
    action: "webhook.dead",
    subject: `session_id=${session.sessionId}`,
    // The path and the query may hold what is nobody's business.
    detail: { webhook_id: id, event, origin: new URL(url).origin, ...detail },
  });
}
