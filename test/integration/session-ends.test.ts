/** What happens when sessions have ended, over a real database (F-075, X-06). */

import { appendStream } from "@rspp/replay/append-stream";
import { limits } from "@rspp/replay/limits";
import { SessionCloser, webhookId } from "@rspp/replay/session-closer";
import { TenantDirectory } from "@rspp/replay/tenant-settings";
import { AppendCall, appendOf, chainOf, memoryStores, open } from "@rspp/replay/testing/records";
import { TimelineKeeper } from "@rspp/replay/timeline-keeper";
import { webhookAccess } from "@rspp/replay/webhooks/access";
import { WebhookSender } from "@rspp/replay/webhooks/sender";
import { silentLog } from "@rspp/rpc/log";
import type { ActiveDocument } from "@rspp/store/active-documents";
import { pgAuditStore } from "@rspp/store/pg-audit-store";
import { pgSessionEnds } from "@rspp/store/pg-session-ends";
import { pgTimelineIndex } from "@rspp/store/pg-timeline-index";
import type { SessionEnds } from "@rspp/store/session-ends";
import { type TestDatabase, testDatabase } from "@rspp/store/testkit/test-database";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, expect, test } from "vitest";

const begin = 1_700_000_000_000;
const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const url = "https://hooks.example/rspp?key=abc";

let at: TestDatabase;
let ends: SessionEnds;
let now = begin;
let documents: ActiveDocument[] = [];
const { objects } = memoryStores();

beforeAll(async () => {
  at = await testDatabase();
  ends = pgSessionEnds(at.db);
});
afterAll(() => at.close());

const common = () => ({
  objects,
  index: pgTimelineIndex(at.db),
  log: silentLog,
  wallMs: () => now,
  after: (ms: number, fire: () => void) => void setTimeout(fire, ms),
});

function configured(tenantId: string, config: object): ActiveDocument {
  const content = new TextEncoder().encode(JSON.stringify({ config }));
  return { tenantId, kind: "tenant_config", name: "default", version: 1, digest: "", content };
}

async function record(tenant: string, session: string, ended = true): Promise<void> {
  const keeper = new TimelineKeeper(common());
  const call = new AppendCall((requests) => appendStream(keeper, requests, new AbortController().signal)).push(open);
  await call
    .push(appendOf(chainOf(5, { tenant, session, wallMs: begin, ended })))
    .end()
    .rest();
}

const closer = () =>
  new SessionCloser({
    ...common(),
    ends,
    tenants: new TenantDirectory({ list: async () => documents }, () => now),
    actor: "replay",
  });
const take = (except: string[] = []) => ends.take({ nowWallMs: now, leaseMs: 60_000, except });

test("X-06 F-075 the end of a session is summed up and entered once, by however many processes; a live one is left alone", async () => {
  documents = [configured("acme", { webhooks: [{ url, secret: "env:HOOK", events: ["session.ended"] }] })];
  await record("acme", "s1");
  await record("acme", "open", false);
  await record("acme", "held");
  await at.db.transaction((tx) =>
    tx.execute(sql`INSERT INTO rspp.sessions (tenant_id, session_id, request_key, request_digest, pipeline_name,
        pipeline_version, pipeline_digest, transport, instance_id, endpoint_url, region, token_id, routed_wall_ms,
        route_expires_wall_ms, state)
      VALUES ('acme', 'held', 'k', '', 'p', 1, '', 'websocket', 'a', '', '', '', 1, 2, 2)`),
  );
  now = begin + limits.END_SETTLE_MS;
  expect(await closer().step()).toBe(0);
  now += 100;
  const closed = await Promise.all([closer().step(), closer().step(), closer().step()]);
  expect(closed.reduce((a, b) => a + b)).toBe(1);
  const kept = await ends.summary({ tenantId: "acme", sessionId: "s1" });
  expect(kept).toMatchObject({ pipelineName: "p", summary: { session_id: "s1", complete: true, tokens: null } });
  expect(await ends.summary({ tenantId: "other", sessionId: "s1" })).toBeUndefined();
  const first = await take();
  expect(first).toMatchObject({
    id: webhookId({ tenantId: "acme", sessionId: "s1" }, "session.ended", url),
    attempts: 1,
  });
  expect(JSON.parse(first?.body ?? "")).toMatchObject({
    type: "session.ended",
    timestamp: new Date(begin + 5).toISOString(),
    data: { tenant_id: "acme", session_id: "s1", turns: { opened: 0 } },
  });
  expect(await take()).toBeUndefined();
  // Nobody told what became of it: the same comes again.
  now += 60_000;
  const again = await take();
  expect(again).toMatchObject({ id: first?.id, body: first?.body, attempts: 2 });
  expect(await take(["acme"])).toBeUndefined();
  if (first === undefined || again === undefined) throw new Error("nothing due");
  const failed = { delivered: false, retryAtWallMs: null, outcome: "late word of the first attempt" };
  await ends.settle(first, failed, { wallMs: now, actor: "replay" });
  await ends.settle(
    again,
    { delivered: true, retryAtWallMs: null, outcome: "HTTP 200" },
    { wallMs: now, actor: "replay" },
  );
  now += 3_600_000;
  expect(await take()).toBeUndefined();
  // Silent for long: its runtime went without a word.
  expect(await closer().step()).toBe(1);
  expect((await ends.summary({ tenantId: "acme", sessionId: "open" }))?.summary).toMatchObject({
    reason: "lost",
    complete: false,
  });
  expect(await ends.summary({ tenantId: "acme", sessionId: "held" })).toBeUndefined();
  expect(await ends.forget(now - 1)).toBe(1);
});

