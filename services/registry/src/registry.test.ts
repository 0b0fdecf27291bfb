import { readFileSync } from "node:fs";
import { asWallMs } from "@rspp/base/brand";
import { bundleSpec } from "@rspp/spec/module-library";
import { pgArtifactStore } from "@rspp/store/pg-artifact-store";
import { pgAuditStore } from "@rspp/store/pg-audit-store";
import { pgPipelineStore } from "@rspp/store/pg-pipeline-store";
import { pgSessionStore } from "@rspp/store/pg-session-store";
import type { Instance, SessionStore, StatusReport } from "@rspp/store/session-store";
import { type TestDatabase, testDatabase } from "@rspp/store/testkit/test-database";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CreateRoute, createRoutes, type RouteRequest } from "./routes.ts";
import { checkPipelineSource } from "./spec-check.ts";
import { createStatuses, type Statuses } from "./statuses.ts";
import { createVersionDecision } from "./version-decision.ts";
import { createVersions, type PublishAsk, type Versions } from "./versions.ts";

const echo = readFileSync(new URL("../../../pipelines/specs/echo.yaml", import.meta.url), "utf8");
const echoName = /^name: *(\S+)/m.exec(echo)?.[1] ?? "";

let at: TestDatabase;
let versions: Versions;
let sessions: SessionStore;
let statuses: Statuses;
let route: CreateRoute;
let now = 1_800_000_000_000;
let count = 0;
const clock = { wallMs: () => asWallMs(now) };

beforeAll(async () => {
  at = await testDatabase();
  const pipelines = pgPipelineStore(at.db);
  sessions = pgSessionStore(at.db);
  versions = createVersions({ store: pipelines, clock, check: checkPipelineSource });
  statuses = createStatuses(sessions, clock);
  const signer = { sign: async (claims: object) => JSON.stringify(claims) };
  const decide = createVersionDecision({ artifacts: pgArtifactStore(at.db), pipelines });
  route = createRoutes({ sessions, decide, signer, clock, newId: (prefix) => `${prefix}_${count++}` });
});
afterAll(() => at.close());

const publish = (part: Partial<PublishAsk> = {}) =>
  versions.publish({
    tenantId: "t",
    version: 0,
    author: "ada",
    note: "",
    source: echo,
    sourceFormat: "yaml",
    validateOnly: false,
    ...part,
  });
const changed = (text: string) => echo.replace(/^description: .*$/m, `description: ${text}`);

