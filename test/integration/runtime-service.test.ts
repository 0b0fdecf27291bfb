/** The runtime as a service beside the real registry and lease service. */
import { fromBinary } from "@bufbuild/protobuf";
import { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import { TurnOrigin } from "@rspp/gen/rspp/event/v1/control_pb";
import type { Envelope } from "@rspp/gen/rspp/event/v1/event_pb";
import { GrantSchema, LeaseState } from "@rspp/gen/rspp/lease/v1/lease_pb";
import { LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { SessionState } from "@rspp/gen/rspp/runtime/v1/session_pb";
import { SessionService } from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import { createLoopbackAdapter } from "@rspp/transport-loopback/adapter";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  assistant,
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
  runtime = await runtimeOf(rig, ["--instance-id", "runtime-1", "--region", "here"]);
});
afterAll(async () => {
  await runtime?.close();
  await rig?.close();
});

test("a routed session greets its caller, is told to the registry, and gives its lease back at its end", async () => {
  const { admitted, ticket } = await call(runtime, await ticketOf(rig, runtime, "greeter"));
  const registry = connectionTo(rig.registry).client(RegistryService);
  const session = { tenantId, sessionId: ticket.sessionId };
  await until(() => admitted.session.view().turns > 0, "the greeting");
  const status = async () => (await registry.getSessionStatus({ session })).status?.info;
  await until(async () => (await status())?.turns === 1, "the status");
  expect(await status()).toMatchObject({ state: SessionState.ACTIVE, instanceId: "runtime-1" });
  const { info } = await runtime.rpc.client(SessionService).endSession({ session, reason: Reason.OPERATOR_CANCEL });
  expect(info?.state).toBe(SessionState.ENDED);
  await until(async () => (await status())?.state === SessionState.ENDED, "the end");
  const leases = connectionTo(rig.lease).client(LeaseService);
  await until(
    () =>
      leases.getLease({ session }).then(
        ({ lease }) => lease?.state === LeaseState.RELEASED,
        () => true,
      ),
    "the lease given back",
  );
  expect(runtime.log.join("\n")).not.toContain(ticket.token);
});

test("F-022 F-034 a live session is watched, spoken into, and ended over the wire", async () => {
  const { ticket } = await call(runtime, await ticketOf(rig, runtime, "greeter"));
  const session = { tenantId, sessionId: ticket.sessionId };
  const sessions = runtime.rpc.client(SessionService);
  const seen: Envelope[] = [];
  const watch = (async () => {
    for await (const { events } of sessions.watchSession({ session })) seen.push(...events);
  })();
  await until(() => seen.length > 0, "the first events");
  const ask = { session, origin: TurnOrigin.OPERATOR, say: "One moment, please.", idempotencyKey: "hold" };
  const { proposalEventId } = await sessions.proposeTurn(ask);
  const said = () => seen.filter(({ payload }) => payload.case === "text").map(({ payload }) => payload.value);
  await until(
    () => JSON.stringify(said(), (_, v) => (typeof v === "bigint" ? String(v) : v)).includes("One moment"),
    "the words",
  );
  expect(seen.map(({ eventId }) => eventId)).toContain(proposalEventId);
  expect(await sessions.getSession({ session })).toMatchObject({ info: { session, state: SessionState.ACTIVE } });
  expect((await sessions.listSessions({ tenantId })).sessions.map((one) => one.session)).toContainEqual(
    expect.objectContaining(session),
  );
  await sessions.endSession({ session, reason: Reason.OPERATOR_CANCEL });
  await watch;
});

test("F-099 variables of the token reach the plan; simulated transcripts reach the simulated recogniser alone", async () => {
  const variables = { name: "Ada", visits: 3, sim_transcripts: ["when do you open"] };
  const { admitted } = await call(runtime, await ticketOf(rig, runtime, "greeter", variables));
  const { config } = admitted.session;
  expect(config.variables).toEqual({ name: "Ada", visits: 3 });
  const settings = config.graph.nodes.flatMap(({ candidates }) =>
    candidates.map((c) => [c.provider, c.settings.transcripts]),
  );
  expect(settings).toEqual(
    expect.arrayContaining([
      ["sim/stt", ["when do you open"]],
      ["sim/llm", undefined],
    ]),
  );
  expect(config).toMatchObject({
    tenantId,
    authority: { incarnation: expect.stringMatching(/^store-\d+$/) },
    graph: { pipelineVersion: "greeter@1" },
  });
  admitted.session.operator("end");
  await admitted.session.ended;
});

test("F-095 a lease that is revoked, or given to another by takeover, ends the session's authority", async () => {
  const leases = connectionTo(rig.lease).client(LeaseService);
  const revoked = await call(runtime, await ticketOf(rig, runtime, "greeter"));
  const taken = await call(runtime, await ticketOf(rig, runtime, "greeter"));
  const keyOf = ({ ticket }: typeof revoked) => ({ tenantId, sessionId: ticket.sessionId });
  const epoch = BigInt(revoked.ticket.epoch);
  await leases.revokeLease({ session: keyOf(revoked), epoch, reason: Reason.OPERATOR_CANCEL });
  const over = { session: keyOf(taken), holderId: "runtime-2", takeover: true, idempotencyKey: "takeover" };
  await leases.grantLease(over);
  for (const { admitted } of [revoked, taken]) {
    await until(() => admitted.session.view().phase !== "active", "the authority to be lost");
    admitted.session.operator("end");
    await admitted.session.ended;
  }
  // The new holder's lease was not given back by the old one.
  const { lease } = await leases.getLease({ session: keyOf(taken) });
  expect([lease?.state, lease?.grant?.holderId]).toEqual([LeaseState.GRANTED, "runtime-2"]);
});

