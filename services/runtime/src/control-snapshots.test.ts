import { create } from "@bufbuild/protobuf";
import { CircuitState } from "@rspp/gen/rspp/provider/v1/provider_pb";
import { OverRateAction } from "@rspp/gen/rspp/registry/v1/admission_pb";
import {
  type AdmissionSnapshot,
  AdmissionSnapshotSchema,
  PolicySnapshotSchema,
  ProviderHealthSnapshotSchema,
} from "@rspp/gen/rspp/registry/v1/snapshot_pb";
import type { SnapshotFreshness, SnapshotKind } from "@rspp/protocol/snapshot-watch-types";
import { compileSpec } from "@rspp/spec/compile-spec";
import { expandTemplate } from "@rspp/spec/parse-spec";
import { expect, test } from "vitest";
import { ControlSnapshots } from "./control-snapshots.ts";
import { silentLogger } from "./logger.ts";
import { PolicyBook } from "./policy-book.ts";
import type { RuntimeSession, SystemInput } from "./runtime.ts";

function pipeline() {
  const providers = {
    stt: { candidates: ["sim/stt"] },
    llm: { candidates: ["v/a", "v/b"] },
    tts: { candidates: ["sim/tts"] },
  };
  const spec = expandTemplate({ template: "voice-assistant", providers });
  if (!spec.ok) throw new Error("the template holds");
  const compiled = compileSpec(spec.value);
  if (!compiled.ok) throw new Error("the template compiles");
  return compiled.value;
}

const rules = (text: string) => `{"schema":"rspp/policy/v1","name":"default","version":"1","rules":[${text}]}`;
const policies = (documents: Readonly<Record<string, string>>, version = 1) =>
  create(PolicySnapshotSchema, {
    policies: Object.entries(documents).map(([tenantId, text]) => ({
      tenantId,
      name: "default",
      version,
      digest: new Uint8Array(32),
      content: new TextEncoder().encode(text),
    })),
  });
const health = (circuits: Readonly<Record<string, CircuitState>>) =>
  create(ProviderHealthSnapshotSchema, {
    providers: Object.entries(circuits).map(([provider, circuit]) => ({
      health: { provider, circuit, version: "1" },
      available: true,
      reporters: 1,
    })),
  });

/** What the registry told, without a registry: nothing here can ask anybody. */
function rig(available = ["v/a", "v/b", "v/c", "sim/stt", "sim/tts"]) {
  const state: Partial<Record<SnapshotKind, SnapshotFreshness>> = {};
  const missing: SnapshotFreshness = { state: "missing", version: 0, ageMs: 0 };
  let waits = 0;
  const watch = {
    freshness: (kind: SnapshotKind) => state[kind] ?? missing,
    first: async () => {
      waits += 1;
      return false;
    },
    unsupported: false,
    admission: undefined as AdmissionSnapshot | undefined,
    current: () => (watch.admission === undefined ? undefined : ({ content: watch.admission } as never)),
  };
  const set = (kind: SnapshotKind, version: number, of: SnapshotFreshness["state"] = "fresh", ageMs = 0) => {
    state[kind] = { state: of, version, ageMs };
  };
  for (const kind of ["policy", "rollout", "admission", "routing", "provider_health"] as const) set(kind, 1);
  const book = new PolicyBook("eu");
  const audits: object[] = [];
  const logger = { ...silentLogger, info: (fields: object) => void audits.push(fields) };
  const records: object[] = [];
  const audit = { record: async (record: object) => void records.push(record) };
  const parts = { watch, book, available: () => available, logger, audit, instanceId: "rt-1" };
  const snapshots = new ControlSnapshots(parts);
  const told: Extract<SystemInput, { type: "snapshot" }>[] = [];
  let end: () => void = () => undefined;
  const session = {
    config: { sessionId: "s-1", recording: { policyId: "rec", ceiling: "L0", evidenceQuotaBytes: 0 } },
    update: (input: SystemInput) => void (input.type === "snapshot" && told.push(input)),
    ended: new Promise<void>((resolve) => {
      end = resolve;
    }),
  } as unknown as RuntimeSession;
  return { snapshots, book, set, told, session, audits, records, watch, end: () => end(), waits: () => waits };
}

const subject = { tenant: "acme", pipeline: "voice-assistant", vars: { cost_tier: "basic" } };
const llm = (input: Extract<SystemInput, { type: "snapshot" }> | undefined) =>
  input?.resolution?.bindings.llm?.map(({ provider }) => provider);

