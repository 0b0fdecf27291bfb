import { InstanceService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { resolveConfig } from "@rspp/host/config";
import { type RunningService, startService } from "@rspp/host/start";
import { route } from "@rspp/rpc/route";
import { startRpcServer } from "@rspp/rpc/server";
import { expect, onTestFinished, test } from "vitest";
import { websocketFields } from "./config.ts";
import { createWebSocketDefinition } from "./definition.ts";

async function adapter(...argv: string[]): Promise<RunningService> {
  const own = ["--port", "0", "--websocket-port", "0", "--log-level", "silent", "--instance-id", "adapter-1"];
  const config = resolveConfig(websocketFields, { service: "transport-websocket", argv: [...own, ...argv], env: {} });
  if (!config.ok || "help" in config.value) throw new Error("no values");
  const running = await startService(createWebSocketDefinition(), config.value.values);
  onTestFinished(async () => void (await running.stop(0)));
  return running;
}

interface Told {
  readonly url: string;
  readonly ready: boolean;
  readonly draining: boolean;
  readonly capacity: number;
}

/** A registry that keeps what instances tell of themselves. */
async function registryOf(port: number, told: Told[]) {
  const instances = route(InstanceService, {
    reportInstance: async function* (reports) {
      for await (const { status } of reports) {
        const { ready = false, draining = false, capacitySessions: capacity = 0, endpoints = [] } = status ?? {};
        told.push({ url: endpoints[0]?.url ?? "", ready, draining, capacity });
        yield { reportEveryMs: 20 };
      }
    },
  });
  const server = await startRpcServer({ domain: "registry", port, routes: [instances] });
  onTestFinished(async () => void (await server.stop(0)));
  return server;
}

const until = async (done: () => boolean): Promise<void> => {
  while (!done()) await new Promise((resolve) => setImmediate(resolve));
};

test("F-108 F-159 the adapter is alive without a registry, ready once it has one, and takes its leave", async () => {
  const told: Told[] = [];
  const probe = await registryOf(0, []);
  const { port } = probe;
  await probe.stop(0);
  const running = await adapter("--registry", `http://127.0.0.1:${port}`, "--sessions-max", "7");
  const probes = async () =>
    Promise.all(["livez", "readyz"].map(async (at) => (await fetch(`${running.ready.url}/${at}`)).status));
  expect(await probes()).toEqual([200, 503]);
  await registryOf(port, told);
  await until(() => running.health.ready);
  expect(await probes()).toEqual([200, 200]);
  const url = running.ready.addresses.websocket ?? "";
  expect(told[0]).toEqual({ url, ready: true, draining: false, capacity: 7 });
  // Who asks for the page in place of the socket is told what this is.
  expect((await fetch(url.replace("ws:", "http:"))).status).toBe(426);
  expect(await (await fetch(`${running.ready.url}/metrics`)).text()).toMatch(/^rspp_websocket_sessions 0$/m);
  expect(await running.stop(1_000)).toBe(true);
  expect(told.at(-1)).toMatchObject({ ready: false, draining: true });
});

test("NF-015 a WebSocket port that is taken is named by its key; an address is advertised as it is given", async () => {
  const told: Told[] = [];
  const registry = `http://127.0.0.1:${(await registryOf(0, told)).port}`;
  const first = await adapter("--registry", registry, "--advertise-url", "wss://voice.example.com/v1/session");
  expect(first.ready.addresses.websocket).toBe("wss://voice.example.com/v1/session");
  expect(told[0]?.url).toBe("wss://voice.example.com/v1/session");
  const port = String(first.ready.port);
  await expect(adapter("--registry", registry, "--websocket-port", port)).rejects.toThrow(
    /websocket_port.*Another process/,
  );
});
