/** `rspp up` as an operator starts it, in one process and in one each, and talked to as applications do. */
import { execFile } from "node:child_process";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { connectRpc } from "@rspp/rpc/clients";
import { describe, expect, onTestFinished, test } from "vitest";
import { jsonOf, pocketsphinx, rspp, tempDir } from "./rspp.ts";
import { call, converse, routeTo, type Up, until, up, upWith } from "./up-rig.ts";

const root = join(import.meta.dirname, "../..");
const run = promisify(execFile);
const isRoot = process.getuid?.() === 0;

/** `buf curl` as people call it. */
async function bufCurl(url: string, ...args: readonly string[]): Promise<string> {
  const base = ["--no-install", "buf", "curl", "--protocol", "grpc", "--http2-prior-knowledge"];
  return (await run("npx", [...base, ...args, url], { cwd: root })).stdout;
}

const methods: Readonly<Record<string, readonly string[]>> = {
  registry: ["rspp.registry.v1.RegistryService/CreateRoute", "rspp.registry.v1.InstanceService/ReportInstance"],
  lease: ["rspp.lease.v1.LeaseService/GrantLease", "rspp.state.v1.StateService/"],
  replay: ["rspp.replay.v1.TimelineService/"],
  runtime: ["rspp.runtime.v1.SessionService/GetSession"],
  "provider-gateway": ["rspp.provider.v1.ProviderService/"],
  "transport-websocket": ["grpc.health.v1.Health/Check"],
};
const streams: Readonly<Record<string, string>> = {
  runtime: "rspp.runtime.v1.LinkService/Control",
  "provider-gateway": "rspp.provider.v1.ProviderService/Invoke",
};

/** Every port of every service says what it is and that it is well. */
async function tellsOfItself(platform: Up, services: readonly string[]): Promise<void> {
  for (const service of services) {
    const { url, host, stream_port } = platform.line(service);
    const listed = await bufCurl(url, "--list-methods");
    for (const method of methods[service] ?? []) expect(listed).toContain(method);
    const ports = [url, ...(stream_port === undefined ? [] : [`http://${host}:${stream_port}`])];
    for (const port of ports) {
      expect(JSON.parse(await bufCurl(`${port}/grpc.health.v1.Health/Check`, "-d", "{}"))).toEqual({
        status: "SERVING",
      });
    }
    const stream = streams[service];
    if (stream !== undefined) expect(await bufCurl(ports[1] ?? "", "--list-methods")).toContain(stream);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    expect(await (await fetch(`${url}/metrics`)).text()).toContain("rspp_");
  }
}

async function stopped({ running }: Up, signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
  running.child.kill(signal);
  const end = await running.finished;
  expect([end.status, end.signal, end.stderr]).toEqual([0, null, expect.stringContaining("stopping")]);
}

const inOne = ["registry", "lease", "replay", "runtime", "transport-websocket", "transport-telephony"];

describe.each([
  ["in one process", [], inOne],
  ["in a process each", ["--processes"], [...inOne, "provider-gateway"]],
] as const)("rspp up %s", (_how, args, services) => {
  test("F-068 F-084 F-108 P10 one ready line each, a conversation with a barge-in, health and methods, an orderly stop", async () => {
    const data = join(tempDir(), "data");
    const platform = await up(data, ...args);
    expect(platform.platform.published).toEqual(expect.arrayContaining(["echo@1", "voice-assistant@1"]));
    for (const service of services) expect(platform.lines(service)).toHaveLength(1);
    const pids = new Set(services.map((service) => platform.line(service).pid));
    expect(pids.size).toBe(args.length === 0 ? 1 : services.length);
    await tellsOfItself(platform, services);
    const caller = await call(platform.registry);
    await converse(caller);
    expect(caller.flushes.map(({ turn }) => turn)).toEqual([2]);
    expect(caller.afterFlush()).toBe(0);
    expect(caller.turns.filter(({ phase }) => phase === "abort")).toEqual([]);
    if (pocketsphinx !== undefined) expect(caller.said()).toEqual(["tell me a story", "how many days are in february"]);
    await caller.hangUp();
    await stopped(platform);
    // Everything is there again, and nothing is published twice.
    // This time the services ask one another who they are.
    const env = { TOKEN: "0123456789abcdef-planted", RSPP_SERVICE_TOKEN: "env:TOKEN", RSPP_LOG_LEVEL: "debug" };
    const again = await upWith({ env }, data, ...args);
    expect(again.platform.published).toEqual([]);
    const stranger = connectRpc({ baseUrl: again.platform.registry, domain: "registry" });
    await expect(routeTo(stranger, "voice-assistant")).rejects.toThrow(/unauthenticated/);
    expect(again.platform.ready_ms).toBeLessThan(args.length === 0 ? 8_000 : 30_000);
    // A call that has nothing open is ended, and told why.
    const waiting = await call(again.registry);
    await until(() => waiting.heard.some(({ turn, end }) => turn === 1 && end), "the greeting");
    await stopped(again, "SIGINT");
    await waiting.hangUp();
    expect(waiting.states.at(-1)).toEqual({ state: "closed", reason: "draining" });
    expect(again.running.text()).not.toContain("planted");
  }, 240_000);
});

