/** F-115, F-097: services with a service token and the platform's database, asked with tokens that the registry made. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Role } from "@rspp/gen/rspp/common/v1/access_pb";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { ProviderService } from "@rspp/gen/rspp/provider/v1/provider_service_pb";
import { AccessService, AuditService } from "@rspp/gen/rspp/registry/v1/access_service_pb";
import { ArtifactService } from "@rspp/gen/rspp/registry/v1/artifact_service_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { TimelineService } from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import { SessionService } from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import type { ServiceFields } from "@rspp/host/common-fields";
import { resolveConfig } from "@rspp/host/config";
import type { ServiceDefinition } from "@rspp/host/service";
import { type RunningService, startService } from "@rspp/host/start";
import { leaseDefinition } from "@rspp/lease/definition";
import { gatewayDefinition } from "@rspp/provider-gateway/definition";
import { registryDefinition } from "@rspp/registry/definition";
import { replayDefinition } from "@rspp/replay/definition";
import { connectRpc, rpcErrorOf } from "@rspp/rpc/clients";
import { createRuntimeDefinition } from "@rspp/runtime/definition";
import type { Database } from "@rspp/store/database";
import { type TestDatabase, testDatabase } from "@rspp/store/testkit/test-database";
import { createWebSocketDefinition } from "@rspp/transport-websocket/definition";
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from "vitest";
import { audit } from "../../cli/src/actions/audit.ts";
import { token } from "../../cli/src/actions/token.ts";

const serviceToken = "a-token-that-the-platform-shares";
const running: RunningService[] = [];
let at: TestDatabase;
let registryUrl: string;
let log = "";

async function start<F extends ServiceFields>(definition: ServiceDefinition<F>, ...argv: string[]): Promise<string> {
  return startOn(at.db, definition, argv);
}

/** `database` null: one of its own, or none. */
async function startOn<F extends ServiceFields>(
  database: Database | null,
  definition: ServiceDefinition<F>,
  argv: readonly string[],
): Promise<string> {
  const { service, fields } = definition;
  const given = ["--port", "0", "--service-token", "env:SERVICE_TOKEN", "--log-level", "debug", ...argv];
  const config = resolveConfig(fields, { service, argv: given, env: {} });
  if (!config.ok || "help" in config.value) throw new Error(`${service}: no configuration`);
  const env = { SERVICE_TOKEN: serviceToken };
  const logTo = (line: string): void => {
    log += line;
  };
  const shared = database === null ? {} : { database };
  const started = await startService(definition, config.value.values, { env, logTo, ...shared });
  running.push(started);
  return started.ready.url;
}

const connect = (baseUrl: string, token: string | null) =>
  connectRpc({ baseUrl, domain: "none", attemptsMax: 1, token: () => token });
const told = (asked: Promise<unknown>) =>
  asked.then(
    () => "taken",
    (failure: unknown) => {
      const { reason, metadata } = rpcErrorOf(failure, "none").detail;
      return `${ErrorReason[reason]} ${metadata.problem ?? ""}`.trim();
    },
  );

async function made(tenantId: string, role: Role.VIEWER | Role.OPERATOR | Role.ADMIN) {
  const client = connect(registryUrl, serviceToken).client(AccessService);
  const { minted } = await client.createToken({ tenantId, role, subject: `${Role[role]}-of`, ttlMs: 3_600_000n });
  return { token: minted?.token ?? "", id: minted?.about?.tokenId ?? "" };
}

beforeAll(async () => {
  at = await testDatabase();
  registryUrl = await start(registryDefinition, "--data", at.dataDir);
}, 90_000);
afterAll(async () => {
  for (const service of running.reverse()) await service.stop(0);
  await at.close();
});

