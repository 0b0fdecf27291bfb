/** The runtime as a process of its own: what it needs, how it says that it is there, and how it stops. */
import { expect, test } from "vitest";
import { until } from "./runtime-service-rig.ts";
import { dataDir, type Spawned, spawnService, stopService } from "./services-rig.ts";

const runtime = "runtime" as Parameters<typeof spawnService>[0];
const nobody = "http://127.0.0.1:9";

async function ended(...args: string[]): Promise<{ status: number | null; told: string }> {
  const spawned = spawnService(runtime, { args });
  const { status } = await spawned.ended;
  return { status, told: spawned.out() + spawned.errors() };
}

test("NF-015 --help names every key; without providers, or with a folder it cannot use, it does not start and says why", async () => {
  const help = await ended("--help");
  expect(help.status).toBe(0);
  for (const flag of ["--stream-port", "--registry", "--lease", "--gateway", "--replay", "--capacity-sessions"]) {
    expect(help.told).toContain(flag);
  }
  const data = dataDir();
  try {
    const bare = await ended("--data", data.dir, "--gateway", "", "--port", "0", "--stream-port", "0");
    expect([bare.status, bare.told]).toEqual([
      2,
      expect.stringMatching(/gateway: is empty.*Name the provider gateway/),
    ]);
    const blocked = await ended("--data", "/dev/null", "--gateway", nobody);
    expect([blocked.status, blocked.told]).toEqual([2, expect.stringMatching(/data: .*Name another folder/)]);
  } finally {
    data.remove();
  }
});

test("F-108 it starts though all its peers are away, says what is missing, and stops in order", async () => {
  const data = dataDir();
  let spawned: Spawned | null = null;
  try {
    const peers = ["--registry", nobody, "--lease", nobody, "--gateway", nobody, "--gateway-streams", "127.0.0.1:9"];
    const args = ["--data", data.dir, "--port", "0", "--stream-port", "0", "--silero", "off", ...peers];
    const child = spawnService(runtime, { args });
    spawned = child;
    await until(() => child.out().includes('"ready":true'), "the ready line", 30_000);
    const ready = JSON.parse(child.out());
    expect(ready).toMatchObject({ service: "runtime", addresses: { links: `127.0.0.1:${ready.stream_port}` } });
    const answer = await fetch(`${ready.url}/readyz`);
    expect(answer.status).toBe(503);
    expect((await answer.json()) as object).toMatchObject({ missing: expect.arrayContaining(["registry"]) });
    expect((await fetch(`${ready.url}/livez`)).status).toBe(200);
    expect(await (await fetch(`${ready.url}/metrics`)).text()).toContain("rspp_");
    expect(await stopService(child)).toMatchObject({ status: 0 });
  } finally {
    spawned?.child.kill("SIGKILL");
    data.remove();
  }
});
