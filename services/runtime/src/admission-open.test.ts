import { create } from "@bufbuild/protobuf";
import { GrantSchema } from "@rspp/gen/rspp/lease/v1/lease_pb";
import { SessionTokenClaimsSchema } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { compileSpec } from "@rspp/spec/compile-spec";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import { expandTemplate } from "@rspp/spec/parse-spec";
import { expect, test } from "vitest";
import type { AdmissionRequest } from "./admission.ts";
import { type AdmissionOptions, createAdmission } from "./admission-open.ts";
import type { LeaseKeeper, LeaseToKeep } from "./lease-keeper.ts";
import { silentLogger } from "./logger.ts";
import { bench } from "./testing/bench.ts";
import { FakeTransport } from "./testing/fakes.ts";

function pipeline(part: Partial<CompiledPipeline> = {}): CompiledPipeline {
  const providers = {
    stt: { candidates: ["local/pocketsphinx", "sim/stt"] },
    llm: { candidates: ["sim/llm"] },
    tts: { candidates: ["sim/tts"] },
  };
  const spec = expandTemplate({ template: "voice-assistant", providers });
  if (!spec.ok) throw new Error("the template holds");
  const compiled = compileSpec(spec.value);
  if (!compiled.ok) throw new Error("the template compiles");
  return { ...compiled.value, ...part };
}

function rig(part: Partial<AdmissionOptions> = {}, compiled = pipeline()) {
  const b = bench();
  const kept: LeaseToKeep[] = [];
  const state = { draining: false };
  const leases: LeaseKeeper = {
    keep: (lease) => void kept.push(lease),
    close: () => Promise.resolve(),
  };
  const logged: string[] = [];
  const write = (fields: object, message: string): void => void logged.push(`${message} ${JSON.stringify(fields)}`);
  const admission = createAdmission({
    instanceId: "runtime-1",
    runtime: b.runtime,
    pipelines: { get: () => Promise.resolve({ ok: true, value: compiled }) },
    providers: b.providers,
    leases,
    clock: b.clock,
    logger: { ...silentLogger, info: write, error: write },
    llm: null,
    over: () => false,
    draining: () => state.draining,
    ...part,
  });
  const line = new FakeTransport(b.clock);
  const request = (sessionId: string, more: Partial<AdmissionRequest> = {}): AdmissionRequest => ({
    claims: create(SessionTokenClaimsSchema, { tenantId: "acme", sessionId, pipelineVersion: "voice-assistant@1" }),
    grant: create(GrantSchema, {
      session: { tenantId: "acme", sessionId },
      epoch: 1n,
      storeIncarnation: 3,
      holderId: "runtime-1",
      termMs: 60_000,
      expiresWallMs: BigInt(Math.round(b.clock.wallMs()) + 60_000),
    }),
    transport: line,
    ...more,
  });
  return { b, kept, state, admission, line, request, logged };
}

const words = (answer: Awaited<ReturnType<ReturnType<typeof rig>["admission"]["open"]>>): string =>
  answer.ok ? "admitted" : `${answer.error.reason}: ${answer.error.remedy}`;

test("an admitted session runs the prompt, variables and lease it was given, and greets once its caller is there", async () => {
  const { b, kept, admission, line, request } = rig({}, pipeline({ systemPrompt: "Be brief.", greeting: "Good day." }));
  const admitted = await admission.open(request("s", { variables: { name: '"Ada"' } }));
  if (!admitted.ok) throw new Error(words(admitted));
  const { session, epoch, reconnectMs } = admitted.value;
  expect([epoch, reconnectMs]).toEqual([1, session.config.policy.reconnectMs]);
  expect(session.config).toMatchObject({
    variables: { name: "Ada" },
    authority: { incarnation: "store-3" },
    systemPrompt: [{ ref: 1, from: 0, to: 9 }],
  });
  expect(kept).toMatchObject([{ tenantId: "acme", terms: { deadlineNs: session.config.authority.deadlineNs } }]);
  await b.pass(500);
  expect(session.view().turns).toBe(0);
  line.session = session;
  line.control("connected");
  await b.until(() => line.sent.some((m) => m.kind === "text" && m.role === "assistant"));
  line.control("connected");
  await b.pass(5_000);
  expect(session.view().turns).toBe(1);
  session.operator("end");
  await b.pass(100);
});