test("F-115 F-114 registry, lease, replay and gateway take a token of the role and the tenant, and no other", async () => {
  const lease = await start(leaseDefinition, "--data", at.dataDir);
  const replay = await start(replayDefinition, "--data", at.dataDir);
  const gateway = await start(gatewayDefinition(), "--registry", registryUrl, "--stream-port", "0");
  const acme = (await made("acme", Role.VIEWER)).token;
  const other = (await made("other", Role.ADMIN)).token;
  const platform = (await made("*", Role.VIEWER)).token;
  const session = { tenantId: "acme", sessionId: "nobody" };
  const reads: readonly [string, (token: string | null) => Promise<string>][] = [
    ["registry", (t) => told(connect(registryUrl, t).client(RegistryService).listPipelines({ tenantId: "acme" }))],
    ["lease", (t) => told(connect(lease, t).client(LeaseService).listFloors({ session }))],
    ["replay", (t) => told(connect(replay, t).client(TimelineService).listTimelines({ tenantId: "acme" }))],
  ];
  for (const [service, read] of reads) {
    expect(await read(acme), service).toBe("taken");
    expect(await read(platform), service).toBe("taken");
    expect(await read(serviceToken), service).toBe("taken");
    expect(await read(other), service).toBe("PERMISSION_DENIED other_tenant");
    expect(await read(null), service).toBe("UNAUTHENTICATED");
    const [head, body, mark = ""] = acme.split(".");
    expect(await read(`${head}.${body}.${mark.slice(0, -4)}AAAA`), service).toBe("TOKEN_INVALID signature");
  }
  const providers = (t: string) => told(connect(gateway, t).client(ProviderService).listProviders({}));
  expect([await providers(platform), await providers(acme)]).toEqual(["taken", "PERMISSION_DENIED platform"]);
  // A viewer changes nothing, and nobody but a service acts as one.
  const revoke = { session, reason: 1, idempotencyKey: "k" };
  expect(await told(connect(lease, acme).client(LeaseService).revokeLease(revoke))).toBe("PERMISSION_DENIED role");
  const grant = { session, holderId: "me", idempotencyKey: "k" };
  expect(await told(connect(lease, other).client(LeaseService).grantLease(grant))).toBe("PERMISSION_DENIED role");
}, 60_000);

