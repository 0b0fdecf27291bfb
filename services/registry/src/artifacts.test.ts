import { edited, small } from "@rspp/spec/testing";
import { pgAuditStore } from "@rspp/store/pg-audit-store";
import { runSql } from "@rspp/store/testkit/run-sql";
import { type TestDatabase, testDatabase } from "@rspp/store/testkit/test-database";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RouteRequest } from "./routes.ts";
import { packagesOf } from "./spec-check.ts";
import { type Bench, bench, document, echoName, instance, publishing, type Registry } from "./testing/bench.ts";

let at: TestDatabase;
let b: Bench;
let r: Registry;

beforeAll(async () => {
  at = await testDatabase();
  b = bench(() => at.db);
  r = b.registry();
});
afterAll(() => at.close());

const ready = () => r.statuses.reportInstance(instance("a", { capacitySessions: 100_000 }));
const publish = async (tenantId: string, ...texts: string[]) => {
  for (const text of texts) expect(await r.versions.publish(publishing(tenantId, text))).toMatchObject({ ok: true });
};
const put = (tenantId: string, source: string) => r.artifacts.publish(document(tenantId, source));
const rollout = (rules: string) => `schema: rspp/rollout/v1\nrollout: ${echoName}\n${rules}\n`;
const limits = (sessions: string) => `schema: rspp/tenant-config/v1\nsessions: {${sessions}}\n`;
const by = { kind: "pipeline", name: echoName, actor: "ada", atWallMs: 1, reason: "it stutters" } as const;

const route = async (tenantId: string, part: Partial<RouteRequest> = {}) => {
  const answer = await r.route(b.request({ tenantId, ...part }));
  if (!answer.ok) throw new Error(JSON.stringify(answer.error));
  return answer.value.row;
};
const routed = async (tenantId: string, part: Partial<RouteRequest> = {}) => {
  const { pipeline, decision } = await route(tenantId, part);
  return `${decision.ownerTenantId} ${pipeline.version} ${decision.source}`;
};

describe("packages of nodes", () => {
  const packaged = (version: string, digit: string) =>
    `schema: rspp/node-package/v1\nname: reader\nversion: ${version}\nlocation: nodes/reader\nsha256: ${digit.repeat(64)}\nnodes: [reader]\n`;
  const pipeline = edited(
    edited(
      small,
      "  - {id: segmenter, kind: segmenter}\n",
      "  - {id: own, kind: custom, package: reader@1.4.0}\n  - {id: segmenter, kind: segmenter}\n",
    ),
    "  - llm.text -> segmenter.text\n",
    "  - llm.text -> own.text\n  - own.text -> segmenter.text\n",
  );
  const publishIt = (tenantId: string) => r.versions.publish({ ...publishing(tenantId), source: pipeline });
  const pinsOf = async (tenantId: string, version: number) => {
    const name = /^name: *(\S+)/m.exec(small)?.[1] ?? "";
    const found = await r.versions.get(tenantId, name, version);
    return found === undefined ? undefined : packagesOf(found.content);
  };

  test("F-121 the digest of a published package is frozen with the pipeline; another one makes another version", async () => {
    const warned = await publishIt("np");
    const about = warned.ok ? warned.value.warnings.map(({ message, path }) => `${path}: ${message}`) : [];
    expect(about).toContainEqual(
      expect.stringMatching(/^nodes\[\d+\]\.package: package reader@1\.4\.0 is not published/),
    );
    expect(await pinsOf("np", 1)).toEqual({});
    // Versions of packages are the author's own: 1.5.0 is no 1.4.0, whenever it was published.
    await put("np", packaged("1.4.0", "a"));
    await put("np", packaged("1.5.0", "b"));
    const pinned = await publishIt("np");
    expect(pinned).toMatchObject({ ok: true, value: { kind: "published", version: { version: 2 } } });
    expect(await pinsOf("np", 2)).toEqual({ "reader@1.4.0": "a".repeat(64) });
    expect(await publishIt("np")).toMatchObject({ ok: true, value: { kind: "unchanged" } });
    // What was frozen stays, whatever is published later; nobody else's package counts.
    await put("np", packaged("1.4.0", "c"));
    expect(await pinsOf("np", 2)).toEqual({ "reader@1.4.0": "a".repeat(64) });
    expect(await publishIt("np")).toMatchObject({ ok: true, value: { kind: "published", version: { version: 3 } } });
    expect(await pinsOf("np", 3)).toEqual({ "reader@1.4.0": "c".repeat(64) });
    await publishIt("np-other");
    expect(await pinsOf("np-other", 1)).toEqual({});
  });
});

