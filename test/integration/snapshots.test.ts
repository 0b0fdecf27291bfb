/** Policies from the registry to a turn's plan: published, rolled back, and through an outage of the control plane. */
import { ArtifactService } from "@rspp/gen/rspp/registry/v1/artifact_service_pb";
import { ArtifactKind } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { SnapshotService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  assistant,
  type Call,
  call,
  connectionTo,
  type PlatformRig,
  platform,
  type RuntimeRig,
  runtimeOf,
  ticketOf,
  until,
} from "./runtime-service-rig.ts";

let rig: PlatformRig;
let runtime: RuntimeRig;

beforeAll(async () => {
  rig = await platform();
  await rig.publish(assistant("greeter"));
  runtime = await runtimeOf(rig, ["--instance-id", "runtime-1"]);
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
  readonly snapshots: { readonly policy: string };
  readonly bindings: readonly {
    readonly node: string;
    readonly candidates: readonly { settings: { text?: string } }[];
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
