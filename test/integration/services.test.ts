/** What every service does as a process: tells of itself, is configured, keeps its secrets, stops in order. */
import { generateKeyPairSync } from "node:crypto";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { InstanceService, RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { StateService } from "@rspp/gen/rspp/state/v1/state_service_pb";
import { HealthService, ServingStatus } from "@rspp/rpc/well-known";
import { testDatabase } from "@rspp/store/testkit/test-database";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  bufCurl,
  dataDir,
  type RunningService,
  type ServiceName,
  type ServiceStart,
  spawnService,
  startService,
  stopService,
} from "./services-rig.ts";

const services = join(import.meta.dirname, "../../services");

async function started(service: ServiceName, start: ServiceStart = {}): Promise<RunningService> {
  const data = dataDir();
  const running = await startService(service, { ...start, args: ["--data", data.dir, ...(start.args ?? [])] });
  onTestFinished(async () => {
    await stopService(running);
    data.remove();
  });
  return running;
}

/** Runs to its end. */
async function finished(service: ServiceName, start: ServiceStart) {
  const spawned = spawnService(service, start);
  const { status } = await spawned.ended;
  return { status, out: spawned.out(), errors: spawned.errors() };
}

describe.each([
  ["registry", RegistryService.typeName, "ListTokenKeys", [RegistryService, InstanceService]],
  ["lease", LeaseService.typeName, "ListSigningKeys", [LeaseService, StateService]],
] as const)("%s", (service, typeName, method, contracts) => {
  test("F-108 lists and describes itself, answers health and a call to buf curl, and stops in order", async () => {
    const { url, child, out, errors, ended } = await started(service, { args: ["--stop-grace-ms", "2000"] });
    const [listed, described, health, answer] = await Promise.all([
      bufCurl(url, "--list-services"),
      bufCurl(url, "--list-methods"),
      bufCurl(`${url}/grpc.health.v1.Health/Check`, "-d", JSON.stringify({ service: typeName })),
      bufCurl(`${url}/${typeName}/${method}`, "-d", "{}"),
    ]);
    for (const contract of contracts) expect(listed).toContain(contract.typeName);
    expect(described).toContain(method);
    expect(JSON.parse(health)).toEqual({ status: "SERVING" });
    expect(JSON.parse(answer).keys).toHaveLength(1);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    expect(JSON.parse(out())).toMatchObject({ ready: true, service, url, pid: child.pid });
    expect(JSON.parse(out()).message).toContain(`${service} is ready at ${url}`);
    child.kill("SIGTERM");
    expect(await ended).toEqual({ status: 0, signal: null });
    expect(errors()).toContain('"in_order":true');
  });

  test("configuration: the flag wins over the environment over the file, and is printed with its sources", async () => {
    const data = dataDir();
    onTestFinished(data.remove);
    const file = join(data.dir, "config.yaml");
    writeFileSync(file, "port: 1\nhost: 0.0.0.0\nstop_grace_ms: 1\ndatabase_url: env:DB\n");
    const env = {
      RSPP_CONFIG: file,
      RSPP_PORT: "2",
      RSPP_STOP_GRACE_MS: "2",
      [`RSPP_${service.toUpperCase()}_STOP_GRACE_MS`]: "3",
    };
    const { status, out } = await finished(service, { args: ["--port", "4", "--print-config"], env });
    expect(status).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      port: { value: 4, from: "flag" },
      stop_grace_ms: { value: 3, from: "environment" },
      host: { value: "0.0.0.0", from: "file" },
      database_url: { value: "env:DB", from: "file" },
      log_level: { value: "info", from: "default" },
    });
    const help = await finished(service, { args: ["--help"] });
    expect(help.status).toBe(0);
    for (const key of Object.keys(JSON.parse(out))) expect(help.out).toContain(`--${key.replaceAll("_", "-")} `);
  });

  test("a wrong file: every problem at once, each by its key", async () => {
    const data = dataDir();
    onTestFinished(data.remove);
    const file = join(data.dir, "config.json");
    writeFileSync(file, JSON.stringify({ port: 70_000, surprise: 1, host: 5 }));
    const { status, errors } = await finished(service, { args: ["--config", file] });
    expect(status).toBe(2);
    expect(errors.trim().split("\n")).toHaveLength(3);
    for (const key of ["port", "surprise", "host"]) expect(errors).toContain(`${service}: ${key} (file)`);
  });
});