test("X-06 a webhook that nobody answers is dead after its last attempt, with an audit entry that holds no path and no secret", async () => {
  now = begin + 2_000;
  await record("acme", "s2");
  documents = [configured("acme", { webhooks: [{ url, secret: "env:HOOK", events: ["session.ended"] }] })];
  await at.db.transaction((tx) => tx.execute(sql`DELETE FROM rspp.webhook_outbox`));
  expect(await closer().step()).toBe(1);
  const seen = new Set<string | undefined>();
  const sender = new WebhookSender({
    ...common(),
    ends,
    access: webhookAccess({ origins: [], secrets: ["acme=env:HOOK"] }, { HOOK: secret }),
    post: async ({ headers }) => {
      seen.add(headers["webhook-id"]);
      return { status: 503, problem: "" };
    },
    random: () => 0.5,
    actor: "replay",
  });
  const attempts: number[] = [];
  for (const pause of [0, ...limits.WEBHOOK_RETRY_MS, 100_000_000]) {
    now += pause;
    attempts.push(await sender.step());
    await sender.idle();
  }
  expect(attempts).toEqual([...limits.WEBHOOK_RETRY_MS.map(() => 1), 1, 0]);
  expect(seen.size).toBe(1);
  const [entry, ...more] = await pgAuditStore(at.db).list({ tenantId: "acme", limit: 10, action: "webhook.dead" });
  expect(more).toEqual([]);
  expect(entry).toMatchObject({ actor: "replay", subject: "session_id=s2" });
  expect(entry?.detail).toMatchObject({ origin: "https://hooks.example", attempts: 9, outcome: "HTTP 503" });
  expect(JSON.stringify(entry)).not.toMatch(/key=abc|whsec|env:HOOK/);
});

test("X-06 past a tenant's bound its webhooks are dead at once and said to be; another tenant's wait as ever", async () => {
  const at2 = { wallMs: now, queueMax: 1, actor: "replay" };
  for (const [tenant, session] of [
    ["full", "a"],
    ["full", "b"],
    ["free", "a"],
  ] as const) {
    await record(tenant, session);
    const key = { tenantId: tenant, sessionId: session };
    const hook = { session: key, event: "session.ended", url, secret: "env:H", secretTenant: tenant, body: "{}" };
    const summary = { session: key, endedWallMs: now, pipelineName: "p", summary: {} };
    expect(await ends.close(summary, [{ id: `msg_${tenant}_${session}`, ...hook }], at2)).toBe(true);
    expect(await ends.close(summary, [{ id: `msg_${tenant}_${session}`, ...hook }], at2)).toBe(false);
  }
  const dead = await pgAuditStore(at.db).list({ tenantId: "full", limit: 10 });
  expect(dead.map(({ subject, detail }) => [subject, detail.outcome])).toEqual([["session_id=b", "queue full"]]);
  expect(await take(["acme", "full"])).toMatchObject({ id: "msg_free_a" });
  expect(await take(["acme", "free"])).toMatchObject({ id: "msg_full_a" });
  expect(await take(["acme"])).toBeUndefined();
});