test("F-102 F-056 a session is opened under the policy in force, whose version its turns name; a change is told it once", async () => {
  const { snapshots, book, set, told, session, watch } = rig();
  expect(book.takePolicies(policies({ "*": rules('{"id":"all","candidates":{"llm":["v/b","v/c"]}}') }))).toBeNull();
  const opened = await snapshots.open(pipeline(), subject);
  if (!opened.ok) throw new Error("was refused");
  expect(opened.value.refs).toMatchObject({ policy: "policy@1", rollout: "rollout@1", admission: "admission@1" });
  snapshots.keep(session, opened.value.pipeline, subject);
  expect(told).toHaveLength(1);
  expect(told[0]).toMatchObject({ usable: true, refs: { policy: "policy@1" }, resolution: { policy: "*/default@1" } });
  expect(llm(told[0])).toEqual(["v/b", "v/c"]);
  for (let i = 0; i < 5; i++) snapshots.changed();
  expect(told).toHaveLength(1);
  // The tenant's own beats the platform's.
  const own = { "*": rules('{"id":"all"}'), acme: rules('{"id":"own","candidates":{"llm":["v/c"]}}') };
  book.takePolicies(policies(own, 2));
  set("policy", 2);
  snapshots.changed();
  expect(told).toHaveLength(2);
  expect(told[1]).toMatchObject({ refs: { policy: "policy@2" }, resolution: { policy: "acme/default@2" } });
  expect(llm(told[1])).toEqual(["v/c"]);
  expect(watch.unsupported).toBe(false);
});

test("F-060 F-066 an unhealthy provider comes last at once and first again later; signals too old are no signals", async () => {
  const { snapshots, book, set, told, session } = rig();
  const opened = await snapshots.open(pipeline(), subject);
  if (!opened.ok) throw new Error("was refused");
  snapshots.keep(session, opened.value.pipeline, subject);
  expect(told).toEqual([]);
  book.takeHealth(health({ "v/a": CircuitState.OPEN }));
  set("provider_health", 2);
  snapshots.changed();
  expect(llm(told.at(-1))).toEqual(["v/b", "v/a"]);
  expect(told.at(-1)?.refs.providerHealth).toBe("provider_health@2");
  set("provider_health", 2, "too_stale", 40_000);
  snapshots.changed();
  expect(told.at(-1)).toMatchObject({ resolution: null, refs: { providerHealth: "provider_health@2!stale" } });
  book.takeHealth(health({ "v/a": CircuitState.CLOSED }));
  set("provider_health", 3);
  snapshots.changed();
  expect(told.at(-1)).toMatchObject({ resolution: null, refs: { providerHealth: "provider_health@3" } });
});

test("F-159 without a snapshot, or with one too old, no new session; one that lives goes on under the last good, marked stale", async () => {
  const { snapshots, set, told, session, waits } = rig();
  const opened = await snapshots.open(pipeline(), subject);
  if (!opened.ok) throw new Error("was refused");
  snapshots.keep(session, opened.value.pipeline, subject);
  set("policy", 1, "too_stale", 1_000_000);
  const refused = await snapshots.open(pipeline(), subject);
  expect(refused).toMatchObject({ ok: false, error: { reason: "dependency_unavailable" } });
  if (refused.ok) throw new Error("was not refused");
  expect(refused.error.remedy).toContain("its policy snapshot is 1000 s old");
  expect(waits()).toBe(1);
  snapshots.changed();
  expect(told.at(-1)).toMatchObject({ usable: true, refs: { policy: "policy@1!stale" } });
  set("policy", 1, "missing");
  expect(await snapshots.open(pipeline(), subject)).toMatchObject({ ok: false });
  set("policy", 1, "stale", 20_000);
  expect(await snapshots.open(pipeline(), subject)).toMatchObject({
    ok: true,
    value: { refs: { policy: "policy@1!stale" } },
  });
});

test("NF-010 under a registry that has no snapshots pipelines stand as they are", async () => {
  const { snapshots, set, watch } = rig();
  for (const kind of ["policy", "rollout", "admission"] as const) set(kind, 0, "missing");
  watch.unsupported = true;
  const compiled = pipeline();
  const opened = await snapshots.open(compiled, subject);
  expect(opened).toMatchObject({ ok: true, value: { refs: { policy: "none" } } });
  expect(opened.ok && opened.value.pipeline).toBe(compiled);
});

test("F-062 what a policy puts into the graph of a session is audited", async () => {
  const { snapshots, book, audits, records } = rig();
  book.takePolicies(
    policies({ "*": rules('{"id":"all","compliance":[{"id":"no-pii","settings":{"emails":"mask"}}]}') }),
  );
  const opened = await snapshots.open(pipeline(), subject);
  expect(opened.ok && opened.value.pipeline.graph.nodes.map(({ id }) => id)).toContain("policy-no-pii");
  expect(audits).toMatchObject([{ audit: { action: "policy_applied", tenant_id: "acme", policy: "*/default@1" } }]);
  expect(records).toMatchObject([
    { tenantId: "acme", actor: "rt-1", action: "policy_applied", subject: "*/default@1", detail: { changes: [{}] } },
  ]);
});

