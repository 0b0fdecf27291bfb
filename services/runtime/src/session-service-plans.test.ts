import { ValueSource } from "@rspp/gen/rspp/plan/v1/plan_pb";
import { expect, test } from "vitest";
import { planMessages } from "./session-service-plans.ts";
import { bench } from "./testing/bench.ts";

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