describe("versions in force", () => {
  test("F-100 F-092 publishing activates, rollback goes to what is older and not deprecated, new sessions get it, all audited", async () => {
    await ready();
    await publish("rb", "one", "two", "three");
    await r.versions.setDeprecated("rb", echoName, 2, true, "ada");
    expect(await routed("rb")).toBe("rb 3 active");
    const ask = { tenantId: "rb", ...by };
    expect(await r.artifacts.rollback({ ...ask, version: 0 })).toMatchObject({
      kind: "rolled_back",
      version: { version: 1 },
      fromVersion: 3,
      rolloutWithdrawn: false,
    });
    expect(await routed("rb")).toBe("rb 1 active");
    // Who named a version gets it as before.
    expect(await routed("rb", { pipelineVersion: 3 })).toBe("rb 3 requested");
    expect(await r.artifacts.rollback({ ...ask, version: 0 })).toEqual({ kind: "nothing_older", activeVersion: 1 });
    expect(await r.artifacts.rollback({ ...ask, version: 2 })).toEqual({ kind: "deprecated", version: 2 });
    expect(await r.artifacts.rollback({ ...ask, version: 9 })).toEqual({ kind: "not_found" });
    expect(await r.artifacts.rollback({ ...ask, tenantId: "nobody", version: 0 })).toEqual({ kind: "not_found" });
    const [last] = await pgAuditStore(at.db).list({ tenantId: "rb", limit: 1 });
    expect(last).toMatchObject({
      actor: "ada",
      action: "rollback",
      subject: `pipeline/${echoName}@1`,
      detail: { from_version: 3, reason: "it stutters" },
    });
    // A session routed before keeps its version: its row says so.
    await publish("rb", "four");
    expect(await routed("rb")).toBe("rb 4 active");
  });

  test("F-100 a version that is kept out of force is published and not routed to; a withdrawn one is routed to by number alone", async () => {
    await publish("keep", "one");
    const kept = await r.versions.publish({ ...publishing("keep", "two"), keepActive: true });
    expect(kept).toMatchObject({ ok: true, value: { activated: false, version: { version: 2 } } });
    expect(await routed("keep")).toBe("keep 1 active");
    expect(await r.artifacts.withdraw({ tenantId: "keep", ...by })).toBe(1);
    expect(await r.artifacts.withdraw({ tenantId: "keep", ...by })).toBe(0);
    expect(await r.route(b.request({ tenantId: "keep" }))).toMatchObject({
      ok: false,
      error: { kind: "pipeline_not_found" },
    });
    expect(await routed("keep", { pipelineVersion: 2 })).toBe("keep 2 requested");
  });

  test("F-102 policies and configurations go their own way: rolled back without the pipeline, recorded with each session", async () => {
    await publish("own", "one");
    const provider = (price: number) =>
      `schema: rspp/provider-config/v1\nname: main\nproviders: {local/flite: {price: ${price}}}\n`;
    for (const price of [1, 2]) expect(await put("own", provider(price))).toMatchObject({ ok: true });
    await put("*", provider(9));
    const inForce = async () => (await route("own")).decision.inForce?.find(({ kind }) => kind === "provider_config");
    expect(await inForce()).toEqual({ kind: "provider_config", tenantId: "own", name: "main", version: 2 });
    await r.artifacts.rollback({ ...by, tenantId: "own", kind: "provider_config", name: "main", version: 0 });
    expect(await inForce()).toMatchObject({ tenantId: "own", version: 1 });
    expect(await routed("own")).toBe("own 1 active");
    // Without its own the platform's holds.
    await r.artifacts.withdraw({ ...by, tenantId: "own", kind: "provider_config", name: "main" });
    expect(await inForce()).toMatchObject({ tenantId: "*", version: 1 });
    const active = await r.artifacts.active({ tenantId: "own", kinds: ["provider_config", "pipeline"] });
    expect(active.map(({ tenantId, kind, version }) => [tenantId, kind, version])).toEqual([
      ["own", "pipeline", 1],
      ["*", "provider_config", 1],
    ]);
    await r.artifacts.withdraw({ ...by, tenantId: "*", kind: "provider_config", name: "main" });
  });

  test("F-015 documents are immutable by version: the same bytes change nothing, other bytes are refused", async () => {
    expect(await put("imm", limits("concurrent_max: 3"))).toMatchObject({
      value: { kind: "published", activated: true },
    });
    expect(await put("imm", `# why\n${limits("concurrent_max: 3")}`)).toMatchObject({ value: { kind: "unchanged" } });
    const other = await r.artifacts.publish({ ...document("imm", limits("concurrent_max: 4")), version: 1 });
    expect(other).toMatchObject({ ok: false, error: { kind: "version_immutable" } });
    expect(
      await r.artifacts.publish({ ...document("imm", limits("concurrent_max: 4")), validateOnly: true }),
    ).toMatchObject({
      value: { kind: "valid" },
    });
    expect(await r.artifacts.read("imm", "tenant_config", "default", 0)).toMatchObject({ version: 1, author: "ada" });
  });
});