describe("versions", () => {
  test("F-015 the same bytes again change nothing, other bytes are refused with both hashes, all stay readable", async () => {
    const first = await publish({ version: 1 });
    expect(first).toMatchObject({ ok: true, value: { kind: "published", version: { version: 1, author: "ada" } } });
    expect(await publish({ version: 1, author: "eve" })).toMatchObject({
      ok: true,
      value: { kind: "unchanged", version: { author: "ada" } },
    });
    // Comments and layout are no other bytes.
    expect(await publish({ version: 1, source: `# a comment\n${echo}` })).toMatchObject({
      value: { kind: "unchanged" },
    });
    const refused = await publish({ version: 1, source: changed("two") });
    expect(refused).toMatchObject({ ok: false, error: { kind: "version_immutable", existing: { version: 1 } } });
    if (refused.ok || refused.error.kind !== "version_immutable") throw new Error("was not refused");
    expect(refused.error.message).toContain(refused.error.existing.digest);
    expect(refused.error.message).toContain(refused.error.offeredDigest);
    expect(refused.error.existing.digest).not.toBe(refused.error.offeredDigest);
    expect(await publish({ source: changed("two") })).toMatchObject({
      value: { kind: "published", version: { version: 2 } },
    });
    expect(await publish({ source: changed("two") })).toMatchObject({
      value: { kind: "unchanged", version: { version: 2 } },
    });
    const text = async (version: number) => {
      const found = await versions.get("t", echoName, version);
      return new TextDecoder().decode(found?.source);
    };
    expect([await text(1), await text(2), await text(0)]).toEqual([echo, changed("two"), changed("two")]);
    expect(await versions.get("other", echoName, 1)).toBeUndefined();
  });

  test("F-092 versions are listed newest first with author, time and hash, page by page; each publication is audited", async () => {
    now += 1_000;
    for (const text of ["three", "four"]) await publish({ tenantId: "listed", author: text, source: changed(text) });
    const page = await versions.list({ tenantId: "listed", name: echoName, limit: 1 });
    expect(page.versions).toMatchObject([{ version: 2, author: "four", publishedWallMs: now }]);
    expect(page.versions[0]?.digest).toMatch(/^[0-9a-f]{64}$/);
    const rest = await versions.list({ tenantId: "listed", name: echoName, limit: 1, after: page.next });
    expect(rest).toMatchObject({ versions: [{ version: 1, author: "three" }], next: null });
    expect(await versions.list({ tenantId: "listed", limit: 10 })).toMatchObject({
      versions: [{ version: 2 }],
      next: null,
    });
    const audit = await pgAuditStore(at.db).list({ tenantId: "listed", limit: 10 });
    expect(audit.map(({ actor, action, subject }) => [actor, action, subject])).toEqual([
      ["four", "publish", `pipeline/${echoName}@2`],
      ["three", "publish", `pipeline/${echoName}@1`],
    ]);
    await expect(versions.list({ tenantId: "listed", limit: 1, after: "nonsense" })).rejects.toMatchObject({
      code: "invalid",
    });
  });

  test("F-028 NF-010 a breaking change is refused field by field until the MAJOR version is raised, per MAJOR", async () => {
    const spec = (version: string, variables: string) =>
      echo.replace(/^version: .*$/m, `version: ${version}\nvariables: {${variables}}`);
    const tenantId = "breaking";
    const say = async (version: string, variables: string, part: Partial<PublishAsk> = {}) => {
      const done = await publish({ tenantId, source: spec(version, variables), ...part });
      if (done.ok) return done.value.kind === "valid" ? "valid" : `${done.value.kind} ${done.value.version.version}`;
      return done.error.kind === "invalid"
        ? done.error.findings.map(({ path, message }) => `${path}: ${message}`)
        : done.error.kind;
    };
    expect(await say("1.0", "who: {type: string}, size: {type: number}")).toBe("published 1");
    expect(await say("1.1", "who: {type: string}, size: {type: number}, town: {type: string}")).toBe("published 2");
    const breaks = [
      `variables.size: breaks ${echoName}@2: variable "size" is removed`,
      `variables.who.type: breaks ${echoName}@2: variable "who" was a string and is a number now`,
    ];
    const worse = "who: {type: number}, town: {type: string}";
    const refused = await say("1.2", worse);
    expect([...refused].sort()).toEqual(breaks);
    expect([...(await say("1.2", worse, { validateOnly: true }))].sort()).toEqual(breaks);
    expect(await say("2.0", worse)).toBe("published 3");
    // The older line goes on under its own rule.
    expect(await say("1.2", "who: {type: string}, size: {type: number}, town: {type: string, max_chars: 9}")).toEqual([
      `variables.town.max_chars: breaks ${echoName}@2: variable "town" takes no more than 9 now`,
    ]);
    expect(await say("1.2", "who: {type: string}, size: {type: number}, town: {type: string}")).toBe("published 4");
    // F-015 stands before it.
    expect(await say("1.2", worse, { version: 1 })).toBe("version_immutable");
  });

  test("F-019 a spec is published with the modules behind it; without them it is refused, and no file is read", async () => {
    const tenantId = "modular";
    const module = readFileSync(new URL("../../../pipelines/modules/spoken-answer@1.yaml", import.meta.url), "utf8");
    const spec = [
      "schema: rspp/pipeline/v1\nname: spoken\nversion: 1",
      "modules: [{id: answer, use: spoken-answer@1}]",
      "nodes:",
      ...["caller, kind: ingress", "keypad, kind: dtmf", "context, kind: context", "output, kind: output"].map(
        (id) => `  - {id: ${id}}`,
      ),
      "  - {id: llm, kind: llm, provider: {candidates: [local/responder]}}",
      "edges: [keypad.utterance -> context.utterance, context.messages -> llm.messages, llm.text -> answer.text, answer.audio -> output.audio]",
    ].join("\n");
    const refused = await publish({ tenantId, source: spec });
    expect(refused).toMatchObject({ ok: false, error: { kind: "invalid", findings: [{ path: "modules[0].use" }] } });
    const source = bundleSpec(spec, [{ use: "spoken-answer@1", file: "m.yaml", text: module }]);
    expect(await publish({ tenantId, source })).toMatchObject({ ok: true, value: { kind: "published" } });
    // What the module says is part of the version: other bytes in it are other bytes.
    const other = source.replace("default: local/flite", "default: sim/tts");
    expect(await publish({ tenantId, source: other, version: 1 })).toMatchObject({
      error: { kind: "version_immutable" },
    });
    expect(await publish({ tenantId, source: `# comment\n${source}`, version: 1 })).toMatchObject({
      value: { kind: "unchanged" },
    });
  });

  test("F-126 a spec with a fault is refused with the place and the remedy, and a check alone publishes nothing", async () => {
    const faulty = await publish({ tenantId: "fresh", source: `${echo}\nsurprise: 1\n` });
    expect(faulty).toMatchObject({ ok: false, error: { kind: "invalid" } });
    if (faulty.ok || faulty.error.kind !== "invalid") throw new Error("was not refused");
    expect(faulty.error.findings[0]).toMatchObject({ severity: "error", path: "surprise" });
    expect(await publish({ tenantId: "fresh", validateOnly: true })).toMatchObject({
      ok: true,
      value: { kind: "valid" },
    });
    expect(await versions.list({ tenantId: "fresh", limit: 10 })).toEqual({ versions: [], next: null });
  });
});

