/** The runtime as a service beside the real registry and lease service. */
import { LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { SessionState } from "@rspp/gen/rspp/runtime/v1/session_pb";
import { SessionService } from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  assistant,
  call,
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
  await until(async () => (await fetch(`${runtime.running.ready.url}/readyz`)).ok, "ready");
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
  const { info } = await runtime.rpc.client(SessionService).endSession({ session, reason: 20 });
  expect(info?.state).toBe(SessionState.ENDED);
  await until(async () => (await status())?.state === SessionState.ENDED, "the end");
  const leases = connectionTo(rig.lease).client(LeaseService);
  await until(
    () =>
      leases.getLease({ session }).then(
        ({ lease }) => lease?.state === 4,
        () => true,
      ),
    "the lease given back",
  );
  expect(runtime.log.join("\n")).not.toContain(ticket.token);
});