describe("rollouts", () => {
  test("F-093 10 % of the sessions get the canary, sticky by the variable, recorded with rollout, bucket and why", async () => {
    await publish("ro", "stable one");
    // Published beside the rollout, it is not activated by that.
    expect(await put("ro", rollout("stable: 1\ncanary: {version: 2, percent: 10}"))).toMatchObject({
      ok: false,
      error: { kind: "invalid", findings: [{ path: "rollout", message: `${echoName}@2 is not published` }] },
    });
    expect(await put("ro", rollout("stable: 1"))).toMatchObject({ ok: true });
    expect(await r.versions.publish(publishing("ro", "canary two"))).toMatchObject({ value: { activated: false } });
    const rules = "stable: 1\ncanary: {version: 2, percent: 10}\nsticky_by: variable caller";
    expect(await put("ro", rollout(rules))).toMatchObject({ ok: true });
    const callers = Array.from({ length: 200 }, (_, n) => `"caller-${n}"`);
    const versions = async () => {
      const found: number[] = [];
      for (const caller of callers) found.push((await route("ro", { variables: { caller } })).pipeline.version);
      return found;
    };
    const first = await versions();
    const canaries = first.filter((version) => version === 2).length;
    // 20 of 200, four standard deviations of 4.2.
    expect(Math.abs(canaries - 20)).toBeLessThanOrEqual(17);
    expect(await versions()).toEqual(first);
    const { decision, session } = await route("ro", { variables: { caller: callers[first.indexOf(2)] ?? "" } });
    expect(decision).toMatchObject({
      source: "canary",
      rollout: { kind: "rollout", tenantId: "ro", name: echoName, version: 2 },
    });
    expect(decision.bucket).toBeLessThan(1_000);
    expect((await r.statuses.get(session))?.decision).toEqual(decision);
  });

  test("F-100 rolling a pipeline back withdraws the rollout that would decide otherwise, in one step", async () => {
    const done = await r.artifacts.rollback({ ...by, tenantId: "ro", version: 1 });
    expect(done).toMatchObject({ kind: "rolled_back", fromVersion: 1, rolloutWithdrawn: true });
    const found = await Promise.all(Array.from({ length: 20 }, () => routed("ro")));
    expect(new Set(found)).toEqual(new Set(["ro 1 active"]));
    const audit = await pgAuditStore(at.db).list({ tenantId: "ro", limit: 2 });
    expect(audit.map(({ action, subject }) => [action, subject])).toEqual([
      ["rollback", `pipeline/${echoName}@1`],
      ["withdraw", `rollout/${echoName}@2`],
    ]);
  });
});

