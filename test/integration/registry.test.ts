/** The registry as a process: versions, routes and tokens over the wire. */
import { readFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import { type AddressInfo, createConnection, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { ArtifactService } from "@rspp/gen/rspp/registry/v1/artifact_service_pb";
import { FleetService, MoveReason } from "@rspp/gen/rspp/registry/v1/fleet_service_pb";
import { ArtifactKind, type SessionRoute, VersionSource } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { DrainMode, InstanceService, RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { SessionState } from "@rspp/gen/rspp/runtime/v1/session_pb";
import { connectRpc } from "@rspp/rpc/clients";
import { TokenKeys, tokenKeyToJwk, verifySessionToken } from "@rspp/rpc/tokens";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dataDir, type RunningService, refusal, startService, stopService } from "./services-rig.ts";

const echo = readFileSync(join(import.meta.dirname, "../../pipelines/specs/echo.yaml"), "utf8");
const bytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);
const described = (text: string) => bytes(echo.replace(/^description: .*$/m, `description: ${text}`));
const tenantId = "acme";

let data: ReturnType<typeof dataDir>;
let service: RunningService;
let registry: Client<typeof RegistryService>;

beforeAll(async () => {
  data = dataDir();
  service = await startService("registry", { args: ["--data", data.dir] });
  registry = service.rpc.client(RegistryService);
});
afterAll(async () => {
  await stopService(service);
  data.remove();
});

describe("versions", () => {
  test("F-015 F-092 the same bytes again change nothing, other bytes are refused with reason and both hashes", async () => {
    const ask = { tenantId, source: bytes(echo), sourceFormat: "yaml", version: 1, author: "ada" };
    const first = await registry.publishPipeline(ask);
    expect(first).toMatchObject({ unchanged: false, version: { name: "echo", version: 1, author: "ada" } });
    const again = await registry.publishPipeline({ ...ask, author: "eve" });
    expect(again).toMatchObject({ unchanged: true, version: { author: "ada", digest: first.version?.digest } });
    const refused = await refusal(registry.publishPipeline({ ...ask, source: described("other") }));
    expect(refused).toMatchObject({ reason: ErrorReason.VERSION_IMMUTABLE, domain: "registry" });
    const { existing_sha256, offered_sha256 } = refused.metadata;
    expect(existing_sha256).toBe(Buffer.from(first.version?.digest ?? []).toString("hex"));
    expect(offered_sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(offered_sha256).not.toBe(existing_sha256);
    const next = await registry.publishPipeline({ ...ask, version: 0, source: described("other") });
    expect(next.version?.version).toBe(2);
    const read = await registry.getPipeline({ tenantId, name: "echo", version: 1 });
    expect(Buffer.from(read.source).toString()).toBe(echo);
    const page = await registry.listPipelines({ tenantId, name: "echo", page: { size: 1 } });
    expect(page.versions.map(({ version }) => version)).toEqual([2]);
    const rest = await registry.listPipelines({ tenantId, name: "echo", page: { size: 1, token: page.nextPageToken } });
    expect(rest).toMatchObject({ versions: [{ version: 1 }], nextPageToken: "" });
    expect(await refusal(registry.getPipeline({ tenantId: "other", name: "echo" }))).toMatchObject({
      reason: ErrorReason.NOT_FOUND,
      metadata: { pipeline: "echo" },
    });
  });

  test("F-126 a faulty spec is refused with field, line and remedy; a check alone publishes nothing", async () => {
    const faulty = bytes(`${echo}\nsurprise: 1\n`);
    const refused = await refusal(registry.publishPipeline({ tenantId: "fresh", source: faulty }));
    expect(refused.reason).toBe(ErrorReason.PIPELINE_INVALID);
    const line = echo.split("\n").length + 1;
    expect(refused.violations[0]).toMatchObject({ field: "surprise", line });
    const found = await registry.validatePipeline({ source: faulty });
    expect(found.findings[0]).toMatchObject({ violation: { field: "surprise", line } });
    expect(found.findings[0]?.remedy).not.toBe("");
    expect((await registry.validatePipeline({ source: bytes(echo) })).digest).toHaveLength(32);
    await registry.publishPipeline({ tenantId: "fresh", source: bytes(echo), validateOnly: true });
    expect((await registry.listPipelines({ tenantId: "fresh" })).versions).toEqual([]);
  });

  test("the contracts are served as descriptors that tools can read, by version", async () => {
    const { fileDescriptorSet } = await registry.getSchema({});
    const files = createFileRegistry(fromBinary(FileDescriptorSetSchema, fileDescriptorSet));
    for (const { typeName } of [RegistryService, LeaseService]) expect(files.getService(typeName)).toBeDefined();
    const refused = await refusal(registry.getSchema({ schemaVersion: 900 }));
    expect(refused.reason).toBe(ErrorReason.UNSUPPORTED_SCHEMA_VERSION);
  });
});

async function* once<T>(value: T): AsyncGenerator<T> {
  yield value;
}

const instance = {
  instanceId: "runtime-1",
  role: "runtime",
  capacitySessions: 100,
  ready: true,
  endpoints: [{ transport: "websocket", url: "ws://127.0.0.1:9/" }],
};

async function report(part: object = {}): Promise<void> {
  const instances = service.rpc.client(InstanceService);
  for await (const { view } of instances.reportInstance(once({ status: instance, ...part }))) {
    expect(view?.instances.map(({ instanceId }) => instanceId)).toContain("runtime-1");
  }
}

async function routed(part: object = {}): Promise<SessionRoute> {
  await registry.publishPipeline({ tenantId: "routes", source: bytes(echo) });
  await report();
  const ask = { tenantId: "routes", pipelineName: "echo", idempotencyKey: crypto.randomUUID(), ...part };
  const { route } = await registry.createRoute(ask);
  if (route === undefined) throw new Error("no route");
  return route;
}

describe("routes", () => {
  test("F-088 F-119 the token verifies against the published keys, and is refused when altered, expired or for another", async () => {
    const route = await routed({ variables: { name: "Ada" } });
    expect(route).toMatchObject({ instanceId: "runtime-1", endpoint: { url: "ws://127.0.0.1:9/" } });
    const { keys } = await registry.listTokenKeys({});
    const jwks = await (await fetch(`${service.url}/.well-known/jwks.json`)).json();
    expect(jwks).toEqual({ keys: keys.map(tokenKeyToJwk) });
    const trusted = new TokenKeys(keys.map(tokenKeyToJwk));
    const { sessionId = "" } = route.session ?? {};
    const binding = { tenantId: "routes", sessionId, pipelineVersion: "echo@1" };
    const verify = (token: string, at = Date.now(), other = {}) =>
      verifySessionToken(token, trusted, { ...binding, ...other }, at, "runtime");
    expect(await verify(route.token)).toMatchObject({ ok: true, value: { variables: { name: '"Ada"' } } });
    const [head, body = "", signature] = route.token.split(".");
    const claims = JSON.parse(Buffer.from(body, "base64url").toString());
    const forged = Buffer.from(JSON.stringify({ ...claims, tnt: "other" })).toString("base64url");
    const problem = async (token: string, at?: number, other?: object) => {
      const verified = await verify(token, at, other);
      return verified.ok ? "accepted" : (verified.error.detail.metadata.problem ?? ErrorReason[verified.error.reason]);
    };
    expect(await problem(`${head}.${forged}.${signature}`)).toBe("signature");
    expect(await problem(route.token, Number(route.expiresWallMs) + 60_000)).toBe("TOKEN_EXPIRED");
    expect(await problem(route.token, undefined, { tenantId: "other" })).toBe("other_tenant");
  });

  test("F-159 an instance whose connection breaks gets no routes until it tells again; one that ends its stream stays", async () => {
    await routed();
    const ask = () =>
      registry.createRoute({ tenantId: "routes", pipelineName: "echo", idempotencyKey: crypto.randomUUID() });
    expect((await ask()).route?.instanceId).toBe("runtime-1");
    // As when its machine is gone: the connection breaks in the middle.
    const sockets: Socket[] = [];
    const wire = createServer((socket) => {
      const further = createConnection(service.port, "127.0.0.1");
      for (const end of [socket, further]) sockets.push(end.on("error", () => undefined));
      socket.pipe(further).pipe(socket);
    });
    await new Promise<void>((resolve) => wire.listen(0, "127.0.0.1", resolve));
    const { port } = wire.address() as AddressInfo;
    const instances = service.rpc.client(InstanceService);
    const far = connectRpc({ baseUrl: `http://127.0.0.1:${port}`, domain: "registry" }).client(InstanceService);
    const stays = async function* () {
      yield { status: instance };
      await new Promise(() => {});
    };
    const told = far.reportInstance(stays())[Symbol.asyncIterator]();
    await told.next();
    for (const socket of sockets) socket.destroy();
    wire.close();
    await expect(told.next()).rejects.toThrow();
    const isReady = async () => (await instances.getRoutingView({})).view?.instances.some(({ ready }) => ready);
    while (await isReady());
    expect((await refusal(ask())).metadata).toEqual({ problem: "none_ready", outcome: "defer" });
    await report();
    expect((await ask()).route?.instanceId).toBe("runtime-1");
  });

  test("a session's status is what its runtime told, and unknown to other tenants", async () => {
    const { session } = await routed();
    const info = { session, pipeline: { name: "echo", version: 1 }, state: SessionState.ACTIVE, turns: 3 };
    const told = { ...info, authorityEpoch: 1n, instanceId: "runtime-1" };
    await report({ sessions: [{ info: told, asOfWallMs: BigInt(Date.now()) }] });
    const { status } = await registry.getSessionStatus({ session });
    expect(status).toMatchObject({ stale: false, info: { state: SessionState.ACTIVE, turns: 3 } });
    const listed = await registry.listSessionStatus({ tenantId: "routes", states: [SessionState.ACTIVE] });
    expect(listed.sessions.map((one) => one.info?.session)).toEqual([session]);
    const foreign = { tenantId: "other", sessionId: session?.sessionId ?? "" };
    expect(await refusal(registry.getSessionStatus({ session: foreign }))).toMatchObject({
      reason: ErrorReason.SESSION_NOT_FOUND,
    });
    const lie = { info: { ...told, instanceId: "runtime-2" }, asOfWallMs: 1n };
    expect((await refusal(report({ sessions: [lie] }))).violations[0]?.field).toBe("sessions[0].info.instance_id");
  });
});

describe("the fleet and what is in force", () => {
  const owner = "fleet";

  test("F-093 F-100 F-102 a rollout and limits are published by their content, told with the route, rolled back with what they decide", async () => {
    const artifacts = service.rpc.client(ArtifactService);
    await report();
    for (const text of ["one", "two"]) await registry.publishPipeline({ tenantId: owner, source: described(text) });
    const rules = "schema: rspp/rollout/v1\nrollout: echo\nstable: 1\ncanary: {version: 2, percent: 100}\n";
    const published = await artifacts.publishArtifact({ tenantId: owner, source: bytes(rules), author: "ada" });
    expect(published).toMatchObject({
      activated: true,
      version: { kind: ArtifactKind.ROLLOUT, name: "echo", version: 1 },
    });
    const limits = "schema: rspp/tenant-config/v1\nsessions: {concurrent_max: 1, on_concurrent: throttle}\n";
    await artifacts.publishArtifact({ tenantId: owner, source: bytes(limits) });
    const ask = () =>
      registry.createRoute({ tenantId: owner, pipelineName: "echo", idempotencyKey: crypto.randomUUID() });
    const { route } = await ask();
    expect(route).toMatchObject({
      pipeline: { version: 2 },
      decision: {
        source: VersionSource.CANARY,
        rollout: { name: "echo", version: 1 },
        inForce: [{ kind: ArtifactKind.TENANT_CONFIG, tenantId: owner, version: 1 }],
      },
    });
    expect(await refusal(ask())).toMatchObject({
      reason: ErrorReason.QUOTA_EXCEEDED,
      metadata: { outcome: "defer", limit: "concurrent_max", max: "1" },
      retryAfterMs: 1_000,
    });
    const page = await (await fetch(`${service.url}/metrics`)).text();
    expect(page).toContain('rspp_session_starts_total{tenant="fleet",outcome="admitted",reason=""} 1');
    expect(page).toContain('rspp_session_starts_total{tenant="fleet",outcome="deferred",reason="concurrent"} 1');
    const kind = ArtifactKind.PIPELINE;
    const back = await artifacts.rollbackArtifact({ tenantId: owner, kind, name: "echo", version: 1, actor: "ada" });
    expect(back).toMatchObject({ version: { version: 1, active: true }, fromVersion: 2, rolloutWithdrawn: true });
    await artifacts.withdrawArtifact({ tenantId: owner, kind: ArtifactKind.TENANT_CONFIG, name: "default" });
    expect((await ask()).route).toMatchObject({ pipeline: { version: 1 }, decision: { source: VersionSource.ACTIVE } });
    const { artifacts: active } = await artifacts.listActiveArtifacts({ tenantId: owner });
    expect(active.map(({ artifact }) => [artifact?.kind, artifact?.version])).toEqual([[kind, 1]]);
    const faulty = artifacts.publishArtifact({
      tenantId: owner,
      source: bytes(rules.replace("version: 2", "version: 7")),
    });
    expect((await refusal(faulty)).violations[0]).toMatchObject({ field: "rollout" });
  });

  test("F-096 F-106 an instance is told to drain and to hand over; a session is reassigned once, under its id", async () => {
    const fleet = service.rpc.client(FleetService);
    const { session } = await routed();
    const info = {
      session,
      pipeline: { name: "echo", version: 1 },
      state: SessionState.ACTIVE,
      instanceId: "runtime-1",
    };
    await report({ sessions: [{ info, asOfWallMs: BigInt(Date.now()) }] });
    await fleet.migrateSession({ session, actor: "ada", reason: "rebalance" });
    const drained = await fleet.drainInstance({ instanceId: "runtime-1", mode: DrainMode.MIGRATE, deadlineMs: 60_000 });
    expect(drained).toMatchObject({ instance: { instanceId: "runtime-1", draining: true } });
    expect(drained.sessions).toBeGreaterThan(0);
    for await (const told of service.rpc.client(InstanceService).reportInstance(once({ status: instance }))) {
      expect(told).toMatchObject({ drain: true, drainOrder: { mode: DrainMode.MIGRATE }, migrateSessions: [session] });
    }
    const move = {
      session,
      fromInstanceId: "runtime-1",
      reason: MoveReason.MIGRATION,
      idempotencyKey: "move-1",
      actor: "adapter-1",
    };
    expect((await refusal(fleet.reassignSession(move))).name).toBe("CAPACITY_EXHAUSTED");
    const next = { ...instance, instanceId: "runtime-2", address: "http://127.0.0.1:9" };
    for await (const { drain } of service.rpc.client(InstanceService).reportInstance(once({ status: next })))
      expect(drain).toBe(false);
    const placed = await fleet.reassignSession(move);
    expect(placed).toMatchObject({
      unchanged: false,
      placement: { session, instanceId: "runtime-2", address: "http://127.0.0.1:9", placementNumber: 2 },
    });
    expect(await fleet.reassignSession(move)).toEqual({ ...placed, unchanged: true });
    expect((await registry.getSessionStatus({ session })).status).toMatchObject({
      placementNumber: 2,
      info: { instanceId: "runtime-2", state: SessionState.ACTIVE },
    });
    expect(await fleet.undrainInstance({ instanceId: "runtime-1" })).toMatchObject({ wasDrained: true });
    expect((await refusal(fleet.drainInstance({ instanceId: "nobody" }))).reason).toBe(ErrorReason.NOT_FOUND);
  });
});

const large = new Uint8Array(1_048_577);
test.each<[string, string, () => Promise<unknown>]>([
  ["an oversized source", "source", () => registry.publishPipeline({ tenantId, source: large })],
  ["a missing tenant", "tenant_id", () => registry.publishPipeline({ source: bytes(echo) })],
  ["an empty typed spec", "spec.api_version", () => registry.publishPipeline({ tenantId, spec: {} as never })],
  ["source that is no text", "source", () => registry.publishPipeline({ tenantId, source: new Uint8Array([255]) })],
  [
    "a foreign format",
    "source_format",
    () => registry.publishPipeline({ tenantId, source: large.slice(1), sourceFormat: "toml" }),
  ],
  ["a name out of its form", "name", () => registry.getPipeline({ tenantId, name: "../etc" })],
  ["an unknown enum", "states[0]", () => registry.listSessionStatus({ tenantId, states: [99 as SessionState] })],
  ["a page too large", "page.size", () => registry.listPipelines({ tenantId, page: { size: 1_001 } })],
  ["a missing session", "session", () => registry.getSessionStatus({})],
  ["a missing key", "idempotency_key", () => registry.createRoute({ tenantId, pipelineName: "echo" })],
])("bad input: %s is refused by its field %s, with a remedy", async (_title, field, call) => {
  const { violations, remedy, name } = await refusal(call());
  expect([name, remedy === ""]).toEqual([name === "PIPELINE_INVALID" ? name : "SCHEMA_VALIDATION_ERROR", false]);
  expect(violations.map((violation) => violation.field)).toContain(field);
});

test("bad input: a request past the message limit names the limit; no spec at all and a foreign page token say so", async () => {
  const source = new Uint8Array(5_000_000);
  const { name, metadata } = await refusal(registry.publishPipeline({ tenantId, source }));
  expect([name, Object.values(metadata)]).toEqual(["MESSAGE_TOO_LARGE", expect.arrayContaining(["4194304"])]);
  const nothing = await refusal(registry.publishPipeline({ tenantId }));
  expect(nothing.violations[0]?.message).toContain("source or spec must be given");
  const page = await refusal(registry.listPipelines({ tenantId, page: { token: "nonsense" } }));
  expect(page.violations[0]?.message).toContain("page token");
});

test("a key is made once, for the service alone; kill -9 loses no acknowledged version and no key", async () => {
  const own = dataDir();
  const args = ["--data", own.dir];
  let running = await startService("registry", { args });
  try {
    const path = join(own.dir, "keys/session-token.pem");
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const before = running.rpc.client(RegistryService);
    const { keys } = await before.listTokenKeys({});
    const acknowledged: string[] = [];
    const killAfter = 5;
    for (let i = 1; ; i++) {
      const answer = before.publishPipeline({ tenantId, source: described(`version ${i}`) });
      if (i > killAfter) running.child.kill("SIGKILL");
      const done = await answer.catch(() => undefined);
      if (done === undefined) break;
      acknowledged.push(Buffer.from(done.version?.digest ?? []).toString("hex"));
    }
    expect(acknowledged.length).toBeGreaterThanOrEqual(killAfter);
    await running.ended;
    running = await startService("registry", { args });
    const after = running.rpc.client(RegistryService);
    expect((await after.listTokenKeys({})).keys).toEqual(keys);
    const { versions } = await after.listPipelines({ tenantId, name: "echo" });
    const kept = versions.map(({ digest }) => Buffer.from(digest).toString("hex")).reverse();
    expect(kept.slice(0, acknowledged.length)).toEqual(acknowledged);
  } finally {
    await stopService(running);
    own.remove();
  }
});
