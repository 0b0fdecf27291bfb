/** F-120: services under mutual TLS whose certificates are replaced in their files while they run. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { create } from "@bufbuild/protobuf";
import { ProviderService } from "@rspp/gen/rspp/provider/v1/provider_service_pb";
import { AccessService } from "@rspp/gen/rspp/registry/v1/access_service_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import type { ServiceFields } from "@rspp/host/common-fields";
import { resolveConfig } from "@rspp/host/config";
import type { ServiceDefinition } from "@rspp/host/service";
import { type RunningService, startService } from "@rspp/host/start";
import { gatewayDefinition } from "@rspp/provider-gateway/definition";
import { registryDefinition } from "@rspp/registry/definition";
import { connectRpc, type RpcClientOptions } from "@rspp/rpc/clients";
import { callUnary, openChannel } from "@rspp/rpc/grpc-client";
import { HealthService } from "@rspp/rpc/well-known";
import { type TestDatabase, testDatabase } from "@rspp/store/testkit/test-database";
import { afterAll, beforeAll, expect, test } from "vitest";
import { authority, issuedBy } from "./certificate.ts";

const first = authority("first-ca");
const second = authority("second-ca");
const dir = mkdtempSync(join(tmpdir(), "rspp-mtls-"));
const running: RunningService[] = [];
let at: TestDatabase;
let log = "";

/** As a rotation does: beside, then in its place. */
function put(name: string, text: string): void {
  writeFileSync(join(dir, `${name}.new`), text, { mode: 0o600 });
  renameSync(join(dir, `${name}.new`), join(dir, name));
}

function putPair(issuer: typeof first, name: string, serial: number): void {
  const { cert, key } = issuedBy(issuer, name, serial);
  put(`${name}.key`, key);
  put(`${name}.pem`, cert);
}

async function start<F extends ServiceFields>(definition: ServiceDefinition<F>, ...argv: string[]) {
  const { service, fields } = definition;
  const pair = ["--tls-cert", join(dir, `${service}.pem`), "--tls-key", `file:${join(dir, `${service}.key`)}`];
  const given = ["--port", "0", ...pair, "--tls-ca", join(dir, "ca.pem"), ...argv];
  const config = resolveConfig(fields, { service, argv: given, env: {} });
  if (!config.ok || "help" in config.value) throw new Error(`${service}: no configuration`);
  const logTo = (line: string): void => {
    log += line;
  };
  const started = await startService(definition, config.value.values, { env: {}, logTo, database: at.db });
  running.push(started);
  return started;
}

/** Serial number of the certificate that a new connection is shown, by whoever `issuer` has signed. */
function serialAt(port: number, issuer: typeof first): Promise<string> {
  const { cert, key } = issuedBy(issuer, "caller", 9);
  return new Promise((resolve) => {
    const socket = connectTls({ host: "127.0.0.1", port, cert, key, rejectUnauthorized: false, ALPNProtocols: ["h2"] });
    socket.once("error", () => resolve("refused"));
    socket.once("secureConnect", () => {
      resolve(socket.getPeerCertificate().serialNumber);
      socket.destroy();
    });
  });
}

function client(baseUrl: string, tls?: RpcClientOptions["tls"]) {
  return connectRpc({ baseUrl, domain: "none", attemptsMax: 1, ...(tls === undefined ? {} : { tls }) });
}
const answers = (asked: Promise<unknown>) =>
  asked.then(
    () => true,
    () => false,
  );

beforeAll(async () => {
  at = await testDatabase();
  put("ca.pem", first.cert);
  for (const name of ["registry", "provider-gateway"]) putPair(first, name, 3);
}, 60_000);
afterAll(async () => {
  for (const service of running.reverse()) await service.stop(0);
  await at.close();
  rmSync(dir, { recursive: true, force: true });
});