describe("quotas and rates of a tenant", () => {
  const outcome = async (tenantId: string, part: Partial<RouteRequest> = {}) => {
    const answer = await r.route(b.request({ tenantId, ...part }));
    if (answer.ok) return answer.value.row.admittedDegraded ? "degraded" : "admitted";
    const { error } = answer;
    return error.kind === "over_limit" ? `${error.over} ${error.limit} ${error.retryAfterMs}` : error.kind;
  };
  const several = async (tenantId: string, count: number) => {
    const found: string[] = [];
    for (let n = 0; n < count; n++) found.push(await outcome(tenantId));
    return found;
  };

  test("F-050 F-098 sessions at once: refused, put off, or admitted degraded up to the hard limit; others are unharmed", async () => {
    await ready();
    for (const tenantId of ["rej", "thr", "deg", "free"]) await publish(tenantId, "one");
    await put("rej", limits("concurrent_max: 2"));
    await put("thr", limits("concurrent_max: 1, on_concurrent: throttle"));
    await put("deg", limits("concurrent_max: 1, concurrent_hard_max: 3, on_concurrent: degrade"));
    expect(await several("rej", 3)).toEqual(["admitted", "admitted", "reject concurrent 1000"]);
    expect(await several("thr", 2)).toEqual(["admitted", "throttle concurrent 1000"]);
    expect(await several("deg", 4)).toEqual(["admitted", "degraded", "degraded", "reject concurrent 1000"]);
    expect(await several("free", 3)).toEqual(["admitted", "admitted", "admitted"]);
    // An end makes room.
    await runSql(at.db, "UPDATE rspp.sessions SET state = 4 WHERE tenant_id = 'thr'");
    expect(await outcome("thr")).toBe("admitted");
    // The token says it, for the runtime.
    const token = await r.route(b.request({ tenantId: "deg" }));
    expect(token).toMatchObject({ ok: false });
    await put("deg", limits("concurrent_max: 1, concurrent_hard_max: 4, on_concurrent: degrade"));
    const admitted = await r.route(b.request({ tenantId: "deg" }));
    expect(admitted.ok && JSON.parse(admitted.value.token)).toMatchObject({ degraded: true });
  });

  test("F-050 a quota is exact when many ask at once through two registries", async () => {
    await publish("burst", "one");
    await put("burst", limits("concurrent_max: 7, starts_per_minute: 600, start_burst: 600"));
    const second = b.registry();
    const asked = Array.from({ length: 40 }, (_, n) => (n % 2 ? r : second).route(b.request({ tenantId: "burst" })));
    expect((await Promise.all(asked)).filter(({ ok }) => ok)).toHaveLength(7);
  });

  test("F-098 starts a minute: a bucket that fills with time, exact over replicas; a start without a place costs nothing", async () => {
    await publish("rate", "one");
    await put("rate", limits("starts_per_minute: 60, start_burst: 3"));
    const asked = Array.from({ length: 12 }, () => outcome("rate"));
    const found = (await Promise.all(asked)).sort();
    expect(found).toEqual([...Array(3).fill("admitted"), ...Array(9).fill("throttle starts 1000")]);
    b.now += 999;
    expect(await outcome("rate")).toBe("throttle starts 1");
    b.now += 1;
    expect(await several("rate", 2)).toEqual(["admitted", "throttle starts 1000"]);
    // A repeat is no second start.
    const again = b.request({ tenantId: "rate" });
    b.now += 1_000;
    expect([(await r.route(again)).ok, (await r.route(again)).ok]).toEqual([true, true]);
    // Nowhere to go: the start is still there when there is.
    b.now += 1_000;
    expect(await outcome("rate", { transport: "telephony" })).toBe("no_instance");
    await ready();
    expect(await outcome("rate")).toBe("admitted");
    // A pause gives no more than the burst.
    b.now += 3_600_000;
    await ready();
    expect(await several("rate", 4)).toEqual(["admitted", "admitted", "admitted", "throttle starts 1000"]);
    await put("rate", limits("starts_per_minute: 60, start_burst: 1, on_starts: reject"));
    expect(await outcome("rate")).toBe("reject starts 1000");
    await put("rate", limits("starts_per_minute: 60, start_burst: 1, on_starts: degrade"));
    expect(await outcome("rate")).toBe("degraded");
  });

  test("F-050 F-094 the platform's limits hold for whoever has none; sessions run in the tenant's regions alone", async () => {
    await publish("bounded", "one");
    await put("*", limits("concurrent_max: 1"));
    expect(await several("bounded", 2)).toEqual(["admitted", "reject concurrent 1000"]);
    await put(
      "bounded",
      "schema: rspp/tenant-config/v1\nsessions: {concurrent_max: 9}\nplacement: {regions: [mars]}\n",
    );
    const refused = await r.route(b.request({ tenantId: "bounded" }));
    expect(refused).toMatchObject({ error: { kind: "no_instance", reason: "no_region" } });
    await r.statuses.reportInstance(instance("far", { region: "mars" }));
    expect((await route("bounded", { region: "eu" })).instanceId).toBe("far");
    await r.artifacts.withdraw({ ...by, tenantId: "*", kind: "tenant_config", name: "default" });
  });
});

