/** deploy/nginx before the platform: services reach registry and lease through it, and callers the adapter. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@rspp/client/connect";
import { LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { connectRpc } from "@rspp/rpc/clients";
import { createWebSocketDefinition } from "@rspp/transport-websocket/definition";
import { describe, expect, onTestFinished, test } from "vitest";
import { assistant, platform, routeOf, runtimeOf, start, tenantId, until } from "../integration/runtime-service-rig.ts";
import { has, root } from "../polyglot/tools.ts";

/** The configuration as it stands, but for where it listens and whom it leads to. */
function configuration(dir: string, ports: Record<string, string>): string {
  let text = readFileSync(join(root, "deploy/nginx/nginx.conf"), "utf8");
  for (const [from, to] of Object.entries(ports)) text = text.replaceAll(from, to);
  const here = `daemon off;\nmaster_process off;\npid ${dir}/pid;\nerror_log stderr warn;\n`;
  const temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${dir}/tmp;`)
    .join("\n");
  mkdirSync(join(dir, "tmp"), { recursive: true });
  return here + text.replace("http {", `http {\naccess_log off;\n${temp}`);
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  await Promise.all(servers.map((server) => new Promise<void>((done) => server.listen(0, "127.0.0.1", done))));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

describe.skipIf(!(await has("/usr/sbin/nginx", "-v")))("NF-007 behind nginx", () => {
  test("NF-007 runtime and adapter live through it (unary, watches, reports), and a caller has a call", async () => {
    const dir = mkdtempSync(join(tmpdir(), "rspp-nginx-"));
    const [grpc = 0, callers = 0, adapterPort = 0] = await freePorts(3);
    const rig = await platform();
    const at = (url: string): string => new URL(url).host;
    const conf = configuration(dir, {
      "rspp-registry:7101": at(rig.registry.ready.url),
      "rspp-lease:7102": at(rig.lease.ready.url),
      "rspp-replay:7105": "127.0.0.1:9",
      "rspp-transport-websocket:7206": `127.0.0.1:${adapterPort}`,
      "listen 8080": `listen 127.0.0.1:${grpc}`,
      "listen 8081": `listen 127.0.0.1:${callers}`,
    });
    writeFileSync(join(dir, "nginx.conf"), conf);
    const nginx: ChildProcess = spawn("/usr/sbin/nginx", ["-p", dir, "-c", join(dir, "nginx.conf")], {
      stdio: "inherit",
    });
    const url = `http://127.0.0.1:${grpc}`;
    const behind = <T extends { ready: { url: string } }>(service: T): T => ({
      ...service,
      ready: { ...service.ready, url },
    });
    onTestFinished(async () => {
      nginx.kill("SIGKILL");
      await rig.close();
      rmSync(dir, { recursive: true, force: true });
    });
    const through = connectRpc({ baseUrl: url, domain: "registry", attemptsMax: 1 });
    await until(
      () =>
        through
          .client(RegistryService)
          .listTokenKeys({})
          .then(
            () => true,
            () => false,
          ),
      "nginx",
    );
    const runtime = await runtimeOf({ registry: behind(rig.registry), lease: behind(rig.lease) }, [
      "--instance-id",
      "runtime-1",
    ]);
    onTestFinished(() => runtime.close());
    const advertised = `ws://127.0.0.1:${callers}/v1/session`;
    const listen = ["--websocket-port", String(adapterPort), "--advertise-url", advertised];
    const adapter = await start(createWebSocketDefinition(), [...listen, "--registry", url, "--lease", url]);
    onTestFinished(async () => void (await adapter.stop(0)));
    await rig.publish(assistant("greeter"));
    const { token, sessionId } = await routeOf(rig, "greeter");
    const client = await connect(advertised, token, {});
    expect(client.state).toBe("open");
    const { lease } = await through.client(LeaseService).getLease({ session: { tenantId, sessionId } });
    expect(lease?.grant?.holderId).toBe("runtime-1");
    client.end();
    await client.ended;
    await expect(through.client(RegistryService).getPipeline({ tenantId, name: "nobody" })).rejects.toThrow(
      /not_found/,
    );
  });
});
