/** Summaries of sessions that runtimes really recorded, over replay's own calls, database and files (F-075). */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TimelineRecord } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { TimelineService } from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import { createSystemClock } from "@rspp/host/system-clock";
import { createReplayService, type ReplayService } from "@rspp/replay/service";
import { buildWaterfall } from "@rspp/replay/waterfall";
import { webhookAccess } from "@rspp/replay/webhooks/access";
import type { CallRecord } from "@rspp/rpc/call-audit";
import { connectRpc } from "@rspp/rpc/clients";
import { silentLog } from "@rspp/rpc/log";
import { startRpcServer } from "@rspp/rpc/server";
import { startExporter } from "@rspp/runtime/export/exporter";
import { openFileObjectStore } from "@rspp/store/file-object-store";
import { pgSessionEnds } from "@rspp/store/pg-session-ends";
import { pgTimelineIndex } from "@rspp/store/pg-timeline-index";
import { type TestDatabase, testDatabase } from "@rspp/store/testkit/test-database";
import { afterAll, beforeAll, expect, test } from "vitest";
import { recordedSession, refusal, tenantId } from "./replay-rig.ts";

let at: TestDatabase;
let dir: string;
let service: ReplayService;
let stop: () => Promise<void>;
let rpc: ReturnType<typeof connectRpc>;
let later = 0;
const audited: CallRecord[] = [];
const config = { timeline_access: { purpose_required: true, purposes: ["support"] } };
const strict = new TextEncoder().encode(JSON.stringify({ config }));

beforeAll(async () => {
  at = await testDatabase();
  dir = mkdtempSync(join(tmpdir(), "rspp-objects-"));
  const documents = {
    list: async () => [
      { tenantId: "strict", kind: "tenant_config", name: "default", version: 1, digest: "", content: strict } as const,
    ],
  };
  service = createReplayService({
    objects: await openFileObjectStore(dir),
    index: pgTimelineIndex(at.db),
    log: silentLog,
    after: (ms, fire) => void setTimeout(fire, ms),
    wallMs: () => Date.now() + later,
    ends: {
      ends: pgSessionEnds(at.db),
      documents,
      actor: "replay",
      webhooks: webhookAccess({ origins: [], secrets: [] }, {}),
      random: () => 0,
    },
    access: { documents, sink: { record: async (record) => void audited.push(record) } },
  });
  const server = await startRpcServer({ domain: "replay", routes: service.routes, host: "127.0.0.1", port: 0 });
  stop = async () => void (await server.stop(200));
  rpc = connectRpc({ baseUrl: `http://127.0.0.1:${server.port}`, domain: "none", attemptsMax: 1 });
});
afterAll(async () => {
  await stop?.();
  await service?.close();
  await service?.idle();
  await at?.close();
  rmSync(dir, { recursive: true, force: true });
});

async function exported(level: "L0" | "L1" | "L2"): Promise<{ sessionId: string; records: TimelineRecord[] }> {
  const { spool, store, sessionId } = await recordedSession(level);
  const who = { clock: createSystemClock(), log: silentLog, instanceId: "i", build: "b" };
  const exporter = startExporter({ spool, store, connection: rpc, ...who });
  await exporter.idle();
  await exporter.stop();
  const records: TimelineRecord[] = [];
  const ask = { session: { tenantId, sessionId } };
  for await (const part of rpc.client(TimelineService).readTimeline(ask)) records.push(...part.records);
  return { sessionId, records };
}

test("F-075 a session's summary agrees with its waterfall; what the level does not record is not set; nobody else has it", async () => {
  const client = rpc.client(TimelineService);
  const [full, least] = [await exported("L1"), await exported("L0")];
  const before = await client.getSessionSummary({ session: { tenantId, sessionId: full.sessionId } });
  expect(before.ended).toBe(true);
  expect((await client.listSessionSummaries({ tenantId })).summaries).toEqual([]);
  later = 60_000;
  await service.sweep();
  const { summaries } = await client.listSessionSummaries({ tenantId });
  expect(summaries.map(({ session }) => session?.sessionId).sort()).toEqual([full.sessionId, least.sessionId].sort());
  const { summary } = await client.getSessionSummary({ session: { tenantId, sessionId: full.sessionId } });
  expect(summary).toEqual(before.summary);
  const drawn = buildWaterfall(full.records);
  expect(drawn.turns.length).toBeGreaterThan(1);
  expect(summary).toMatchObject({
    turns: drawn.turns.length,
    turnsCommitted: drawn.turns.filter(({ terminal }) => terminal === "commit").length,
    turnsAborted: drawn.turns.filter(({ terminal }) => terminal === "abort").length,
    heardAudioMs: BigInt(drawn.turns.reduce((sum, { playedMs }) => sum + Math.max(0, playedMs), 0)),
    level: 2,
    complete: true,
  });
  expect(summary?.turns).toBe((summary?.turnsCommitted ?? 0) + (summary?.turnsAborted ?? 0));
  for (const name of ["turn_open_ms", "voice_to_voice_ms", "cancel_fence_ms"] as const) {
    const told = drawn.turns.flatMap(({ latencies }) => latencies[name] ?? []);
    const found = summary?.latencies.find((one) => one.name === name);
    expect([name, found?.turns ?? 0]).toEqual([name, told.length]);
    if (found !== undefined) expect(found.maxMs).toBeCloseTo(Math.max(...told), 2);
  }
  expect(summary?.callerAudioMs).toBeGreaterThan(0n);
  expect(summary?.invocations).toBeGreaterThan(0);
  const bare = summaries.find(({ session }) => session?.sessionId === least.sessionId);
  expect(bare).toMatchObject({ turns: summary?.turns, level: 1, complete: true });
  expect([bare?.inputTokens, bare?.callerAudioMs, bare?.costMicros]).toEqual([undefined, undefined, undefined]);
  expect((await client.listSessionSummaries({ tenantId: "other" })).summaries).toEqual([]);
  const foreign = client.getSessionSummary({ session: { tenantId: "other", sessionId: full.sessionId } });
  expect(await refusal(foreign)).toMatchObject({ name: "SESSION_NOT_FOUND" });
});

test("F-075 F-170 each access to timelines is written down with who, what and what for; a tenant that asks for a purpose gets one", async () => {
  const client = rpc.client(TimelineService);
  audited.length = 0;
  await client.listTimelines({ tenantId, purpose: "billing" });
  await client.listTimelines({ tenantId: "strict", purpose: "support" });
  const none = client.listTimelines({ tenantId: "strict" });
  expect(await refusal(none)).toMatchObject({ metadata: { missing: "purpose" } });
  const other = client.verifyTimeline({ session: { tenantId: "strict", sessionId: "s" }, purpose: "curiosity" });
  expect(await refusal(other)).toMatchObject({ metadata: { missing: "purpose" } });
  expect(audited.map(({ tenantId: of, action, subject, detail }) => [of, action, subject, detail.purpose])).toEqual([
    [tenantId, "timeline.list", "", "billing"],
    ["strict", "timeline.list", "", "support"],
    ["strict", "denied timeline.list", "", ""],
    ["strict", "denied timeline.verify", "session_id=s", "curiosity"],
  ]);
  expect(new Set(audited.map(({ actor }) => actor === "")).has(true)).toBe(false);
});
