/** Policies from the registry to a turn's plan: published, rolled back, and through an outage of the control plane. */
import { CircuitState } from "@rspp/gen/rspp/provider/v1/provider_pb";
import { AuditService } from "@rspp/gen/rspp/registry/v1/access_service_pb";
import { ArtifactService } from "@rspp/gen/rspp/registry/v1/artifact_service_pb";
import { ArtifactKind } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { InstanceService, SnapshotService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { createProviderGateway } from "@rspp/provider-gateway/gateway";
import { createSimLlm } from "@rspp/provider-gateway/sim/llm";
import { createSimStt } from "@rspp/provider-gateway/sim/stt";
import { createSimTts } from "@rspp/provider-gateway/sim/tts";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  assistant,
  type Call,
  call,
  clock,
  connectionTo,
  type PlatformRig,
  platform,
  type RuntimeRig,
  runtimeOf,
  tenantId,
  ticketOf,
  until,
} from "./runtime-service-rig.ts";

let rig: PlatformRig;
let runtime: RuntimeRig;

beforeAll(async () => {
  rig = await platform();
  await rig.publish(assistant("greeter"));
  const providers = async () => {
    const other = { ...createSimLlm({ clock }), name: "sim/llm-b" };
    const all = [createSimStt({ clock }), createSimLlm({ clock }), other, createSimTts({ clock })];
    return createProviderGateway({ clock, providers: all });
  };
  runtime = await runtimeOf(rig, ["--instance-id", "runtime-1"], { providers });
});
afterAll(async () => {
  await runtime?.close();
  await rig?.close();
});

const policy = (version: number, text: string): string => `schema: rspp/policy/v1
name: default
version: ${version}
rules:
  - id: all
    candidates: {llm: [{name: sim/llm, settings: {text: "${text}"}}]}
    compliance: [{id: no-pii, settings: {emails: mask}}]
`;

const artifacts = () => connectionTo(rig.registry).client(ArtifactService);
const publish = (source: string) =>
  artifacts().publishArtifact({ tenantId: "*", source: new TextEncoder().encode(source), author: "ada" });

interface Plan {
  readonly decision?: { readonly policy: string };
  readonly snapshots: { readonly policy: string; readonly providerHealth: string };
  readonly bindings: readonly {
    readonly node: string;
    readonly candidates: readonly { readonly provider: string; settings: { text?: string } }[];
  }[];
}

let keys = 0;

/** A turn that answers; gives its plan. */
async function turn({ admitted }: Call): Promise<Plan> {
  const { session } = admitted;
  const before = session.view().turns;
  keys += 1;
  expect(session.propose({ origin: "api", key: `k${keys}`, text: null }).ok).toBe(true);
  await until(() => session.view().turns > before, "the turn");
  const plan = session.view().turnPlan?.plan as unknown as Plan;
  session.operator("cancel_turn", { turn: session.view().turns });
  await until(() => session.view().openTurn === 0, "the end of the turn");
  return plan;
}

const wordsOf = ({ bindings }: Plan) => bindings.find(({ node }) => node === "llm")?.candidates[0]?.settings.text;

/** As a gateway tells it. */
async function tellHealth(circuit: CircuitState): Promise<void> {
  const status = { instanceId: "gateway-1", role: "provider-gateway", build: "1", capacitySessions: 1, ready: true };
  const providerHealth = [{ provider: "sim/llm", circuit, version: String(circuit), available: true }];
  const reports = (async function* () {
    yield { status, providerHealth };
  })();
  for await (const _answer of connectionTo(rig.registry).client(InstanceService).reportInstance(reports));
}

const modelsOf = (plan: Plan | undefined) =>
  plan?.bindings.find(({ node }) => node === "llm")?.candidates.map(({ provider }) => provider);
const planOf = ({ admitted }: Call) => admitted.session.view().turnPlan?.plan as unknown as Plan | undefined;