test("X-02 session variables reach the prompt, the greeting, the spec's sentences and what is said by API", async () => {
  const spoken = { "silence[0]": "Are you there, {{name}}?" };
  const silence = { afterMs: 3_000, prompts: 1, maxPrompts: 1, andThen: "nothing" } as const;
  const texts = { systemPrompt: "You speak with {{name}}, {{age}}.", greeting: "Good day, {{name}}.", spoken };
  const { policy } = pipeline();
  const { b, admission, line, request } = rig({}, pipeline({ ...texts, policy: { ...policy, silence } }));
  const admitted = await admission.open(request("s", { variables: { name: '"Ada"', age: "36" } }));
  if (!admitted.ok) throw new Error(words(admitted));
  const { session } = admitted.value;
  expect(session.config.systemPrompt).toEqual([{ ref: 1, from: 0, to: "You speak with Ada, 36.".length }]);
  line.session = session;
  line.control("connected");
  const said = () => line.sent.flatMap((m) => (m.kind === "text" && m.role === "assistant" ? [m.text.trim()] : []));
  await b.until(() => said().length === 1);
  expect(session.say("Your name is {{name}}; \\{{name}} stays.", { second: "queue" })).toMatchObject({ ok: true });
  await b.pass(15_000);
  expect(said().join(" ")).toBe("Good day, Ada. Your name is Ada; {{name}} stays. Are you there, Ada?");
  session.operator("end");
  await b.pass(100);
});

test("onlookers of the adapter are told of what they asked for, until they leave", async () => {
  const { b, admission, line, request } = rig();
  const admitted = await admission.open(request("s"));
  if (!admitted.ok) throw new Error(words(admitted));
  const seen: string[] = [];
  const leave = admitted.value.observe(["debug"], (note) => void seen.push(note.kind));
  line.session = admitted.value.session;
  line.control("connected");
  await b.pass(100);
  expect(new Set(seen)).toEqual(new Set(["debug"]));
  leave();
  const before = seen.length;
  admitted.value.session.operator("end");
  await b.pass(100);
  expect(seen).toHaveLength(before);
});

test("what nothing here can serve, what is full, stopping, or held under a newer epoch is refused with what to do", async () => {
  const unserved = rig({ providers: { ...bench().providers, providers: () => ["sim/stt", "sim/tts"] } });
  expect(words(await unserved.admission.open(unserved.request("s")))).toMatch(
    /^dependency_unavailable: node llm: none of its providers can serve here: available are sim\/stt, sim\/tts/,
  );

  const small = rig({ capacity: 1 });
  expect(words(await small.admission.open(small.request("a")))).toBe("admitted");
  expect(words(await small.admission.open(small.request("b")))).toMatch(/^capacity_exhausted: all 1 sessions/);
  expect(words(await rig().admission.open(small.request("a")))).toBe("admitted");

  const stopping = rig();
  stopping.state.draining = true;
  expect(words(await stopping.admission.open(stopping.request("s")))).toMatch(/^draining: /);

  const twice = rig();
  await twice.admission.open(twice.request("s"));
  expect(words(await twice.admission.open(twice.request("s")))).toMatch(/^already_exists: session s is open already/);
});

test("F-088 a token opens its session once: when that is over, another is asked for by a new route", async () => {
  const over = new Set<string>();
  const r = rig({ over: (tenantId, sessionId) => over.has(`${tenantId}/${sessionId}`) });
  expect(words(await r.admission.open(r.request("s")))).toBe("admitted");
  over.add("acme/s");
  expect(words(await r.admission.open(r.request("s")))).toMatch(/^permission_denied: session s is over: .*new route/);
  expect(words(await r.admission.open(r.request("t")))).toBe("admitted");
});

test("a runtime that fills while the registry is asked refuses all the same", async () => {
  let go: () => void = () => {};
  const waiting = new Promise<void>((resolve) => {
    go = resolve;
  });
  const get = async () => {
    await waiting;
    return { ok: true, value: pipeline() } as const;
  };
  const r = rig({ capacity: 1, pipelines: { get } });
  const both = Promise.all([r.admission.open(r.request("a")), r.admission.open(r.request("b"))]);
  go();
  expect((await both).map(words)).toEqual(["admitted", expect.stringMatching(/^capacity_exhausted/)]);
});

test("F-049 past its capacity a session is refused by name; the one that runs is answered, and its place is free after it", async () => {
  const { b, admission, line, request } = rig({ capacity: 1 });
  const running = await admission.open(request("a"));
  if (!running.ok) throw new Error(words(running));
  const { session } = running.value;
  line.session = session;
  line.control("connected");
  const late = new FakeTransport(b.clock);
  expect(words(await admission.open(request("b", { transport: late })))).toMatch(/^capacity_exhausted: all 1 sessions/);
  expect(late.sent).toEqual([]);
  await b.talk(line, 20, 20);
  await b.until(() => line.signals().includes("commit/1"));
  expect(b.runtime.sessions()).toHaveLength(1);
  session.operator("end");
  await session.ended;
  expect(words(await admission.open(request("b", { transport: late })))).toBe("admitted");
});

test("a defect is a refusal too, and its text is told to nobody", async () => {
  const get = () => Promise.reject(new Error("secret words"));
  const r = rig({ pipelines: { get } });
  expect(words(await r.admission.open(r.request("s")))).toMatch(/^runtime_internal_error: this is a defect/);
  expect(r.logged.join("\n")).toContain("session could not be opened");
  expect(r.logged.join("\n")).not.toContain("secret words");
});