test("F-120 plain text and strangers are refused; certificates are replaced live, on both kinds of port", async () => {
  const registry = await start(registryDefinition, "--data", at.dataDir);
  const { url, port } = registry.ready;
  const gateway = await start(gatewayDefinition(), "--registry", url, "--stream-port", "0");
  const streamPort = gateway.ready.stream_port ?? 0;
  const mine = (issuer: typeof first, ca: string) => ({ ...issuedBy(issuer, "caller", 9), ca });
  const ask = (tls?: RpcClientOptions["tls"], base = url) =>
    answers(client(base, tls).client(RegistryService).listTokenKeys({}));
  expect(url).toMatch(/^https:/);
  expect(await ask(mine(first, first.cert))).toBe(true);
  expect(await ask(undefined, url.replace("https:", "http:"))).toBe(false);
  expect(await answers(fetch(`http://127.0.0.1:${port}/livez`))).toBe(false);
  expect(await ask({ ca: first.cert })).toBe(false);
  expect(await ask(mine(second, first.cert))).toBe(false);

  // One connection of each kind from before goes on through all that follows.
  const early = client(url, mine(first, first.cert)).client(HealthService);
  const watch = early.watch({})[Symbol.asyncIterator]();
  expect((await watch.next()).value?.status).toBe(1);
  const channel = openChannel({ address: `127.0.0.1:${streamPort}`, tls: mine(first, first.cert) });
  const { listProviders } = ProviderService.method;
  const list = async (over = channel) =>
    (await callUnary(over, listProviders, create(listProviders.input), { deadlineMs: 5_000 })).ok;
  expect(await list()).toBe(true);

  put("ca.pem", `${first.cert}${second.cert}`);
  process.emit("SIGHUP");
  await expect.poll(() => serialAt(port, second), { timeout: 15_000 }).toBe("03");
  for (const name of ["registry", "provider-gateway"]) putPair(second, name, 4);
  process.emit("SIGHUP");
  await expect.poll(() => serialAt(port, first), { timeout: 15_000 }).toBe("04");
  await expect.poll(() => serialAt(streamPort, first), { timeout: 15_000 }).toBe("04");
  put("ca.pem", second.cert);
  process.emit("SIGHUP");
  await expect.poll(() => ask(mine(first, second.cert)), { timeout: 15_000 }).toBe(false);
  expect(await ask(mine(second, second.cert))).toBe(true);
  const late = openChannel({ address: `127.0.0.1:${streamPort}`, tls: mine(second, second.cert) });
  await expect.poll(() => list(late), { timeout: 15_000 }).toBe(true);
  expect(await list()).toBe(true);
  late.close();
  channel.close();

  // What a service calls is called with the new ones too: a registry that comes back takes nothing of the first authority.
  await registry.stop(0);
  running.splice(running.indexOf(registry), 1);
  const again = await start(registryDefinition, "--data", at.dataDir, "--port", String(port));
  const view = () => client(again.ready.url, mine(second, second.cert)).client(AccessService).listRevokedTokens({});
  expect(await answers(view())).toBe(true);
  const reported = async () => {
    const { InstanceService } = await import("@rspp/gen/rspp/registry/v1/registry_service_pb");
    const { view: seen } = await client(again.ready.url, mine(second, second.cert))
      .client(InstanceService)
      .getRoutingView({});
    return seen?.instances.some(({ role, ready }) => role === "provider-gateway" && ready) ?? false;
  };
  await expect.poll(reported, { timeout: 30_000 }).toBe(true);
  expect(log).toContain("certificates rotated");
}, 120_000);

test("F-120 half of a rotation changes nothing, and the log says so", async () => {
  const registry = await start(registryDefinition, "--data", at.dataDir);
  const { port } = registry.ready;
  expect(await serialAt(port, second)).toBe("04");
  put("registry.pem", issuedBy(second, "registry", 5).cert);
  process.emit("SIGHUP");
  await expect.poll(() => log).toContain("not taken up yet");
  expect(await serialAt(port, second)).toBe("04");
  putPair(second, "registry", 6);
  process.emit("SIGHUP");
  await expect.poll(() => serialAt(port, second), { timeout: 15_000 }).toBe("06");
  expect(log).not.toContain("PRIVATE KEY");
}, 60_000);

test("F-120 where mutual TLS is on, a peer by plain http is no configuration", async () => {
  const failure = await start(gatewayDefinition(), "--registry", "http://127.0.0.1:1", "--stream-port", "0").catch(
    (thrown: unknown) => thrown,
  );
  expect(String(failure)).toMatch(/registry is plain http.*https/);
}, 30_000);