const instance = (instanceId: string, part: Partial<Instance> = {}) => ({
  instanceId,
  role: "runtime",
  address: `http://${instanceId}`,
  region: "eu",
  build: "1",
  capacitySessions: 2,
  sessions: 0,
  draining: false,
  ready: true,
  endpoints: { websocket: `ws://${instanceId}` },
  ...part,
});

const request = (part: Partial<RouteRequest> = {}): RouteRequest => ({
  tenantId: "t",
  pipelineName: echoName,
  pipelineVersion: 0,
  transport: "",
  sessionId: "",
  variables: {},
  region: "",
  requestKey: `key${count++}`,
  ...part,
});

const routed = async (part: Partial<RouteRequest> = {}) => {
  const answer = await route(request(part));
  return answer.ok ? answer.value.row.instanceId : "reason" in answer.error ? answer.error.reason : answer.error.kind;
};

/** As if every instance of before had gone. */
async function onlyInstances(...list: ReturnType<typeof instance>[]): Promise<void> {
  now += 3_600_000;
  await statuses.sweep();
  for (const one of list) await statuses.reportInstance(one);
}

describe("routes", () => {
  test("go to the least loaded runtime that is ready, fresh and has room; a wanted region is preferred", async () => {
    await onlyInstances();
    expect(await routed()).toBe("none_ready");
    await onlyInstances(
      instance("busy", { sessions: 1 }),
      instance("idle", { region: "us" }),
      instance("draining", { draining: true }),
      instance("unready", { ready: false }),
      instance("phone", { endpoints: { telephony: "tel:1" } }),
    );
    expect(await routed()).toBe("idle");
    expect(await routed({ region: "eu" })).toBe("busy");
    // What an instance tells of its load is a hint; its places are counted.
    expect([await routed(), await routed()].sort()).toEqual(["busy", "idle"]);
    expect(await routed()).toBe("all_full");
    expect(await routed({ transport: "telephony" })).toBe("phone");
    // Routes that nobody took up give their places back, once whoever opened one at the last moment has been heard.
    now += 300_001;
    for (const id of ["busy", "idle"]) await statuses.reportInstance(instance(id));
    expect(await routed()).toBe("all_full");
    now += 15_000;
    for (const id of ["busy", "idle"]) await statuses.reportInstance(instance(id));
    expect(["busy", "idle"]).toContain(await routed());
  });

  const endpoint = async (part: Partial<RouteRequest> = {}) => {
    const answer = await route(request(part));
    if (!answer.ok) return "reason" in answer.error ? answer.error.reason : answer.error.kind;
    const { instanceId, endpointUrl } = answer.value.row;
    return `${instanceId} ${endpointUrl}`;
  };
  const adapter = (id: string, part: Partial<Instance> = {}) =>
    instance(id, { role: "transport-websocket", address: "", endpoints: { websocket: `ws://${id}` }, ...part });

  test("the runtime by its load and region, the endpoint of the adapter near it that has room", async () => {
    const runtime = (id: string, part: Partial<Instance> = {}) => instance(id, { endpoints: {}, ...part });
    await onlyInstances(runtime("r1"), adapter("a1", { ready: false }), adapter("a2", { draining: true }));
    expect(await endpoint()).toBe("none_ready");
    await onlyInstances(adapter("alone"));
    expect(await endpoint()).toBe("none_ready");
    await onlyInstances(runtime("unreachable", { address: "" }), adapter("a1"));
    expect(await endpoint()).toBe("none_ready");
    await onlyInstances(
      runtime("r1", { capacitySessions: 4 }),
      runtime("r2", { capacitySessions: 4, region: "us" }),
      adapter("a1"),
      adapter("a2", { region: "us" }),
      adapter("a3", { region: "us", sessions: 1 }),
    );
    expect(await endpoint()).toBe("r1 ws://a1");
    expect(await endpoint({ region: "us" })).toBe("r2 ws://a2");
    expect(await endpoint({ region: "us" })).toBe("r2 ws://a2");
    expect(await endpoint({ region: "us" })).toBe("r2 ws://a3");
    // Both adapters of its region are full: any other does.
    expect(await endpoint({ region: "us" })).toBe("r2 ws://a1");
    expect(await endpoint()).toBe("all_full");
    expect(await endpoint({ transport: "telephony" })).toBe("none_ready");
  });

  test("a runtime with an endpoint of its own is reached there, whatever adapters there are", async () => {
    await onlyInstances(instance("whole"), adapter("a1", { capacitySessions: 1 }));
    expect([await endpoint(), await endpoint(), await endpoint()]).toEqual([
      "whole ws://whole",
      "whole ws://whole",
      "all_full",
    ]);
  });

  test("asked for at once never fill an instance beyond its capacity", async () => {
    await onlyInstances(instance("a"), instance("b", { capacitySessions: 3 }));
    const found = await Promise.all(Array.from({ length: 9 }, () => routed()));
    const counted = (name: string) => found.filter((id) => id === name).length;
    expect([counted("a"), counted("b"), counted("all_full")]).toEqual([2, 3, 4]);
  });

  test("F-119 carry a token for this tenant, session, version and runtime; a repeat is the same admission", async () => {
    await onlyInstances(instance("a"));
    const wanted = request({ sessionId: "mine", variables: { name: '"Ada"' } });
    const first = await route(wanted);
    if (!first.ok) throw new Error("refused");
    expect(JSON.parse(first.value.token)).toMatchObject({
      tenantId: "t",
      sessionId: "mine",
      pipelineVersion: `${echoName}@2`,
      instanceId: "a",
      transport: "websocket",
      issuedWallMs: now,
      expiresWallMs: now + 300_000,
      variables: { name: '"Ada"' },
    });
    now += 1_000;
    expect(await route(wanted)).toEqual(first);
    expect(await route({ ...wanted, region: "us" })).toEqual({ ok: false, error: { kind: "key_reused" } });
    expect(await route({ ...wanted, requestKey: "another" })).toEqual({ ok: false, error: { kind: "session_exists" } });
    now += 300_000;
    expect(await route(wanted)).toEqual({ ok: false, error: { kind: "route_expired" } });
  });

  test("for a version that is not there, or variables that are none, are refused by name", async () => {
    await onlyInstances(instance("a"));
    expect(await routed({ pipelineName: "nobody" })).toBe("pipeline_not_found");
    expect(await routed({ tenantId: "stranger" })).toBe("pipeline_not_found");
    expect(await route(request({ variables: { broken: "{" } }))).toEqual({
      ok: false,
      error: { kind: "variables_invalid", name: "broken", reason: "not a JSON value" },
    });
    await versions.setDeprecated("t", echoName, 2, true, "ada");
    const older = await route(request());
    expect(older).toMatchObject({ ok: true, value: { row: { pipeline: { version: 1 } } } });
    await versions.setDeprecated("t", echoName, 2, false, "ada");
  });
});