test("F-102 a policy this build cannot use is refused whole, and the one before stays", () => {
  const { book } = rig();
  book.takePolicies(policies({ "*": rules('{"id":"all","candidates":{"llm":["v/b"]}}') }));
  const problem = book.takePolicies(policies({ "*": rules('{"id":"all","surprise":1}') }, 2));
  expect(problem).toContain("*/default@2: rules[0].surprise");
  expect(book.decide(subject).policy).toBe("*/default@1");
});

test("F-159 deciding for ten thousand turns asks nobody", async () => {
  const { snapshots, book, waits } = rig();
  book.takePolicies(policies({ "*": rules('{"id":"all","candidates":{"llm":["v/b"]}}') }));
  const compiled = pipeline();
  for (let i = 0; i < 10_000; i++) book.resolve(compiled, subject, ["v/b"]);
  await snapshots.open(pipeline(), subject);
  expect(waits()).toBe(0);
});

test("F-050 a session has the tenant's rate of turns, or its share of it, and is told when that changes", async () => {
  const { snapshots, set, told, session, watch } = rig();
  watch.admission = create(AdmissionSnapshotSchema, {
    tenants: [
      { tenantId: "*", sessionTurnsPerMinute: 6 },
      { tenantId: "acme", turnsPerMinute: 120, sessionTurnsPerMinute: 90, turnsOver: OverRateAction.THROTTLE },
    ],
  });
  const opened = await snapshots.open(pipeline(), subject);
  if (!opened.ok) throw new Error("was refused");
  snapshots.keep(session, opened.value.pipeline, subject);
  expect(told).toMatchObject([
    { rate: { perMinute: 90, burst: 1, onExceeded: "throttle", throttleMaxMs: 1_000 }, resolution: null },
  ]);
  // Two more of the tenant: each of the three has a quarter, since the share is rounded down.
  for (let i = 0; i < 2; i++) snapshots.keep(session, opened.value.pipeline, subject);
  expect(told.at(-1)).toMatchObject({ rate: { perMinute: 30 } });
  const before = told.length;
  snapshots.changed();
  expect(told.slice(before).map((input) => input.rate?.perMinute)).toEqual([30, 30]);
  set("admission", 2);
  snapshots.keep(session, pipeline(), { ...subject, tenant: "beta" });
  expect(told.at(-1)).toMatchObject({
    rate: { perMinute: 6, onExceeded: "reject" },
    refs: { admission: "admission@2" },
  });
});

test("F-114 a tenant's policy and rate bind no other tenant", async () => {
  const { snapshots, book, told, session, watch } = rig();
  book.takePolicies(policies({ acme: rules('{"id":"own","candidates":{"llm":["v/c"]}}') }));
  watch.admission = create(AdmissionSnapshotSchema, { tenants: [{ tenantId: "acme", sessionTurnsPerMinute: 6 }] });
  for (const tenant of ["beta", "acme.", "*acme", "Acme"]) {
    const other = { ...subject, tenant };
    expect(book.decide(other).policy).toBe("");
    const opened = await snapshots.open(pipeline(), other);
    if (!opened.ok) throw new Error("was refused");
    snapshots.keep(session, opened.value.pipeline, other);
  }
  expect(told).toEqual([]);
  snapshots.keep(session, pipeline(), subject);
  expect(told).toMatchObject([{ resolution: { policy: "acme/default@1" }, rate: { perMinute: 6 } }]);
});

test("F-071 that a session was drawn to be recorded above L0 is audited, once; one that was not is no entry", () => {
  const { snapshots, session, records } = rig();
  const drawn = (kept: boolean) => {
    const sample = { percent: 10, bucket: kept ? 7 : 7_000, kept };
    const recording = { policyId: "rec#x", ceiling: kept ? "L1" : "L0", evidenceQuotaBytes: 0, sample };
    return { ...session, config: { ...session.config, recording } } as RuntimeSession;
  };
  snapshots.keep(session, pipeline(), subject);
  snapshots.keep(drawn(false), pipeline(), subject);
  expect(records).toEqual([]);
  snapshots.keep(drawn(true), pipeline(), subject);
  const detail = { pipeline: "voice-assistant", policy_id: "rec#x", level: "L1", percent: 10, bucket: 7 };
  expect(records).toEqual([{ tenantId: "acme", actor: "rt-1", action: "recording_sampled", subject: "s-1", detail }]);
});
