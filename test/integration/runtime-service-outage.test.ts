/** The runtime as a service while its peers are away, while it is full, and while it stops. */

import { SessionService } from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import { registryDefinition } from "@rspp/registry/definition";
import { createLoopbackAdapter } from "@rspp/transport-loopback/adapter";
import { expect, test } from "vitest";
import {
  assistant,
  call,
  clock,
  type connectionTo,
  type PlatformRig,
  platform,
  type RuntimeRig,
  runtimeOf,
  start,
  type Ticket,
  tenantId,
  ticketOf,
  until,
} from "./runtime-service-rig.ts";

async function withPlatform(work: (rig: PlatformRig) => Promise<void>): Promise<void> {
  const rig = await platform();
  try {
    await rig.publish(assistant("known"));
    await rig.publish(assistant("unknown"));
    await work(rig);
  } finally {
    await rig.close();
  }
}

const readyOf = async ({ running }: RuntimeRig) => (await fetch(`${running.ready.url}/readyz`)).json();

/** @param as another session's id, as if the registry had not counted. */
async function open(runtime: RuntimeRig, ticket: Ticket, as = ticket.sessionId): Promise<string> {
  const { token, grant, sessionId, pipelineVersion, epoch } = ticket;
  const proved = await runtime.proofs.verify({ token, grant, bound: { tenantId, sessionId, pipelineVersion, epoch } });
  if (!proved.ok) return `${proved.error.reason}: ${proved.error.remedy}`;
  const { claims, grant: held } = proved.value;
  const admitted = await runtime.admission.open({
    claims: { ...claims, sessionId: as },
    grant: { ...held, ...(held.session === undefined ? {} : { session: { ...held.session, sessionId: as } }) },
    transport: createLoopbackAdapter({ clock, epoch }),
  });
  return admitted.ok ? "admitted" : `${admitted.error.reason}: ${admitted.error.remedy}`;
}

test("F-159 with the registry away what is known serves on, the rest is refused, and readiness says why", async () => {
  await withPlatform(async (rig) => {
    const runtime = await runtimeOf(rig, ["--instance-id", "runtime-1"]);
    try {
      const { admitted } = await call(runtime, await ticketOf(rig, runtime, "known"));
      const known = await ticketOf(rig, runtime, "known");
      const unknown = await ticketOf(rig, runtime, "unknown");
      await rig.adapter.stop();
      const { port } = rig.registry.ready;
      await rig.registry.stop(0);
      await until(async () => JSON.stringify(await readyOf(runtime)).includes("registry"), "readiness");
      expect(await open(runtime, known)).toBe("admitted");
      expect(await open(runtime, unknown)).toMatch(/^dependency_unavailable: pipeline unknown@1 is not held here/);
      expect(admitted.session.view().phase).toBe("active");
      const back = await start(
        registryDefinition,
        ["--data", rig.database.dataDir, "--port", String(port)],
        rig.database.db,
      );
      try {
        await until(async () => (await fetch(`${runtime.running.ready.url}/readyz`)).ok, "readiness", 15_000);
        expect(await open(runtime, unknown)).toBe("admitted");
      } finally {
        await back.stop(0);
      }
    } finally {
      await runtime.close();
    }
  });
});

test("full, or told to stop: a session more is refused with what to do; what runs ends its turn, then itself", async () => {
  await withPlatform(async (rig) => {
    const runtime = await runtimeOf(rig, ["--instance-id", "runtime-1", "--capacity-sessions", "1"]);
    const ticket = await ticketOf(rig, runtime, "known");
    const { admitted } = await call(runtime, ticket);
    expect(await open(runtime, ticket, "one-more")).toMatch(/^capacity_exhausted: all 1 sessions are in use/);
    await until(() => admitted.session.view().openTurn === 1, "the greeting");
    const stopping = runtime.running.stop(10_000);
    await until(() => admitted.session.view().phase !== "active", "the drain");
    expect(await open(runtime, ticket, "one-more")).toMatch(/^draining: this runtime takes no new sessions/);
    expect(await stopping).toBe(true);
    const end = await admitted.session.ended;
    expect(end).toMatchObject({ forced: false });
    await runtime.close();
  });
});

test("two runtimes of one platform know nothing of one another's sessions", async () => {
  await withPlatform(async (rig) => {
    const first = await runtimeOf(rig, ["--instance-id", "runtime-1"]);
    const ticket = await ticketOf(rig, first, "known");
    const second = await runtimeOf(rig, ["--instance-id", "runtime-2"]);
    try {
      expect(await open(second, ticket)).toMatch(/^permission_denied: the token is for runtime runtime-1/);
      expect(await open(first, ticket)).toBe("admitted");
      const list = async (rpc: ReturnType<typeof connectionTo>) =>
        (await rpc.client(SessionService).listSessions({ tenantId })).sessions.map(({ session }) => session?.sessionId);
      expect(await list(first.rpc)).toEqual([ticket.sessionId]);
      expect(await list(second.rpc)).toEqual([]);
    } finally {
      await first.close();
      await second.close();
    }
  });
});
