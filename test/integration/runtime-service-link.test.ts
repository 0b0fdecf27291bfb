/** Sessions that an adapter opens over a link, on a runtime that runs as a service. */
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import type { OpenedSession, SessionRequest } from "@rspp/ports/session-opener";
import { createRemoteSessionOpener } from "@rspp/remote/session-opener";
import { createLocalRuntime } from "@rspp/runtime/admission-local";
import { createLoopbackAdapter, type LoopbackAdapter } from "@rspp/transport-loopback/adapter";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  assistant,
  clock,
  connectionTo,
  type PlatformRig,
  platform,
  type RuntimeRig,
  routeOf,
  runtimeOf,
  tenantId,
  until,
} from "./runtime-service-rig.ts";

let rig: PlatformRig;
let runtime: RuntimeRig;

beforeAll(async () => {
  rig = await platform();
  await rig.publish(assistant("greeter"));
  runtime = await runtimeOf(rig, ["--instance-id", "runtime-1"]);
  await until(async () => (await fetch(`${runtime.running.ready.url}/readyz`)).ok, "ready");
});
afterAll(async () => {
  await runtime?.close();
  await rig?.close();
});

function openerOf(where: "a link" | "the same process") {
  const local = where === "a link" ? {} : { local: createLocalRuntime(runtime.admission, runtime.proofs) };
  const peers = { registry: connectionTo(rig.registry), lease: connectionTo(rig.lease) };
  return createRemoteSessionOpener({ clock, adapterId: `adapter-${where}`, build: "1", ...peers, ...local });
}

/** Epochs are known only once the session is open: the line is told then. */
async function open(opener: ReturnType<typeof openerOf>, part: Partial<SessionRequest> = {}) {
  const route = await routeOf(rig, "greeter");
  const early: Parameters<LoopbackAdapter["send"]>[0][] = [];
  let line: LoopbackAdapter | null = null;
  const transport: SessionRequest["transport"] = {
    send: (message) => (line === null ? void early.push(message) : line.send(message)),
  };
  const format = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 } as const;
  const claims = {
    tenant: tenantId,
    session: route.sessionId,
    pipelineVersion: route.pipelineVersion,
    instance: route.instanceId,
    expiresWallMs: Date.now() + 60_000,
    variables: {},
  };
  const request = { claims, token: route.token, transport, formats: { input: format, output: format }, resume: false };
  const opened = await opener.open({ ...request, raiseEpoch: () => true, ...part });
  if (!opened.ok) return { refused: `${opened.error.reason}: ${opened.error.remedy}` } as const;
  const { value } = opened;
  line = createLoopbackAdapter({ clock, epoch: value.epoch });
  for (const message of early) line.send(message);
  return { opened: value, line, sessionId: route.sessionId } as const;
}

function session(found: Awaited<ReturnType<typeof open>>): {
  opened: OpenedSession;
  line: LoopbackAdapter;
  id: string;
} {
  if (found.refused !== undefined) throw new Error(found.refused);
  return { opened: found.opened, line: found.line, id: found.sessionId };
}

describe.each(["a link", "the same process"] as const)("an adapter by way of %s", (where) => {
  test("opens a session on the runtime its token names; the greeting is played, and the end is heard on both sides", async () => {
    const opener = openerOf(where);
    try {
      const { opened, line, id } = session(await open(opener));
      expect(opened).toMatchObject({ tenant: tenantId, sessionId: id, pipelineVersion: "greeter@1" });
      line.connect(opened.session);
      await until(() => line.recording().agent.some((sample) => sample !== 0), "the greeting to be heard");
      await until(async () => (await status(id))?.turns === 1, "the registry's view");
      line.end();
      await until(async () => (await status(id))?.state === 4, "the end");
    } finally {
      opener.close();
    }
  });

  test("a token for another session, or of nobody, is refused with what to do", async () => {
    const opener = openerOf(where);
    try {
      const other = await routeOf(rig, "greeter");
      const foreign = await open(opener, { token: other.token });
      expect(foreign.refused).toMatch(/^permission_denied: /);
      const nonsense = await open(opener, { token: "nonsense" });
      expect(nonsense.refused).toMatch(/^permission_denied: /);
    } finally {
      opener.close();
    }
  });
});

async function status(sessionId: string) {
  const registry = connectionTo(rig.registry).client(RegistryService);
  return (await registry.getSessionStatus({ session: { tenantId, sessionId } })).status?.info;
}
