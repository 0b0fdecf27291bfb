/** Rollouts against a server that answers as Prometheus does (NF-005, NF-030). */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { pgArtifactStore } from "@rspp/store/pg-artifact-store";
import { pgAuditStore } from "@rspp/store/pg-audit-store";
import { pgPipelineStore } from "@rspp/store/pg-pipeline-store";
import { type TestDatabase, testDatabase } from "@rspp/store/testkit/test-database";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { type Artifacts, createArtifacts } from "./artifacts.ts";
import { BUDGET_QUERY, createErrorBudget } from "./error-budget.ts";
import { frozenError } from "./refusals.ts";
import { createRolloutFreeze } from "./rollout-freeze.ts";
import { type Bench, bench, document, echoName, publishing } from "./testing/bench.ts";

let at: TestDatabase;
let b: Bench;
let prometheus: Server;
let url: string;
/** What it answers; null: it never does. */
let answer: { status: number; text: string } | null = null;
let asked: string[] = [];
let nowMs = 0;
let warned: string[] = [];
let artifacts: Artifacts;

const vector = (...values: string[]) => ({
  status: 200,
  text: JSON.stringify({
    status: "success",
    data: { resultType: "vector", result: values.map((value) => ({ metric: {}, value: [1_700_000_000, value] })) },
  }),
});
const budget = () =>
  createErrorBudget({
    url,
    nowMs: () => nowMs,
    log: { warn: (fields: object) => void warned.push(JSON.stringify(fields)) },
  });

beforeAll(async () => {
  at = await testDatabase();
  b = bench(() => at.db);
  prometheus = createServer((request, response) => {
    asked.push(new URL(request.url ?? "", "http://x").searchParams.get("query") ?? "");
    if (answer === null) return;
    response.statusCode = answer.status;
    response.end(answer.text);
  });
  await new Promise<void>((done) => prometheus.listen(0, "127.0.0.1", done));
  url = `http://127.0.0.1:${(prometheus.address() as AddressInfo).port}`;
});
afterAll(async () => {
  prometheus.closeAllConnections();
  prometheus.close();
  await at.close();
});
beforeEach(() => {
  [asked, warned] = [[], []];
  artifacts = withBudget();
});

/** A registry of its own that has asked nobody yet. */
function withBudget(): Artifacts {
  const [pipelines, store] = [pgPipelineStore(at.db), pgArtifactStore(at.db)];
  const clock = { wallMs: () => b.now as never };
  return createArtifacts({ pipelines, artifacts: store, clock, freeze: createRolloutFreeze(store, budget()) });
}

async function tenant(name: string): Promise<string> {
  for (const text of ["one", "two", "three"]) {
    expect(await b.registry().versions.publish(publishing(name, text))).toMatchObject({ ok: true });
  }
  await b.registry().artifacts.rollback({ tenantId: name, kind: "pipeline", name: echoName, version: 1, ...by });
  return name;
}
const by = { actor: "ada", atWallMs: 1, reason: "" };
const put = (tenantId: string, rules: string, overrideFreeze = "") =>
  artifacts.publish({
    ...document(tenantId, `schema: rspp/rollout/v1\nrollout: ${echoName}\n${rules}\n`),
    overrideFreeze,
  });
const frozen = { ok: false, error: { kind: "rollout_frozen" } };
const published = { ok: true, value: { kind: "published" } };