test("F-095 a rotation raises the epoch of a live session, which goes on", async () => {
  const leases = connectionTo(rig.lease).client(LeaseService);
  const raised: number[] = [];
  const { admitted, ticket } = await call(runtime, await ticketOf(rig, runtime, "greeter"), raised);
  const session = { tenantId, sessionId: ticket.sessionId };
  const held = { session, holderId: "runtime-1", epoch: BigInt(ticket.epoch), reason: Reason.OPERATOR_CANCEL };
  const { lease } = await leases.rotateLease({ ...held, lastSequence: 3n, idempotencyKey: "rotate" });
  const epoch = Number(lease?.grant?.epoch);
  expect(epoch).toBeGreaterThan(ticket.epoch);
  await until(() => admitted.session.view().epoch === epoch, "the new epoch");
  expect(raised).toEqual([epoch]);
  expect(admitted.session.view().phase).toBe("active");
  await until(async () => {
    const { floors } = await leases.listFloors({ session });
    return floors.some(({ receiverId, floorEpoch }) => receiverId === "runtime-1/in" && Number(floorEpoch) === epoch);
  }, "the floor");
  admitted.session.operator("end");
  await admitted.session.ended;
});

async function refusal(part: { ticket?: object; claims?: object; grant?: object; bound?: object }): Promise<string> {
  const ticket = { ...(await ticketOf(rig, runtime, "greeter")), ...part.ticket };
  const { token, grant, sessionId, pipelineVersion, epoch } = ticket;
  const bound = { tenantId, sessionId, pipelineVersion, epoch, ...part.bound };
  const proved = await runtime.proofs.verify({ token, grant, bound });
  if (!proved.ok) return `${proved.error.reason}: ${proved.error.remedy}`;
  const claims = { ...proved.value.claims, ...part.claims };
  const held = { ...proved.value.grant, ...part.grant };
  const transport = createLoopbackAdapter({ clock, epoch });
  const admitted = await runtime.admission.open({ claims, grant: held, transport });
  if (!admitted.ok) return `${admitted.error.reason}: ${admitted.error.remedy}`;
  admitted.value.session.operator("end");
  return "admitted";
}

test("F-088 F-119 every proof that does not hold is refused, with what to do, and the token is told nowhere", async () => {
  const one = await ticketOf(rig, runtime, "greeter");
  const [head, body, signature = ""] = one.token.split(".");
  const altered = `${head}.${body}.${signature.slice(0, -4)}AAAA`;
  const bits = new Uint8Array(one.grant.signature);
  bits[0] = (bits[0] ?? 0) ^ 1;
  const cases: [object, RegExp][] = [
    [{}, /^admitted$/],
    [{ ticket: { token: altered } }, /^permission_denied: .*new route/],
    [{ ticket: { token: "nonsense" } }, /^permission_denied: .*\(form\).*new route/],
    [{ ticket: { token: one.token } }, /^permission_denied: the session token binds another session/],
    [{ bound: { tenantId: "other" } }, /^permission_denied: the session token binds another tenant/],
    [
      { bound: { pipelineVersion: "greeter@2" } },
      /^permission_denied: the session token binds another pipeline_version/,
    ],
    [{ bound: { epoch: 3 } }, /^authority_epoch_mismatch: .*bind the epoch of the grant/],
    [{ ticket: { grant: { ...one.grant, signature: bits } } }, /^permission_denied: the grant's signature/],
    [{ ticket: { grant: { ...one.grant, keyId: "other" } } }, /^permission_denied: the grant's key/],
    [{ ticket: { grant: one.grant, epoch: one.epoch } }, /^permission_denied: token and grant name two sessions/],
    [
      { claims: { instanceId: "runtime-9" } },
      /^permission_denied: the token is for runtime runtime-9, this is runtime-1/,
    ],
    [{ grant: { holderId: "runtime-9" } }, /^permission_denied: the grant is held by runtime-9/],
    [{ grant: { holderId: "" } }, /^authority_epoch_mismatch: the grant is a revocation/],
    [{ grant: { expiresWallMs: 1n } }, /^authority_epoch_mismatch: the lease ran out/],
    [{ claims: { pipelineVersion: "absent@1" } }, /^not_found: pipeline absent@1 is not published/],
    [{ claims: { variables: { name: "Ada" } } }, /^pipeline_invalid: variables.name is no JSON/],
  ];
  for (const [part, words] of cases) expect(await refusal(part)).toMatch(words);
  expect(fromBinary(GrantSchema, one.grant.grant).holderId).toBe("runtime-1");
  const told = runtime.log.join("");
  expect(told).toContain("session not admitted");
  for (const secret of [one.token, altered, signature]) expect(told).not.toContain(secret);
});

test("F-088 a session that is open here is not opened twice, nor again when it is over", async () => {
  const ticket = await ticketOf(rig, runtime, "greeter");
  const { admitted } = await call(runtime, ticket);
  await expect(call(runtime, ticket)).rejects.toThrow(/already_exists/);
  admitted.session.operator("end");
  await admitted.session.ended;
  for (const epoch of [ticket.epoch - 1, ticket.epoch, ticket.epoch + 1]) {
    expect(await refusal({ ticket, grant: { epoch: BigInt(epoch) } })).toMatch(/^permission_denied: .* is over/);
  }
});
