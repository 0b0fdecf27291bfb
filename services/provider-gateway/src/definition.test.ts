import { createServer } from "node:http";
import { InstanceService, type ReportInstanceRequest } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { resolveConfig } from "@rspp/host/config";
import { startService } from "@rspp/host/start";
import { createSystemClock } from "@rspp/host/system-clock";
import { createRemoteProviders } from "@rspp/remote/invocation-client";
import { connectRpc } from "@rspp/rpc/clients";
import { route } from "@rspp/rpc/route";
import { startRpcServer } from "@rspp/rpc/server";
import { expect, onTestFinished, test } from "vitest";
import { gatewayDefinition } from "./definition.ts";
import { recorder, request } from "./testing/recorder.ts";

const clock = createSystemClock();

async function start(env: Record<string, string>, ...argv: string[]) {
  const definition = gatewayDefinition();
  const { service, fields } = definition;
  const quiet = ["--log-level", "silent", "--port", "0", "--stream-port", "0"];
  const config = resolveConfig(fields, { service, argv: [...quiet, ...argv], env });
  if (!config.ok || "help" in config.value) throw new Error(JSON.stringify(config));
  expect(JSON.stringify(config.value.shown)).not.toContain("sk-secret");
  const running = await startService(definition, config.value.values, { env });
  onTestFinished(async () => void (await running.stop(0)));
  const remote = createRemoteProviders({ address: `127.0.0.1:${running.ready.stream_port}`, clock });
  onTestFinished(() => remote.close());
  expect(await remote.refresh()).toBe(true);
  return { running, remote };
}

test("NF-011 the key is the gateway's own: a pipeline can name no other secret of its environment", async () => {
  const seen: (string | undefined)[] = [];
  const vendor = createServer((message, response) => {
    seen.push(message.headers.authorization);
    response.writeHead(401).end();
  });
  await new Promise<void>((resolve) => vendor.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void vendor.close());
  const address = vendor.address();
  const url = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
  const env = { VENDOR_KEY: "sk-secret-1", OTHER: "sk-secret-2" };
  const { remote } = await start(env, "--openai-base-url", url, "--openai-api-key", "env:VENDOR_KEY");
  expect(remote.providers()).toContain("openai/chat");
  const ask = async (api_key: string | null) => {
    const sink = recorder();
    const settings = api_key === null ? {} : { api_key };
    const invocation = remote.open(request({ modality: "llm", provider: "openai/chat", settings }), sink);
    invocation.push({ kind: "messages", messages: [{ role: "user", text: "hello" }] });
    return sink.ended;
  };
  expect((await ask("env:OTHER")).kind).toBe("unauthorized");
  expect(seen).toEqual([]);
  expect((await ask(null)).detail).toContain("HTTP 401");
  expect((await ask("env:VENDOR_KEY")).kind).toBe("unauthorized");
  expect(seen).toEqual(["Bearer sk-secret-1", "Bearer sk-secret-1"]);
});

test("F-159 the gateway is seen in the registry: role, address of its stream port, and that it drains", async () => {
  const reports: ReportInstanceRequest[] = [];
  const reportInstance = async function* (requests: AsyncIterable<ReportInstanceRequest>) {
    for await (const report of requests) {
      reports.push(report);
      yield { reportEveryMs: 20 };
    }
  };
  const registry = await startRpcServer({
    domain: "registry",
    port: 0,
    routes: [route(InstanceService, { reportInstance })],
  });
  onTestFinished(async () => void (await registry.stop(0)));
  const { running, remote } = await start({}, "--registry", `http://127.0.0.1:${registry.port}`, "--region", "eu");
  await expect.poll(() => reports.length).toBeGreaterThan(0);
  expect(reports[0]?.status).toMatchObject({
    role: "provider-gateway",
    address: `127.0.0.1:${running.ready.stream_port}`,
    region: "eu",
    capacitySessions: 1_024,
    ready: true,
  });
  const rpc = connectRpc({ baseUrl: running.ready.url, domain: "provider-gateway" });
  expect(rpc).toBeDefined();
  await remote.close();
  expect(await running.stop(500)).toBe(true);
  expect(reports.at(-1)?.status).toMatchObject({ draining: true, ready: false });
});

test("F-060 F-066 the gateway tells the registry how its providers are, whether it can open them, and what they cost", async () => {
  const reports: ReportInstanceRequest[] = [];
  const reportInstance = async function* (requests: AsyncIterable<ReportInstanceRequest>) {
    for await (const report of requests) {
      reports.push(report);
      yield { reportEveryMs: 20 };
    }
  };
  const registry = await startRpcServer({
    domain: "registry",
    port: 0,
    routes: [route(InstanceService, { reportInstance })],
  });
  onTestFinished(async () => void (await registry.stop(0)));
  const { remote } = await start(
    {},
    ...["--registry", `http://127.0.0.1:${registry.port}`, "--provider-prices", "sim/llm=120, sim/tts=40"],
  );
  const last = (provider: string) => reports.at(-1)?.providerHealth.find((one) => one.provider === provider);
  await expect.poll(() => last("sim/llm")).toMatchObject({ priceMicros: 120n, available: true, circuit: 1 });
  expect(last("sim/tts")).toMatchObject({ priceMicros: 40n });
  expect(last("sim/stt")?.priceMicros).toBeUndefined();
  expect(last("openai/chat")).toMatchObject({ available: false });
  for (let i = 0; i < 6; i++) {
    const sink = recorder();
    const settings = { fault: "error" };
    remote.open(request({ modality: "llm", provider: "sim/llm", settings }), sink).finish();
    await sink.ended;
  }
  await expect.poll(() => last("sim/llm")?.circuit).toBe(2);
  await expect(start({}, "--provider-prices", "sim/llm=cheap")).rejects.toThrow();
});
