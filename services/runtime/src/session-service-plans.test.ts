import { ValueSource } from "@rspp/gen/rspp/plan/v1/plan_pb";
import { assistantGraph } from "@rspp/kernel/testing/harness";
import { expect, test } from "vitest";
import { planMessages } from "./session-service-plans.ts";
import { bench } from "./testing/bench.ts";

test("F-081 NF-011 a plan tells each node's settings; of a secret only where it is, never what it is", async () => {
  const b = bench();
  const base = assistantGraph();
  const secrets = { api_key: "env:VENDOR_KEY", vendor_token: "sk-in-the-clear", transcripts: ["what the caller says"] };
  const nodes = base.nodes.map((node) =>
    node.kind === "segmenter" ? { ...node, settings: { ...node.settings, min_chars: 30, ...secrets } } : node,
  );
  const { session, line } = b.open({ graph: { ...base, nodes } });
  await b.talk(line, 20, 20);
  const told = planMessages(session);
  const all = [...(told.sessionPlan?.nodes ?? []), ...(told.turnPlan?.nodes ?? [])];
  expect(all.find(({ kind }) => kind === "segmenter")?.settings).toMatchObject({
    min_chars: 30,
    api_key: "env:VENDOR_KEY",
  });
  expect(all.find(({ kind }) => kind === "endpointing")?.settings).toMatchObject({
    endpoint_silence_ms: expect.any(Number),
  });
  expect(JSON.stringify(all, (_, value) => (typeof value === "bigint" ? String(value) : value))).not.toMatch(
    /sk-in-the-clear|what the caller says/,
  );
});

test("F-080 F-081 a session's plan tells what was inserted by a module, and each value's layer", async () => {
  const b = bench();
  const provenance = {
    "nodes.vad.kind": "module/listening@1",
    "nodes.stt.kind": "spec",
    "policy.bargeIn": "session",
    "policy.reconnectMs": "tenant/acme@3",
    "budgets.nodeSoftMs": "environment/production@1",
    "policy.lateEvents": "defaulting_source=execution_profile/simple/v1",
  };
  const { session, line } = b.open({ provenance });
  await b.talk(line, 20, 20);
  const { sessionPlan, turnPlan } = planMessages(session);
  const inserted = sessionPlan?.nodes.map(({ id, insertedBy }) => [id, insertedBy]);
  expect(inserted).toContainEqual(["vad", "module/listening@1"]);
  expect(inserted).toContainEqual(["stt", ""]);
  const told = Object.fromEntries(
    (turnPlan?.provenance ?? []).map(({ field, source, sourceRef }) => [field, [source, sourceRef]]),
  );
  expect(told).toMatchObject({
    "policy.bargeIn": [ValueSource.SESSION, "session"],
    "policy.reconnectMs": [ValueSource.TENANT, "tenant/acme@3"],
    "budgets.nodeSoftMs": [ValueSource.ENVIRONMENT, "environment/production@1"],
    "policy.lateEvents": [ValueSource.EXECUTION_PROFILE, "execution_profile/simple/v1"],
    "nodes.stt.kind": [ValueSource.SPEC, "spec"],
  });
});