test("rspp up that is killed leaves no service and no database behind, and starts again on the same data", async () => {
  const data = join(tempDir(), "data");
  const platform = await up(data, "--processes");
  const pids = [...inOne, "provider-gateway"].map((service) => platform.line(service).pid);
  const alive = (pid: number): boolean => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  };
  expect(pids.every(alive)).toBe(true);
  platform.running.child.kill("SIGKILL");
  await until(() => !pids.some(alive), "all services have ended");
  const again = await up(data);
  await stopped(again);
}, 120_000);

describe("rspp up that cannot", () => {
  const failed = async (...args: readonly string[]) => {
    const end = await rspp(["up", "--json", "--port-base", "0", "--log-level", "silent", ...args]);
    expect([end.status, end.signal]).toEqual([2, null]);
    return { ...jsonOf<{ ok: boolean; message: string; remedy: string }>(end), stderr: end.stderr };
  };

  test.each([
    ["in one process", []],
    ["in a process each", ["--processes"]],
  ])("NF-015 a port that is taken is named with its service, %s", async (_how, args) => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void taken.close());
    const { port } = taken.address() as { port: number };
    const { message, stderr } = await failed("--data", join(tempDir(), "data"), "--port", `lease=${port}`, ...args);
    expect(message).toContain("lease");
    expect(stderr).toMatch(/Another process listens there/);
  });

  test("a taken WebSocket port, wrong ports, a data directory that is a file", async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void taken.close());
    const { port } = taken.address() as { port: number };
    const busy = await failed("--data", join(tempDir(), "data"), "--port", `websocket=${port}`);
    expect(busy.message).toMatch(/transport-websocket cannot start: .*Another process listens there/);
    expect((await failed("--port", "nothing=1")).message).toMatch(/the names are registry, lease/);
    expect((await failed("--port", "lease=70000")).message).toMatch(/0 to 65535/);
    const file = join(tempDir(), "file");
    writeFileSync(file, "");
    expect((await failed("--data", file)).message).toMatch(/database cannot start/);
  });

  test.skipIf(isRoot)("a data directory that may not be written to", async () => {
    const data = join(tempDir(), "data");
    mkdirSync(data);
    chmodSync(data, 0o500);
    expect((await failed("--data", data)).message).toMatch(/rights/);
  });

  test("a disk that is full or read-only, where one may be mounted", async ({ skip }) => {
    const disk = join(tempDir(), "disk");
    mkdirSync(disk);
    const mount = async (...options: string[]) => run("mount", ["-t", "tmpfs", "-o", options.join(), "tmpfs", disk]);
    if (
      !isRoot ||
      !(await mount("size=20m").then(
        () => true,
        () => false,
      ))
    )
      return skip();
    onTestFinished(() => run("umount", [disk]).then(() => undefined));
    expect((await failed("--data", join(disk, "data"))).message).toMatch(
      /No space is left for the database .*Free some/,
    );
    await mount("remount", "ro");
    expect((await failed("--data", join(disk, "other"))).message).toMatch(
      /database cannot start: .*Choose a data directory that this user may write/,
    );
  });

  test("a second platform on the same data directory is refused, the first goes on", async () => {
    const data = join(tempDir(), "data");
    const first = await up(data);
    const second = await failed("--data", data);
    expect(second.message).toMatch(/database cannot start/);
    expect((await fetch(`${first.line("registry").url}/readyz`)).status).toBe(200);
    await stopped(first);
  });

  test("a wrong key of a service's configuration names the service, the key and the remedy", async () => {
    const end = await rspp(["up", "--json", "--port-base", "0", "--data", join(tempDir(), "data")], {
      env: { RSPP_TOKEN_MS: "soon" },
    });
    expect(end.status).toBe(2);
    expect(jsonOf<{ message: string }>(end).message).toMatch(/registry.*RSPP_TOKEN_MS.*between 1000 and/);
  });
});