test("F-060 F-161 health that a gateway tells steers the next turn and not the open one, and lets the provider in again", async () => {
  const long = "An answer that goes on for long. ".repeat(20);
  const source = assistant("steered")
    .replace("candidates: [sim/llm]", "candidates: [sim/llm, sim/llm-b]")
    .replace(/text: "[^"]*"/, `text: "${long}", chunk_ms: 120`);
  await rig.publish(source);
  const [held, other] = [
    await call(runtime, await ticketOf(rig, runtime, "steered")),
    await call(runtime, await ticketOf(rig, runtime, "steered")),
  ];
  const { session } = held.admitted;
  expect(session.propose({ origin: "api", key: "held", text: null }).ok).toBe(true);
  await until(() => session.view().openTurn > 0, "the held turn");
  const turnNumber = session.view().openTurn;
  expect(modelsOf(planOf(held))).toEqual(["sim/llm", "sim/llm-b"]);

  await tellHealth(CircuitState.OPEN);
  await until(async () => modelsOf(await turn(other))?.[0] === "sim/llm-b", "the sick one behind the other");
  // The same instant told both sessions: what was frozen at its start stays, what opens next is bound anew.
  expect(session.view().openTurn).toBe(turnNumber);
  expect(modelsOf(planOf(held))).toEqual(["sim/llm", "sim/llm-b"]);
  session.operator("cancel_turn", { turn: turnNumber });
  await until(() => session.view().openTurn === 0, "the end of the held turn");
  const next = await turn(held);
  expect(modelsOf(next)).toEqual(["sim/llm-b", "sim/llm"]);
  expect(next.snapshots.providerHealth).toMatch(/^provider_health@\d+$/);

  await tellHealth(CircuitState.CLOSED);
  await until(async () => modelsOf(await turn(held))?.[0] === "sim/llm", "the one that is well again");
  for (const { admitted } of [held, other]) {
    admitted.session.operator("end");
    await admitted.session.ended;
  }
}, 60_000);

test("F-102 F-062 a policy acts at the next turn without the spec, is rolled back alone, and outlives the registry", async () => {
  const live = await call(runtime, await ticketOf(rig, runtime, "greeter"));
  const first = await turn(live);
  expect(first.decision).toBeUndefined();
  expect(first.snapshots.policy).toMatch(/^policy@\d+$/);

  await publish(policy(1, "one"));
  let plan = first;
  await until(async () => {
    plan = await turn(live);
    return plan.decision !== undefined;
  }, "the policy in the plan");
  expect(plan.decision?.policy).toBe("*/default@1");
  expect(wordsOf(plan)).toBe("one");
  expect(plan.snapshots.policy).not.toBe(first.snapshots.policy);

  await publish(policy(2, "two"));
  await until(async () => wordsOf(await turn(live)) === "two", "the second version");
  // What stands for a whole session is that of its opening: new ones have the compliance node, audited.
  const screened = await call(runtime, await ticketOf(rig, runtime, "greeter"));
  expect(screened.admitted.session.config.graph.nodes.map(({ id }) => id)).toContain("policy-no-pii");
  expect(live.admitted.session.config.graph.nodes.map(({ id }) => id)).not.toContain("policy-no-pii");
  expect(runtime.log.join("\n")).toContain('"action":"policy_applied"');
  const audit = connectionTo(rig.registry).client(AuditService);
  const applied = { tenantId, action: "policy_applied", page: { size: 10 } };
  await until(async () => (await audit.listAudit(applied)).records.length > 0, "the entry in the registry's audit log");

  await artifacts().rollbackArtifact({ tenantId: "*", kind: ArtifactKind.POLICY, name: "default", version: 1 });
  await until(async () => wordsOf(await turn(live)) === "one", "the first version again");
  const status = await connectionTo(rig.registry).client(SnapshotService).getSnapshotStatus({});
  const ofPolicy = status.kinds.find(({ snapshot }) => snapshot?.kind === "policy");
  expect(ofPolicy).toMatchObject({ watchers: 1, settled: 1, keptBack: [] });

  // F-159: a turn start asks nobody: there is nobody left to ask.
  await Promise.all([rig.registry.stop(0), rig.lease.stop(0)]);
  const after = await turn(live);
  expect(wordsOf(after)).toBe("one");
  expect(after.decision?.policy).toBe("*/default@1");
  for (const { admitted } of [live, screened]) {
    admitted.session.operator("end");
    await admitted.session.ended;
  }
}, 60_000);
