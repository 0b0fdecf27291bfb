import { LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { LinkService } from "@rspp/gen/rspp/runtime/v1/link_service_pb";
import { connectRpc, rpcErrorOf } from "@rspp/rpc/clients";
import { Health } from "@rspp/rpc/health";
import { route } from "@rspp/rpc/route";
import { HealthService, ServingStatus } from "@rspp/rpc/well-known";
import { StoreError } from "@rspp/store/store-error";
import { expect, onTestFinished, test } from "vitest";
import { commonFields, portField } from "./common-fields.ts";
import { resolveConfig } from "./config.ts";
import { startProbeServer } from "./probe-server.ts";
import { isConfiguration } from "./process.ts";
import type { PlainService, ServiceContext, StartedService } from "./service.ts";
import { startService } from "./start.ts";

const fields = { port: portField(7999), stream_port: portField(8099), ...commonFields };

function definitionOf(start: (context: ServiceContext) => StartedService): PlainService<typeof fields> {
  return { service: "example", fields, database: false, start: async (_values, context) => start(context) };
}

function valuesOf(...argv: string[]) {
  const quiet = ["--log-level", "silent", "--port", "0", "--stream-port", "0"];
  const config = resolveConfig(fields, { service: "example", argv: [...quiet, ...argv], env: {} });
  if (!config.ok || "help" in config.value) throw new Error("no values");
  return config.value.values;
}

const keys = route(RegistryService, {
  listTokenKeys: () => ({ keys: [] }),
  getPipeline: () => Promise.reject(new Error("never to be told")),
});

test("F-108 without a database and with streams: both ports tell their health, dependencies and stop decide it", async () => {
  let context: ServiceContext | undefined;
  const drained: number[] = [];
  const definition = definitionOf((given) => {
    context = given;
    return {
      routes: [keys],
      streams: [{ service: LinkService, methods: {} }],
      bound: async (api, streams) => ({ callers: `ws://${api.host}:${(streams?.port ?? 0) > 0}` }),
      drain: async (graceMs) => drained.push(graceMs) > 0,
    };
  });
  const running = await startService(definition, valuesOf("--instance-id", "example-1"));
  onTestFinished(async () => void (await running.stop(0)));
  expect(running.ready).toMatchObject({ service: "example", instance: "example-1" });
  expect(running.ready.addresses).toEqual({ callers: "ws://127.0.0.1:true" });
  const ports = [running.ready.port, running.ready.stream_port ?? 0];
  const statusOf = async (port: number) => {
    const rpc = connectRpc({ baseUrl: `http://127.0.0.1:${port}`, domain: "health", attemptsMax: 1 });
    return (await rpc.client(HealthService).check({})).status;
  };
  const both = async () => Promise.all(ports.map(statusOf));
  expect(await both()).toEqual([ServingStatus.SERVING, ServingStatus.SERVING]);
  context?.dependency("registry", false);
  expect(await both()).toEqual([ServingStatus.NOT_SERVING, ServingStatus.NOT_SERVING]);
  expect(await (await fetch(`${running.ready.url}/readyz`)).json()).toMatchObject({ missing: ["registry"] });
  expect(await (await fetch(`${running.ready.url}/metrics`)).text()).toContain("rspp_rpc");
  context?.dependency("registry", true);
  expect(await both()).toEqual([ServingStatus.SERVING, ServingStatus.SERVING]);
  expect(await running.stop(1_000)).toBe(true);
  expect(drained).toEqual([1_000]);
  expect(running.health.ready).toBe(false);
});

test("a call in the same process passes the same checks, and fails in the same words", async () => {
  const lease = await startService(
    definitionOf(() => ({ routes: [keys] })),
    valuesOf(),
  );
  onTestFinished(async () => void (await lease.stop(0)));
  const direct = lease.connection();
  const socket = connectRpc({ baseUrl: lease.ready.url, domain: "example", attemptsMax: 1 });
  for (const rpc of [direct, socket]) {
    const registry = rpc.client(RegistryService);
    expect(await registry.listTokenKeys({})).toMatchObject({ keys: [] });
    const why = async (call: Promise<unknown>) =>
      call.then(
        () => "answered",
        (failure: unknown) => {
          const { detail } = rpcErrorOf(failure, "none");
          return [detail.reason, detail.domain, detail.violations.map(({ field }) => field)];
        },
      );
    expect(await why(registry.getPipeline({ tenantId: "" }))).toEqual([
      expect.any(Number),
      "example",
      ["tenant_id", "name"],
    ]);
    expect(await why(registry.getPipeline({ tenantId: "t", name: "n" }))).not.toContain("never");
    expect(await why(rpc.client(LeaseService).getLease({}))).not.toBe("answered");
  }
});

test("a start that fails leaves nothing running and says which key it was", async () => {
  const closed: string[] = [];
  const first = await startService(
    definitionOf(() => ({ routes: [keys] })),
    valuesOf(),
  );
  onTestFinished(async () => void (await first.stop(0)));
  const second = definitionOf(() => ({
    routes: [keys],
    close: async () => void closed.push("closed"),
  }));
  await expect(startService(second, valuesOf("--port", String(first.ready.port)))).rejects.toThrow(/port/);
  expect(closed).toEqual(["closed"]);
  const streaming = definitionOf(() => ({ routes: [keys], streams: [{ service: LinkService, methods: {} }] }));
  await expect(startService(streaming, valuesOf("--stream-port", String(first.ready.port)))).rejects.toThrow(
    /key=stream_port.* set another stream_port/,
  );
  const missing = valuesOf("--service-token", "env:NOT_THERE");
  await expect(startService(second, missing, { env: {} })).rejects.toThrow(/env:NOT_THERE is not set/);
});

test("a reading that fails is a defect of what is read: it is answered, and the service goes on", async () => {
  const definition = definitionOf(({ telemetry }) => {
    telemetry.metrics.beforeCollect(() => {
      throw new Error("never to be told");
    });
    return { routes: [keys] };
  });
  const running = await startService(definition, valuesOf());
  onTestFinished(async () => void (await running.stop(0)));
  const page = await fetch(`${running.ready.url}/metrics`);
  expect([page.status, await page.text()]).toEqual([500, "The metrics cannot be read.\n"]);
  expect((await fetch(`${running.ready.url}/readyz`)).status).toBe(200);
});

test("F-108 probes have a port of their own, which answers nothing else, and says so where it cannot be had", async () => {
  const health = new Health(["x"]);
  const probes = await startProbeServer({ host: "127.0.0.1", port: 0, health, metrics: async () => "a 1\n" });
  onTestFinished(() => probes.close());
  const ask = async (path: string, method = "GET") => {
    const answer = await fetch(`http://127.0.0.1:${probes.port}${path}`, { method });
    return [answer.status, await answer.text()];
  };
  expect(await ask("/livez")).toEqual([200, '{"status":"ok"}']);
  health.setReady(false, ["database"]);
  expect(await ask("/readyz?verbose")).toEqual([503, '{"status":"not ready","missing":["database"]}']);
  health.setReady(true);
  expect(await ask("/readyz")).toEqual([200, '{"status":"ok"}']);
  expect(await ask("/metrics")).toEqual([200, "a 1\n"]);
  expect((await ask("/metrics", "POST"))[0]).toBe(404);
  expect((await ask("/rspp.registry.v1.RegistryService/ListPipelines"))[0]).toBe(404);
  const second = valuesOf("--probe-port", String(probes.port));
  await expect(
    startService(
      definitionOf(() => ({ routes: [keys] })),
      second,
    ),
  ).rejects.toThrow(/probe_port \d+ cannot be had/);
});

test("NF-015 what is to be mended around a service ends it with status 2, a defect or an outage with 1", () => {
  const mended = ["in_use", "storage_full", "permission", "invalid", "version_mismatch"] as const;
  expect(mended.map((code) => isConfiguration(new StoreError(code, "x", "y")))).toEqual(mended.map(() => true));
  expect(isConfiguration(new StoreError("unavailable", "x", "y"))).toBe(false);
  expect(isConfiguration(new TypeError("x"))).toBe(false);
});
