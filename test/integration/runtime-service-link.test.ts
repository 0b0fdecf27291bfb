/** Sessions that an adapter opens over a link, on a runtime that runs as a service. */
import { LeaseState } from "@rspp/gen/rspp/lease/v1/lease_pb";
import { LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { SessionState } from "@rspp/gen/rspp/runtime/v1/session_pb";
import type { OpenedSession, SessionRequest } from "@rspp/ports/session-opener";
import { createRemoteSessionOpener } from "@rspp/remote/session-opener";
import type { RpcConnection } from "@rspp/rpc/clients";
import { createLocalRuntime } from "@rspp/runtime/admission-local";
import { createLoopbackAdapter, type LoopbackAdapter } from "@rspp/transport-loopback/adapter";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  assistant,
  clock,
  connectionTo,
  type PlatformRig,
  platform,
  type Route,
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
});
afterAll(async () => {
  await runtime?.close();
  await rig?.close();
});

function openerOf(where: "a link" | "the same process", adapterId = `adapter-${where}`) {
  const local = where === "a link" ? {} : { local: createLocalRuntime(runtime.admission, runtime.proofs) };
  const peers = { registry: connectionTo(rig.registry), lease: watchedLease() };
  return createRemoteSessionOpener({ clock, adapterId, build: "1", ...peers, ...local });
}

/** Sessions whose lease an adapter gave back. */
const released: string[] = [];

function watchedLease(): RpcConnection {
  const connection = connectionTo(rig.lease);
  const client = connection.client(LeaseService);
  const watched: typeof client = {
    ...client,
    releaseLease: (ask, call) => {
      released.push(ask.session?.sessionId ?? "");
      return client.releaseLease(ask, call);
    },
  };
  return { ...connection, client: () => watched as never };
}

/** Epochs are known only once the session is open: the line is told then. */
async function open(opener: ReturnType<typeof openerOf>, part: Partial<SessionRequest> = {}, at?: Route) {
  const route = at ?? (await routeOf(rig, "greeter"));
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
  const request = { claims, token: route.token, transport, formats: { input: format, output: format } };
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

  test("F-088 who comes again with the token of a running call is refused, and the call goes on under its lease", async () => {
    const [opener, other] = [openerOf(where), openerOf(where, `other-adapter-${where}`)];
    try {
      const route = await routeOf(rig, "greeter");
      const { opened, line, id } = session(await open(opener, {}, route));
      released.length = 0;
      line.connect(opened.session);
      const again = await Promise.all([open(opener, {}, route), open(other, {}, route)]);
      expect(again.map(({ refused }) => refused)).toEqual([
        expect.stringMatching(/^already_exists: /),
        expect.stringMatching(/^already_exists: /),
      ]);
      const leases = connectionTo(rig.lease).client(LeaseService);
      const { lease } = await leases.getLease({ session: { tenantId, sessionId: id } });
      expect([released, lease?.state]).toEqual([[], LeaseState.GRANTED]);
      await until(async () => (await status(id))?.state === SessionState.ACTIVE, "the registry's view");
      line.end();
      await until(async () => (await status(id))?.state === SessionState.ENDED, "the end");
      for (const later of [opener, other]) {
        expect((await open(later, {}, route)).refused).toMatch(/^permission_denied: .* is over: .*new route/);
      }
    } finally {
      opener.close();
      other.close();
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
