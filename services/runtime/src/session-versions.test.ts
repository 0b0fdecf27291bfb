/** F-016: sessions of two versions of one pipeline side by side in one runtime. */
import { create } from "@bufbuild/protobuf";
import { ok } from "@rspp/base/result";
import { GrantSchema } from "@rspp/gen/rspp/lease/v1/lease_pb";
import { SessionTokenClaimsSchema } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { compileSpec } from "@rspp/spec/compile-spec";
import { parseSpec } from "@rspp/spec/parse-spec";
import { expect, test } from "vitest";
import { createAdmission } from "./admission-open.ts";
import { silentLogger } from "./logger.ts";
import type { Pipelines } from "./pipelines.ts";
import { readSession } from "./spool/reader.ts";
import { bench } from "./testing/bench.ts";
import { FakeTransport } from "./testing/fakes.ts";

const version = (number: string, extra: string): string => `schema: rspp/pipeline/v1
template: voice-assistant
name: desk
version: ${number}
recording: {level: L2}
conversation: {greeting: "Greeting ${number}", system_prompt: "Prompt of ${number}"}
providers:
  stt: {candidates: [sim/stt], settings: {version: "${number}"}}
  llm: {candidates: [sim/llm]}
  tts: {candidates: [sim/tts]}
${extra}`;

const texts: Readonly<Record<string, string>> = {
  "desk@1": version("1", "policy: {id: policy-1, barge_in: true}\n"),
  "desk@2": version("2", "policy: {id: policy-2, barge_in: false}\n"),
};

const pipelines: Pipelines = {
  get: (_tenant, name) => {
    const spec = parseSpec(texts[name] ?? "", name);
    const made = spec.ok ? compileSpec(spec.value) : spec;
    if (!made.ok) throw new Error("the specs compile");
    return Promise.resolve(ok({ ...made.value, graph: { ...made.value.graph, pipelineVersion: name } }));
  },
};

async function open(b: ReturnType<typeof bench>, sessionId: string, pipelineVersion: string) {
  const line = new FakeTransport(b.clock);
  const admission = createAdmission({
    instanceId: "runtime-1",
    runtime: b.runtime,
    pipelines,
    providers: b.providers,
    leases: { keep: () => undefined, close: () => Promise.resolve() },
    clock: b.clock,
    logger: silentLogger,
    llm: null,
    over: () => false,
    draining: () => false,
  });
  const admitted = await admission.open({
    claims: create(SessionTokenClaimsSchema, { tenantId: "acme", sessionId, pipelineVersion }),
    grant: create(GrantSchema, {
      session: { tenantId: "acme", sessionId },
      epoch: 1n,
      storeIncarnation: 3,
      holderId: "runtime-1",
      termMs: 60_000,
      expiresWallMs: BigInt(Math.round(b.clock.wallMs()) + 60_000),
    }),
    transport: line,
  });
  if (!admitted.ok) throw new Error(admitted.error.remedy);
  line.session = admitted.value.session;
  line.control("connected");
  return { session: admitted.value.session, line };
}

/** Every generated id, e.g. `turn_kljx7jpaolxvjiyg`, and every hash of a plan. */
function idsOf(...found: unknown[]): Set<string> {
  const text = JSON.stringify(found, (key, value: unknown) =>
    key === "bytes" || key === "config" ? undefined : value,
  );
  return new Set(text.match(/\b[a-z]+_[a-z0-9]{16}\b|"planHash":"[0-9a-f]{64}"/g));
}

test("F-016 sessions pinned to v1 and v2 share no event, state or id, whatever the other one does", async () => {
  const b = bench();
  const [one, two] = [await open(b, "first", "desk@1"), await open(b, "second", "desk@2")];
  const watch = two.session.events.subscribe({ kinds: ["audio", "text", "control"] });
  await b.pass(1_000);
  for (let event = watch?.take(); event !== undefined; event = watch?.take())
    expect(JSON.stringify(event)).not.toContain("first");
  const before = two.session.view();
  for (let i = 0; i < 60; i++) {
    one.line.frame(i < 20);
    await b.pass(20);
  }
  // The caller of the first has spoken and got a turn; to the second nothing has happened.
  expect(one.session.view().turns).toBe(before.turns + 1);
  expect(two.session.view()).toEqual(before);
  expect(watch?.take()).toBeUndefined();
  watch?.close();
  one.session.operator("end");
  await one.session.ended;
  await b.talk(two.line, 20, 60);
  expect(two.session.view()).toMatchObject({ phase: "active", turns: before.turns + 1 });
  two.session.operator("end");
  await two.session.ended;

  const runs = ["first", "second"].map((id) => readSession(b.store, id, "acme").runs[0]);
  expect(runs.map((run) => run?.start)).toMatchObject([
    { pipeline: "desk@1", config: { policy: { id: "policy-1" } } },
    { pipeline: "desk@2", config: { policy: { id: "policy-2" } } },
  ]);
  const [mine, theirs] = [one, two].map(({ line }, i) => idsOf(line.sent, runs[i]?.signals, runs[i]?.records));
  expect(mine?.size).toBeGreaterThan(5);
  expect(theirs?.size).toBeGreaterThan(5);
  expect([...(mine ?? [])].filter((id) => theirs?.has(id))).toEqual([]);
  const said = ({ line }: typeof one) => line.sent.flatMap((sent) => (sent.kind === "text" ? sent.text : []));
  expect(said(one).join(" ")).toContain("Greeting 1");
  expect(said(one).join(" ")).not.toContain("Greeting 2");
  expect(said(two).join(" ")).not.toContain("Greeting 1");
});
