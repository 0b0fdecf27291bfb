/** Timelines end by their tenant's configuration: registry's documents, replay service, real database and files (F-116). */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { asWallMs } from "@rspp/base/brand";
import { AuditService } from "@rspp/gen/rspp/registry/v1/access_service_pb";
import { TimelineService } from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import { createArtifacts } from "@rspp/registry/artifacts";
import { auditRoute } from "@rspp/registry/audit/audit-service";
import { createReplayService, type ReplayService } from "@rspp/replay/service";
import { AppendCall, appendOf, chainOf, open } from "@rspp/replay/testing/records";
import { connectRpc } from "@rspp/rpc/clients";
import { silentLog } from "@rspp/rpc/log";
import { startRpcServer } from "@rspp/rpc/server";
import { openFileObjectStore } from "@rspp/store/file-object-store";
import type { ObjectStore } from "@rspp/store/object-store";
import { pgActiveDocuments } from "@rspp/store/pg-active-documents";
import { pgArtifactStore } from "@rspp/store/pg-artifact-store";
import { pgAuditStore } from "@rspp/store/pg-audit-store";
import { openPgLeaseStore } from "@rspp/store/pg-lease-store";
import { pgPipelineStore } from "@rspp/store/pg-pipeline-store";
import { pgTimelineIndex } from "@rspp/store/pg-timeline-index";
import { pgTimelineRetention } from "@rspp/store/pg-timeline-retention";
import { type TestDatabase, testDatabase } from "@rspp/store/testkit/test-database";
import { afterAll, beforeAll, expect, test } from "vitest";
import { refusal } from "./replay-rig.ts";

const dayMs = 86_400_000;
const begin = 1_700_000_000_000;

let at: TestDatabase;
let dir: string;
let now = begin;
/** The process dies between the rows and the objects. */
let dies = false;
let service: ReplayService;
let objects: ObjectStore;
let stop: () => Promise<void>;
let rpc: ReturnType<typeof connectRpc>;

beforeAll(async () => {
  at = await testDatabase();
  dir = mkdtempSync(join(tmpdir(), "rspp-objects-"));
  objects = await openFileObjectStore(dir);
  const index = pgTimelineIndex(at.db);
  service = createReplayService({
    objects,
    index: {
      ...index,
      giveUpObjects: (keys) => (dies ? Promise.reject(new Error("killed")) : index.giveUpObjects(keys)),
    },
    log: silentLog,
    after: (ms, fire) => void setTimeout(fire, ms),
    wallMs: () => now,
    retention: { retention: pgTimelineRetention(at.db), documents: pgActiveDocuments(at.db), actor: "replay" },
  });
  const routes = [...service.routes, auditRoute(pgAuditStore(at.db))];
  const server = await startRpcServer({ domain: "replay", routes, host: "127.0.0.1", port: 0 });
  stop = async () => void (await server.stop(200));
  rpc = connectRpc({ baseUrl: `http://127.0.0.1:${server.port}`, domain: "none", attemptsMax: 1 });
});
afterAll(async () => {
  await stop?.();
  await service?.idle();
  await at?.close();
  rmSync(dir, { recursive: true, force: true });
});

async function publish(tenantId: string, text: string): Promise<void> {
  const clock = { wallMs: () => asWallMs(now) };
  const artifacts = createArtifacts({ pipelines: pgPipelineStore(at.db), artifacts: pgArtifactStore(at.db), clock });
  const source = `schema: rspp/tenant-config/v1\n${text}\n`;
  const common = { version: 0, author: "ada", note: "", sourceFormat: "yaml", validateOnly: false } as const;
  expect(await artifacts.publish({ tenantId, source, keepActive: false, ...common })).toMatchObject({ ok: true });
}

async function record(tenant: string, session: string, daysAgo: number, ended = true): Promise<void> {
  const wallMs = begin - daysAgo * dayMs;
  now = wallMs;
  const calls = new AppendCall((requests) => rpc.client(TimelineService).appendTimeline(requests)).push(open);
  await calls
    .push(appendOf(chainOf(5, { tenant, session, wallMs, ended })))
    .end()
    .rest();
  now = begin;
}

