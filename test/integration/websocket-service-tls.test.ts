/** An adapter that has a certificate for its callers, on a platform whose services speak without. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { connect } from "@rspp/client/connect";
import { createWebSocketDefinition } from "@rspp/transport-websocket/definition";
import { expect, onTestFinished, test } from "vitest";
import { selfSigned } from "./certificate.ts";
import { assistant, platform, routeOf, runtimeOf, start, until } from "./runtime-service-rig.ts";

test("NF-015 a certificate for callers alone does not make the links to runtimes TLS", async () => {
  const { cert, key } = selfSigned();
  const authorities = getCACertificates();
  setDefaultCACertificates([...authorities, cert]);
  const dir = mkdtempSync(join(tmpdir(), "rspp-tls-"));
  writeFileSync(join(dir, "cert.pem"), cert);
  writeFileSync(join(dir, "key.pem"), key, { mode: 0o600 });
  const rig = await platform();
  const runtime = await runtimeOf(rig, ["--instance-id", "runtime-1"]);
  const peers = ["--registry", rig.registry.ready.url, "--lease", rig.lease.ready.url];
  const tls = ["--tls-cert", join(dir, "cert.pem"), "--tls-key", `file:${join(dir, "key.pem")}`];
  const adapter = await start(createWebSocketDefinition(), ["--websocket-port", "0", ...peers, ...tls]);
  onTestFinished(async () => {
    await adapter.stop(0);
    await runtime.close();
    await rig.close();
    rmSync(dir, { recursive: true });
    setDefaultCACertificates(authorities);
  });
  await rig.publish(assistant("greeter"));
  await until(async () => (await fetch(`${runtime.running.ready.url}/readyz`)).ok, "ready");
  const url = adapter.ready.addresses.websocket ?? "";
  expect(url).toMatch(/^wss:/);
  const client = await connect(url, (await routeOf(rig, "greeter")).token, {});
  expect(client.state).toBe("open");
  client.end();
  await client.ended;
});