const declared = pipeline({
  greeting: "Hello {{caller}}.",
  systemPrompt: "Speak to {{caller}}.",
  variables: { caller: { type: "string", required: true, description: "Who calls" } },
});

test("X-02 declared variables fill what is said and asked, and the plan names them", async () => {
  const { b, admission, line, request } = rig({}, declared);
  const admitted = await admission.open(request("s", { variables: { caller: '"Ada"' } }));
  if (!admitted.ok) throw new Error(words(admitted));
  const { session } = admitted.value;
  line.session = session;
  line.control("connected");
  await b.until(() => line.sent.some((sent) => sent.kind === "text" && sent.text === "Hello Ada."));
  expect(session.config.variables).toEqual({ caller: "Ada" });
  expect(session.config.provenance["variables.caller"]).toBe("session");
  expect(JSON.stringify(session.view().turnPlan)).not.toContain("Ada");
});

test("X-02 a missing or wrongly typed variable is refused by name with the remedy, and no session is opened", async () => {
  const { b, admission, request } = rig({}, declared);
  const missing = words(await admission.open(request("s")));
  expect(missing).toBe(
    "pipeline_invalid: variables.caller (Who calls) is missing: give it when the session starts, e.g. --var caller=…",
  );
  const wrong = words(await admission.open(request("s", { variables: { caller: "7" } })));
  expect(wrong).toBe("pipeline_invalid: variables.caller must be text, found number: give text");
  expect(b.runtime.sessions()).toHaveLength(0);
});

test("X-02 undeclared variables: strict refuses them by name, relaxed warns with names and never values", async () => {
  const variables = { caller: '"Ada"', shoe: '"42-secret"' };
  const strict = rig({ undeclaredVariables: "strict" }, declared);
  expect(words(await strict.admission.open(strict.request("s", { variables })))).toContain(
    "variables.shoe is not declared by pipeline voice-assistant",
  );
  const warned: string[] = [];
  const warn = (fields: object, message: string) => void warned.push(`${message} ${JSON.stringify(fields)}`);
  const relaxed = rig({ logger: { ...silentLogger, warn } }, declared);
  expect(words(await relaxed.admission.open(relaxed.request("s", { variables })))).toBe("admitted");
  expect(warned.join()).toMatch(/not declared.*shoe/);
  expect(warned.join()).not.toContain("secret");
});

test("F-080 what a session sets for itself goes to the pipeline's layers; what it may not set is refused by its path", async () => {
  const asked: unknown[] = [];
  const get: AdmissionOptions["pipelines"]["get"] = (_tenant, _version, session) => {
    asked.push(session?.policy);
    return Promise.resolve({ ok: true, value: pipeline() });
  };
  const r = rig({ pipelines: { get } });
  expect(words(await r.admission.open(r.request("a", { variables: { "set.policy.barge_in": "false" } })))).toBe(
    "admitted",
  );
  expect(asked).toEqual([{ barge_in: false }]);
  expect(words(await r.admission.open(r.request("b", { variables: { "set.budgets.node_soft_ms": "1" } })))).toContain(
    "pipeline_invalid: set.budgets.node_soft_ms is no setting of a session",
  );
});

test("F-071 F-153 only sampled sessions leave a journal; every one leaves its evidence and how it was drawn", async () => {
  const recording = { policyId: "rec", ceiling: "L1" as const, samplePercent: 40 };
  const { b, admission, request } = rig({}, pipeline({ recording, greeting: "Good day." }));
  const found: boolean[] = [];
  for (let i = 0; i < 10; i++) {
    const line = new FakeTransport(b.clock);
    const admitted = await admission.open({ ...request(`s-${i}`), transport: line });
    if (!admitted.ok) throw new Error(words(admitted));
    const { session } = admitted.value;
    line.session = session;
    line.control("connected");
    await b.until(() => line.signals().includes("commit/1"));
    await b.pass(5_000);
    session.operator("end");
    await session.ended;
    const [run] = b.spool.readSession(session.id).runs;
    const sampled = (run?.entries.length ?? 0) > 0;
    const level = sampled ? "L1" : "L0";
    found.push(sampled);
    expect(run?.start).toMatchObject({ level, sample: { percent: 40, kept: sampled } });
    const sealed = run?.records.find(({ kind }) => kind === "evidence")?.content;
    expect(sealed).toMatchObject({ manifest: { missing: [], manifest: { recordingLevel: level } } });
    expect(run?.records.find(({ kind }) => kind === "plan")?.content).toMatchObject({
      plan: { recording: { policyId: sampled ? "rec#sampled" : "rec#unsampled", ceiling: level } },
    });
    expect(run?.payloads.size).toBe(0);
  }
  expect(new Set(found)).toEqual(new Set([true, false]));
});