test.each<[string, ServiceName, ServiceStart, RegExp]>([
  [
    "a port that is none",
    "lease",
    { args: ["--port", "hunter2"] },
    /--port \(flag\) is no whole number .*between 0 and 65535/,
  ],
  ["an unknown flag", "registry", { args: ["--prot", "1"] }, /--prot \(flag\) is no flag.*Did you mean --port/],
  ["a flag without value", "lease", { args: ["--port"] }, /flags \(flag\) cannot be read.*--help/],
  [
    "a word that is none",
    "registry",
    { env: { RSPP_LOG_LEVEL: "hunter2" } },
    /RSPP_LOG_LEVEL \(environment\).*Use one of debug/,
  ],
  [
    "a secret itself",
    "lease",
    { args: ["--database-url", "postgres://u:hunter2@h/d"] },
    /--database-url.*env:NAME or file:/,
  ],
  ["a missing secret", "registry", { args: ["--database-url", "env:NOT_SET"] }, /env:NOT_SET is not set.*Set it/],
  ["a missing file", "lease", { args: ["--config", "/nowhere/at/all"] }, /config \(file\) .*ENOENT.*Check the path/],
  ["half of TLS", "registry", { args: ["--tls-cert", "x.pem"] }, /TLS needs both tls_cert and tls_key.*Set both/],
])(
  "NF-015 a wrong configuration stops with status 2, the key and the remedy: %s",
  async (_title, service, start, told) => {
    const data = dataDir();
    onTestFinished(data.remove);
    const env = { RSPP_DATA: data.dir, RSPP_LOG_LEVEL: "info", ...start.env };
    const { status, out, errors } = await finished(service, { ...start, env });
    expect([status, out]).toEqual([2, ""]);
    expect(errors).toMatch(told);
    expect(errors).not.toContain("hunter2");
  },
);

test("a port that is taken stops with status 2 and says so; a key others may read is refused", async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void taken.close());
  const { port } = taken.address() as { port: number };
  const data = dataDir();
  onTestFinished(data.remove);
  const args = ["--data", data.dir, "--port", String(port)];
  const busy = await finished("lease", { args });
  expect(busy.status).toBe(2);
  expect(busy.errors).toContain("Another process listens there");
  chmodSync(join(data.dir, "keys/lease-grant.pem"), 0o644);
  const loose = await finished("lease", { args });
  expect(loose.status).toBe(2);
  expect(loose.errors).toMatch(/Others may read the key .*chmod 600/);
});

test("F-108 a database that dies makes the service not ready but alive until it is back, and what was acknowledged is there", async () => {
  const data = dataDir();
  onTestFinished(data.remove);
  const running = await started("registry", { args: ["--data", data.dir] });
  const registry = running.rpc.client(RegistryService);
  const source = new Uint8Array(readFileSync(join(services, "../pipelines/specs/echo.yaml")));
  const { version } = await registry.publishPipeline({ tenantId: "acme", source });
  const watch = running.rpc.client(HealthService).watch({ service: "" })[Symbol.asyncIterator]();
  const next = async () => (await watch.next()).value?.status;
  expect(await next()).toBe(ServingStatus.SERVING);
  const [pid] = readFileSync(join(data.dir, "postgres/data/postmaster.pid"), "utf8").split("\n");
  process.kill(Number(pid), "SIGKILL");
  expect(await next()).toBe(ServingStatus.NOT_SERVING);
  expect((await fetch(`${running.url}/livez`)).status).toBe(200);
  expect(await next()).toBe(ServingStatus.SERVING);
  const found = await registry.getPipeline({ tenantId: "acme", name: "echo" });
  expect(found.version).toEqual(version);
});

test("NF-011 secrets planted in configuration, token and variables are in no line at debug level", async () => {
  const database = await testDatabase();
  onTestFinished(() => database.close());
  const pem = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const running = await started("registry", {
    args: ["--token-key", "env:PLANTED_KEY", "--log-level", "debug"],
    env: { DATABASE_URL: database.db.url, PLANTED_KEY: pem },
  });
  const registry = running.rpc.client(RegistryService);
  const source = readFileSync(join(services, "../pipelines/specs/echo.yaml"));
  await registry.publishPipeline({ tenantId: "acme", source: new Uint8Array(source) });
  const status = { instanceId: "r", role: "runtime", ready: true, capacitySessions: 1 };
  const endpoints = [{ transport: "websocket", url: "ws://127.0.0.1:9/" }];
  const reports = (async function* () {
    yield { status: { ...status, endpoints } };
  })();
  for await (const _told of running.rpc.client(InstanceService).reportInstance(reports));
  const ask = { tenantId: "acme", pipelineName: "echo", idempotencyKey: "k", variables: { name: "planted-name" } };
  const { route } = await registry.createRoute(ask);
  await expect(registry.createRoute({ ...ask, variables: { name: "planted-other" } })).rejects.toThrow();
  await stopService(running);
  const said = running.out() + running.errors();
  expect(said).toContain("rpc received");
  expect(said).toContain("env:DATABASE_URL");
  const password = new URL(database.db.url.replace(/@.*$/s, "@host/")).password;
  const keyBody = pem.split("\n")[1] ?? "";
  const planted = [password, keyBody, route?.token ?? "", route?.token.split(".")[2] ?? "", "planted-"];
  expect(planted.map((secret) => [secret !== "", said.includes(secret)])).toEqual(planted.map(() => [true, false]));
});