test("NF-030 NF-005 while the error budget is spent a canary gets no more, and the refusal names the ratio and what to do", async () => {
  const acme = await tenant("acme");
  answer = vector("0.4");
  expect(await put(acme, "stable: 1\ncanary: {version: 2, percent: 10}")).toMatchObject(published);
  expect(asked).toEqual([BUDGET_QUERY]);
  answer = vector("0.7", "1.25");
  // Kept for 30 s, then asked again.
  expect(await put(acme, "stable: 1\ncanary: {version: 2, percent: 11}")).toMatchObject(published);
  nowMs += 30_000;
  const refused = await put(acme, "stable: 1\ncanary: {version: 2, percent: 50}");
  expect(refused).toMatchObject({
    ok: false,
    error: { kind: "rollout_frozen", ratio: 1.25, more: { version: 2, before: 1_100, after: 5_000 } },
  });
  expect(asked).toHaveLength(2);
  if (refused.ok || refused.error.kind !== "rollout_frozen") throw new Error("was not refused");
  const { detail } = frozenError(refused.error);
  expect(detail.metadata).toMatchObject({
    problem: "rollout_frozen",
    error_budget_spent: "1.25",
    gives: "version 2 or newer for 50 % of sessions instead of 11 %",
  });
  expect(detail.remedy).toContain("125 % of the error budget");
  expect(detail.remedy).toContain("--override-freeze REASON");
  // Tenants, the canary made stable, and the first rollout of another pipeline's tenant too.
  expect(await put(acme, "stable: 1\ncanary: {version: 2, percent: 11}\ntenants: {big: 3}")).toMatchObject(frozen);
  expect(await put(acme, "stable: 2")).toMatchObject(frozen);
  expect(await put(await tenant("fresh"), "stable: 1\ncanary: {version: 2, percent: 1}")).toMatchObject(frozen);
});

test("NF-030 lowering and rolling back always pass; the way back is not a way forward", async () => {
  const acme = await tenant("lower");
  answer = vector("0");
  expect(await put(acme, "stable: 1\ncanary: {version: 2, percent: 10}")).toMatchObject(published);
  expect(await put(acme, "stable: 1\ncanary: {version: 2, percent: 60}")).toMatchObject(published);
  nowMs += 30_000;
  answer = vector("1");
  const rollback = (version: number) =>
    artifacts.rollback({ tenantId: acme, kind: "rollout", name: echoName, version, ...by });
  expect(await put(acme, "stable: 1\ncanary: {version: 2, percent: 5}")).toMatchObject(published);
  expect(await rollback(2)).toMatchObject({ kind: "rolled_back", fromVersion: 3 });
  expect(await rollback(1)).toMatchObject({ kind: "rolled_back", fromVersion: 2 });
  expect(await rollback(2)).toMatchObject({ kind: "rollout_frozen", ratio: 1 });
  const pipeline = { tenantId: acme, kind: "pipeline", name: echoName, version: 1, ...by } as const;
  expect(await artifacts.rollback(pipeline)).toMatchObject({ kind: "rolled_back", rolloutWithdrawn: true });
});

test("NF-030 an admin's reason passes a freeze and stands in the audit log; a Prometheus that is away freezes nothing and is told of", async () => {
  const acme = await tenant("override");
  nowMs += 30_000;
  answer = vector("2");
  expect(await put(acme, "stable: 1\ncanary: {version: 3, percent: 1}")).toMatchObject(frozen);
  const passed = await put(acme, "stable: 1\ncanary: {version: 3, percent: 1}", "fixes what spends the budget");
  expect(passed).toMatchObject(published);
  expect(passed.ok && passed.value.warnings[0]?.message).toContain("200 % of the error budget");
  const [entry] = await pgAuditStore(at.db).list({ tenantId: acme, limit: 1 });
  expect(entry).toMatchObject({
    action: "publish",
    detail: { freeze_override: "fixes what spends the budget", error_budget_spent: 2 },
  });
  for (const away of [{ status: 503, text: "" }, { status: 200, text: "{" }, vector(), vector("NaN"), null]) {
    answer = away;
    [warned, artifacts] = [[], withBudget()];
    const percent =
      2 +
      (await pgArtifactStore(at.db).active({ tenantId: acme, kinds: ["rollout"] })).reduce(
        (n, { version }) => n + version,
        0,
      );
    const let_through = await put(acme, `stable: 1\ncanary: {version: 3, percent: ${percent}}`);
    expect(let_through).toMatchObject(published);
    expect(let_through.ok && let_through.value.warnings[0]?.message).toContain("the error budget is not known");
    expect(warned).toHaveLength(1);
  }
});