const read = async (tenantId: string, sessionId: string): Promise<number> => {
  let records = 0;
  const ask = { session: { tenantId, sessionId } };
  for await (const part of rpc.client(TimelineService).readTimeline(ask)) records += part.records.length;
  return records;
};
const gone = async (tenantId: string, sessionId: string) => (await refusal(read(tenantId, sessionId))).name;
const left = async (): Promise<string[]> =>
  (await objects.list("timelines/")).map(({ key }) => key.split("/")[2] ?? "");
const audited = async (tenantId: string) => {
  const { records } = await rpc.client(AuditService).listAudit({ tenantId, action: "retention" });
  return records.map(({ actor, action, subject, detailJson }) => {
    return { actor, action, subject, detail: JSON.parse(detailJson) as Record<string, unknown> };
  });
};

async function lease(tenantId: string, sessionId: string): Promise<void> {
  const leases = await openPgLeaseStore(at.db, 60_000);
  const session = { tenantId, sessionId };
  await leases.update(session, "issue", ({ store }) => {
    const epoch = store.lastEpoch + 1;
    const common = { receivers: ["r"], termMs: 60_000, lastSequence: null, signature: "s", requestKey: "" };
    const times = { expiresWallMs: begin + 60_000, oldRunsOutWallMs: begin, issuedWallMs: begin };
    const lease = { session, epoch, heldSinceEpoch: epoch, holder: "runtime-1", revoked: false, ...common, ...times };
    return { answer: epoch, lease, store: { ...store, lastEpoch: epoch } };
  });
}

test("F-116 timelines past their tenant's time are gone and unreadable, others stay, and the audit log says by which document", async () => {
  await record("acme", "old", 31);
  await record("acme", "older-but-alive", 40, false);
  await record("acme", "young", 29);
  await record("globex", "old", 400);
  await lease("acme", "older-but-alive");
  // Nobody says anything: everything stays, however old.
  await service.sweep();
  expect(await read("globex", "old")).toBe(5);
  await publish("acme", "retention: {recordings_days: 90}");
  await publish("acme", "retention: {recordings_days: 30}");
  await service.sweep();
  expect(await gone("acme", "old")).toBe("SESSION_NOT_FOUND");
  const { timelines } = await rpc.client(TimelineService).listTimelines({ tenantId: "acme" });
  expect(timelines.map(({ session }) => session?.sessionId)).toEqual(["young", "older-but-alive"]);
  expect(await read("acme", "young")).toBe(5);
  expect(await read("acme", "older-but-alive")).toBe(5);
  expect(await read("globex", "old")).toBe(5);
  // Its bytes too: one object for each of the three that are left.
  expect((await left()).sort()).toEqual(["acme", "acme", "globex"]);
  expect(await audited("acme")).toMatchObject([
    {
      actor: "replay",
      action: "retention.expire",
      subject: "timelines",
      detail: {
        policy: "tenant_config/default@2",
        policy_tenant: "acme",
        recordings_days: 30,
        before_wall_ms: begin - 30 * dayMs,
        timelines: 1,
        records: 5,
        sessions: ["old"],
      },
    },
  ]);
  expect(await audited("globex")).toEqual([]);
  // The next one finds nothing more, and says nothing.
  await service.sweep();
  expect(await audited("acme")).toHaveLength(1);
});

test("F-116 the platform's time holds for who has none of its own; a crash between rows and objects leaves nothing dangling", async () => {
  await record("initech", "old", 101);
  await publish("*", "retention: {recordings_days: 100}");
  // The tenant's own document, which says nothing of it, inherits; one that keeps longer is obeyed.
  await publish("initech", "sessions: {concurrent_max: 3}");
  await publish("globex", "retention: {recordings_days: 500}");
  dies = true;
  await expect(service.sweep()).rejects.toThrow("killed");
  dies = false;
  expect(await gone("initech", "old")).toBe("SESSION_NOT_FOUND");
  expect(await audited("initech")).toMatchObject([{ detail: { policy_tenant: "*", recordings_days: 100 } }]);
  expect(await left()).toContain("initech");
  // Nobody names it, so it goes with the objects of no timeline; what is named stays and is readable.
  now += 7 * 3_600_000;
  await service.sweep();
  now = begin;
  expect((await left()).sort()).toEqual(["acme", "acme", "globex"]);
  expect(await read("globex", "old")).toBe(5);
  expect(await rpc.client(AuditService).verifyAudit({})).toMatchObject({ faults: [] });
});