test("F-115 F-119 lease and replay with databases of their own, and runtime and adapter, know tokens by the keys the registry publishes", async () => {
  const own = await testDatabase();
  onTestFinished(() => own.close());
  const dir = mkdtempSync(join(tmpdir(), "rspp-access-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const peers = ["--registry", registryUrl];
  const lease = await startOn(own.db, leaseDefinition, ["--data", join(dir, "lease"), ...peers]);
  const replay = await startOn(own.db, replayDefinition, ["--data", join(dir, "replay"), ...peers]);
  const loopback = [...peers, "--lease", lease, "--stream-port", "0"];
  const gateway = await startOn(null, gatewayDefinition(), [...peers, "--stream-port", "0"]);
  const runtimeArgs = [...loopback, "--data", join(dir, "rt"), "--gateway", gateway];
  const runtime = await startOn(null, createRuntimeDefinition({ watchdog: false }), runtimeArgs);
  const adapter = await startOn(null, createWebSocketDefinition(), [
    ...peers,
    "--lease",
    lease,
    "--websocket-port",
    "0",
  ]);
  const viewer = (await made("acme", Role.VIEWER)).token;
  const operator = (await made("acme", Role.OPERATOR)).token;
  const other = (await made("other", Role.ADMIN)).token;
  const session = { tenantId: "acme", sessionId: "nobody" };
  const calls: Record<string, (token: string | null) => Promise<string>> = {
    lease: (t) => told(connect(lease, t).client(LeaseService).listFloors({ session })),
    replay: (t) => told(connect(replay, t).client(TimelineService).listTimelines({ tenantId: "acme" })),
    runtime: (t) => told(connect(runtime, t).client(SessionService).getSession({ session })),
  };
  const there = { lease: "taken", replay: "taken", runtime: "SESSION_NOT_FOUND" };
  for (const [service, call] of Object.entries(calls)) {
    expect(await call(viewer), service).toBe(there[service as keyof typeof there]);
    expect(await call(other), service).toBe("PERMISSION_DENIED other_tenant");
    expect(await call(null), service).toBe("UNAUTHENTICATED");
    const [head, body, mark = ""] = viewer.split(".");
    expect(await call(`${head}.${body}.${mark.slice(0, -4)}AAAA`), service).toBe("TOKEN_INVALID signature");
  }
  // The adapter has no call of its own but health, which is open; what is not is closed to everybody but services.
  expect((await fetch(`${adapter}/livez`)).status).toBe(200);
  const denied = { session, reason: 1, idempotencyKey: "k" };
  expect(await told(connect(lease, viewer).client(LeaseService).revokeLease(denied))).toBe("PERMISSION_DENIED role");
  expect(await told(connect(lease, operator).client(LeaseService).revokeLease(denied))).toBe("PERMISSION_DENIED role");
  // A denial stands in the platform's log, though the lease service writes another database.
  const audit = connect(registryUrl, serviceToken).client(AuditService);
  const actions = async () =>
    (await audit.listAudit({ tenantId: "acme", page: { size: 1_000 } })).records.map(({ action }) => action);
  await expect.poll(actions, { timeout: 15_000 }).toContain("denied rspp.lease.v1.LeaseService/RevokeLease");
}, 90_000);

test("F-097 F-092 who changes something is who showed the token, whatever the request says, and it is written once", async () => {
  const { token, id } = await made("authors", Role.ADMIN);
  const registry = connect(registryUrl, token).client(RegistryService);
  const ask = { tenantId: "authors", source: readFileSync("pipelines/specs/echo.yaml"), author: "eve" };
  const published = await registry.publishPipeline(ask);
  expect(published.version?.author).toBe(`ADMIN-of (${id})`);
  await registry.publishPipeline({ ...ask, source: readFileSync("pipelines/specs/phone-menu.yaml") });
  const artifacts = connect(registryUrl, token).client(ArtifactService);
  const limits = Buffer.from("schema: rspp/tenant-config/v1\nsessions: {concurrent_max: 3}\n");
  await artifacts.publishArtifact({ tenantId: "authors", source: limits, author: "eve" });
  await artifacts.withdrawArtifact({ tenantId: "authors", kind: 8, name: "default", actor: "eve", reason: "test" });
  const audit = connect(registryUrl, serviceToken).client(AuditService);
  const { records } = await audit.listAudit({ tenantId: "authors", page: { size: 100 } });
  const found = records.filter(({ action }) => !action.includes("CreateToken"));
  expect(found.map(({ action }) => action).reverse()).toEqual(["publish", "publish", "publish", "withdraw"]);
  expect(new Set(found.map(({ actor }) => actor))).toEqual(new Set([`ADMIN-of (${id})`]));
  // A service speaks for others, and says for whom.
  const service = connect(registryUrl, serviceToken).client(RegistryService);
  const named = await service.publishPipeline({ ...ask, tenantId: "authors2", author: "ada" });
  expect(named.version?.author).toBe("ada");
}, 60_000);

test("F-115 a token is listed, taken back and refused; an admin makes none of another tenant", async () => {
  const admin = await made("acme", Role.ADMIN);
  const access = connect(registryUrl, admin.token).client(AccessService);
  const ask = { role: Role.VIEWER, subject: "x", ttlMs: 60_000n } as const;
  const { minted } = await access.createToken({ ...ask, tenantId: "acme" });
  for (const tenantId of ["other", "*"]) {
    expect(await told(access.createToken({ ...ask, tenantId })), tenantId).toBe("PERMISSION_DENIED other_tenant");
  }
  expect(await told(access.rotateTokenKey({}))).toBe("PERMISSION_DENIED platform");
  const list = async () => (await access.listTokens({ tenantId: "acme" })).tokens.map(({ tokenId }) => tokenId);
  expect(await list()).toContain(minted?.about?.tokenId);
  expect(JSON.stringify(await access.listTokens({ tenantId: "acme" }), big)).not.toContain(minted?.token);
  const read = () =>
    connect(registryUrl, minted?.token ?? "")
      .client(RegistryService)
      .listPipelines({ tenantId: "acme" });
  expect(await told(read())).toBe("taken");
  await access.revokeToken({ tenantId: "acme", tokenId: minted?.about?.tokenId ?? "" });
  await expect.poll(() => told(read()), { timeout: 15_000 }).toBe("TOKEN_INVALID revoked");
  expect(await told(access.revokeToken({ tenantId: "acme", tokenId: "atk_none" }))).toBe("NOT_FOUND");
}, 60_000);

test("F-169 a changed signing key interrupts nobody; a stolen one ends what it signed", async () => {
  const before = await made("acme", Role.VIEWER);
  const read = (token: string) =>
    told(connect(registryUrl, token).client(RegistryService).listPipelines({ tenantId: "acme" }));
  const access = connect(registryUrl, serviceToken).client(AccessService);
  await access.rotateTokenKey({});
  const { keys } = await connect(registryUrl, serviceToken).client(RegistryService).listTokenKeys({});
  expect(keys.length).toBe(2);
  const during = await made("acme", Role.VIEWER);
  expect([await read(before.token), await read(during.token)]).toEqual(["taken", "taken"]);
  await access.rotateTokenKey({ oldIsStolen: true });
  const after = await made("acme", Role.VIEWER);
  await expect.poll(() => read(after.token), { timeout: 15_000 }).toBe("taken");
  const jwks = await fetch(`${registryUrl}/.well-known/jwks.json`);
  expect(await jwks.json()).toMatchObject({ keys: [{ kty: "OKP", crv: "Ed25519" }] });
}, 60_000);

test("F-097 F-170 changes and denials stand in the log, chained; nothing of a token does", async () => {
  const platform = await made("*", Role.ADMIN);
  const audit = connect(registryUrl, platform.token).client(AuditService);
  await expect.poll(() => told(audit.verifyAudit({})), { timeout: 15_000 }).toBe("taken");
  const actions = async (tenantId: string) =>
    (await audit.listAudit({ tenantId, page: { size: 1_000 } })).records.map(({ action }) => action);
  await expect.poll(() => actions("acme")).toContain("rspp.registry.v1.AccessService/RevokeToken");
  await expect.poll(() => actions("acme")).toContain("denied rspp.lease.v1.LeaseService/RevokeLease");
  // The gateway has no database: it told the registry.
  await expect
    .poll(() => actions("acme"), { timeout: 10_000 })
    .toContain("denied rspp.provider.v1.ProviderService/ListProviders");
  const verdict = await audit.verifyAudit({});
  expect(verdict.faults).toEqual([]);
  expect(verdict.records).toBeGreaterThan(10n);
  let text = JSON.stringify(verdict, big) + log;
  let exported = 0n;
  for await (const { records, last, headId } of audit.exportAudit({})) {
    text += JSON.stringify(records, big);
    exported += BigInt(records.length);
    if (last) expect(headId).toBeGreaterThanOrEqual(verdict.records);
  }
  expect(exported).toBeGreaterThanOrEqual(verdict.records);
  const [, body = "", mark = ""] = platform.token.split(".");
  for (const secret of [platform.token, body, mark, serviceToken]) expect(text).not.toContain(secret);
  // A tenant's admin sees what is his.
  const acme = connect(registryUrl, (await made("acme", Role.ADMIN)).token).client(AuditService);
  expect(await told(acme.listAudit({ tenantId: "acme" }))).toBe("taken");
  expect(await told(acme.listAudit({ tenantId: "*" }))).toBe("PERMISSION_DENIED other_tenant");
  expect(await told(acme.verifyAudit({}))).toBe("PERMISSION_DENIED platform");
}, 60_000);

test("F-170 F-115 rspp token and rspp audit: made, shown once, exported, checked without a platform, an edit named", async () => {
  const dir = mkdtempSync(join(tmpdir(), "rspp-access-"));
  const write = vi.spyOn(process.stdout, "write").mockReturnValue(true);
  const aside = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  vi.stubEnv("RSPP_TOKEN", serviceToken);
  onTestFinished(() => {
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
    rmSync(dir, { recursive: true, force: true });
  });
  const said = () => write.mock.calls.map(([text]) => String(text)).join("");
  const base = { registry: registryUrl, tenant: "acme", json: true, limit: 100 };
  const out = join(dir, "ci.token");
  expect(await token("create", undefined, { ...base, role: "viewer", ttl: 60_000, subject: "ci", out })).toBe(0);
  const made = readFileSync(out, "utf8").trim();
  expect(statSync(out).mode & 0o777).toBe(0o600);
  expect(said() + aside.mock.calls.join("")).not.toContain(made.split(".")[2]);
  // Whoever holds it sees no tokens: that is for admins.
  const viewer = { ...base, token: `file:${out}`, role: "viewer", ttl: 60_000 } as const;
  await expect(token("list", undefined, viewer)).rejects.toMatchObject({ facts: { reason: "permission_denied" } });
  await expect(token("create", undefined, { ...base, role: "viewer", ttl: 60_000, out })).rejects.toThrow(
    /is there already/,
  );
  const file = join(dir, "audit.jsonl");
  expect(await audit("list", undefined, { ...base, action: "CreateToken" })).toBe(0);
  expect(said()).toContain("AccessService/CreateToken");
  expect(await audit("export", undefined, { ...base, out: file })).toBe(0);
  expect(await audit("verify", undefined, base)).toBe(0);
  expect(await audit("verify", file, base)).toBe(0);
  const text = readFileSync(file, "utf8");
  expect(text).not.toContain(made.split(".")[2]);
  writeFileSync(file, text.replace("CreateToken", "CreateTokem"));
  write.mockClear();
  expect(await audit("verify", file, base)).toBe(1);
  expect(JSON.parse(said())).toMatchObject({ ok: false, faults: [{ kind: "edited" }] });
}, 60_000);

function big(_name: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("latin1");
  return typeof value === "bigint" ? String(value) : value;
}