// Last: what the platform published has its numbers in every tenant.
describe("the platform's pipelines", () => {
  test("F-102 are inherited until a tenant has its own, and no number ever means two pipelines to it", async () => {
    await publish("*", "platform one", "platform two");
    expect(await routed("heir")).toBe("* 2 active");
    const inherited = await route("heir");
    await publish("heir", "its own");
    expect(await routed("heir")).toBe("heir 3 active");
    // The session under way still reads what it was given.
    expect(await r.versions.get("heir", echoName, 2)).toMatchObject({ digest: inherited.pipeline.digest });
    const taken = await r.versions.publish({ ...publishing("heir", "other bytes"), version: 2 });
    expect(taken).toMatchObject({ ok: false, error: { kind: "version_immutable" } });
    expect(await r.route(b.request({ tenantId: "*" }))).toMatchObject({ error: { kind: "platform_tenant" } });
    await r.artifacts.withdraw({ tenantId: "heir", ...by });
    expect(await routed("heir")).toBe("* 2 active");
    await r.artifacts.withdraw({ tenantId: "*", ...by });
  });

  test("F-093 roll out by tenant list too; a tenant's own rollout beats the platform's", async () => {
    await publish("*", "p3", "p4");
    const rules = "stable: 3\ncanary: {version: 4, percent: 100}\ntenants: {listed: 2}\nsalt: x";
    expect(await put("*", rollout(rules))).toMatchObject({ ok: true });
    expect([await routed("listed"), await routed("else")]).toEqual(["* 2 tenant_list", "* 4 canary"]);
    expect(await put("else", rollout("stable: 1"))).toMatchObject({ ok: true });
    expect(await routed("else")).toBe("* 1 stable");
    for (const tenantId of ["*", "else"]) await r.artifacts.withdraw({ ...by, tenantId, kind: "rollout" });
    await r.artifacts.withdraw({ tenantId: "*", ...by });
  });
});