describe("session status", () => {
  const report = (sessionId: string, part: Partial<StatusReport> = {}) => {
    const status: StatusReport = {
      session: { tenantId: "t", sessionId },
      instanceId: "a",
      state: "active",
      reconnecting: false,
      degraded: false,
      authorityEpoch: 1,
      startedWallMs: now,
      turns: 0,
      openTurnNumber: 0,
      recordingLevel: 0,
      asOfWallMs: now,
      ...part,
    };
    return statuses.reportMany([status]).then(([taken]) => taken);
  };

  test("follows the newest epoch, then the newest word, ends for good, and is seen by its tenant alone", async () => {
    await onlyInstances(instance("a"));
    await route(request({ sessionId: "told" }));
    expect(await report("told", { authorityEpoch: 5, turns: 1 })).toBe(true);
    expect(await report("told", { authorityEpoch: 4, asOfWallMs: now + 9_000, turns: 9 })).toBe(false);
    expect(await report("told", { authorityEpoch: 5, asOfWallMs: now - 1, turns: 9 })).toBe(false);
    expect(await statuses.get({ tenantId: "t", sessionId: "told" })).toMatchObject({
      state: "active",
      turns: 1,
      stale: false,
    });
    expect(await statuses.get({ tenantId: "other", sessionId: "told" })).toBeUndefined();
    now += 15_001;
    expect(await statuses.get({ tenantId: "t", sessionId: "told" })).toMatchObject({ stale: true });
    expect(await report("told", { authorityEpoch: 5, state: "ended" })).toBe(true);
    expect(await report("told", { authorityEpoch: 6 })).toBe(false);
    expect(await report("unknown")).toBe(false);
    expect(await statuses.get({ tenantId: "t", sessionId: "told" })).toMatchObject({ state: "ended", stale: false });
  });

  test("is listed newest first, by state, page by page", async () => {
    await publish({ tenantId: "lister" });
    await onlyInstances(instance("a", { capacitySessions: 10 }));
    for (const sessionId of ["x1", "x2", "x3"]) {
      now += 1;
      await route(request({ tenantId: "lister", sessionId }));
    }
    const ids = (page: Awaited<ReturnType<Statuses["list"]>>) => page.sessions.map(({ session }) => session.sessionId);
    const first = await statuses.list({ tenantId: "lister", limit: 2 });
    expect(ids(first)).toEqual(["x3", "x2"]);
    expect(ids(await statuses.list({ tenantId: "lister", limit: 2, after: first.next }))).toEqual(["x1"]);
    expect(ids(await statuses.list({ tenantId: "lister", states: ["ended"], limit: 2 }))).toEqual([]);
  });

  test("F-159 the view has a version that changes with what routing depends on, and a bound on its age", async () => {
    await onlyInstances(instance("a"), instance("b"));
    const view = await statuses.view();
    expect(view).toMatchObject({
      takenWallMs: now,
      maxStalenessMs: 15_000,
      instances: [{ instanceId: "a" }, { instanceId: "b" }],
    });
    await statuses.reportInstance(instance("a", { sessions: 1 }));
    expect((await statuses.view()).version).toBe(view.version);
    await statuses.reportInstance(instance("a", { draining: true }));
    expect((await statuses.view()).version).not.toBe(view.version);
  });
});
