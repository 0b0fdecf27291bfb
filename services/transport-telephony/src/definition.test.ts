import { create } from "@bufbuild/protobuf";
import {
  CreateRouteResponseSchema,
  InstanceService,
  RegistryService,
} from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { resolveConfig } from "@rspp/host/config";
import { type RunningService, startService } from "@rspp/host/start";
import { route } from "@rspp/rpc/route";
import { startRpcServer } from "@rspp/rpc/server";
import { expect, onTestFinished, test } from "vitest";
import { telephonyFields } from "./config.ts";
import { createTelephonyDefinition } from "./definition.ts";

async function adapter(...argv: string[]): Promise<RunningService> {
  const own = ["--port", "0", "--telephony-port", "0", "--log-level", "silent"];
  const config = resolveConfig(telephonyFields, { service: "transport-telephony", argv: [...own, ...argv], env: {} });
  if (!config.ok || "help" in config.value) throw new Error("no values");
  const running = await startService(createTelephonyDefinition(), config.value.values);
  onTestFinished(async () => void (await running.stop(0)));
  return running;
}

/** A registry that takes reports and gives routes. */
async function registry() {
  const told: string[] = [];
  const asked: { tenant: string; pipeline: string; version: number; transport: string; key: string }[] = [];
  const instances = route(InstanceService, {
    reportInstance: async function* (reports) {
      for await (const { status } of reports) {
        const [endpoint] = status?.endpoints ?? [];
        told.push(`${endpoint?.transport} ${endpoint?.url} ${status?.ready}`);
        yield { reportEveryMs: 20 };
      }
    },
  });
  const routes = route(RegistryService, {
    createRoute: (request) => {
      const { tenantId: tenant, pipelineName: pipeline, pipelineVersion: version, transport } = request;
      asked.push({ tenant, pipeline, version, transport, key: request.idempotencyKey });
      const endpoint = { transport, url: "wss://voice.example.com/v1/twilio/stream" };
      const pinned = { name: pipeline, version };
      return create(CreateRouteResponseSchema, {
        route: { session: { tenantId: tenant, sessionId: "s" }, pipeline: pinned, endpoint, token: "t" },
      });
    },
  });
  const server = await startRpcServer({ domain: "registry", port: 0, routes: [instances, routes] });
  onTestFinished(async () => void (await server.stop(0)));
  return { url: `http://127.0.0.1:${server.port}`, told, asked };
}

test("F-085 F-108 a call is admitted by its number at the registry, once however often the carrier asks", async () => {
  const { url, told, asked } = await registry();
  const running = await adapter("--registry", url, "--signature", "off", "--numbers", "+15550100=acme/phone-menu@3");
  const stream = running.ready.addresses.telephony ?? "";
  expect(told[0]).toBe(`telephony ${stream} true`);
  expect(stream).toMatch(/^ws:\/\/127\.0\.0\.1:\d+\/v1\/twilio\/stream$/);
  const voice = `http://${new URL(stream).host}/v1/twilio/voice`;
  const ask = (to: string) =>
    fetch(voice, { method: "POST", body: new URLSearchParams({ CallSid: "CA1", To: to, From: "+1" }) });
  const answer = await (await ask("+15550100")).text();
  expect(answer).toContain(
    '<Stream url="wss://voice.example.com/v1/twilio/stream"><Parameter name="token" value="t"/></Stream>',
  );
  expect(answer).toContain('<Redirect method="POST">https://voice.example.com/v1/twilio/next</Redirect>');
  await ask("+15550100");
  const once = { tenant: "acme", pipeline: "phone-menu", version: 3, transport: "telephony", key: "twilio:CA1" };
  expect(asked).toEqual([once, once]);
  expect(await (await ask("+15550101")).text()).toContain("<Reject");
  expect(asked).toHaveLength(2);
  const page = await (await fetch(`${running.ready.url}/metrics`)).text();
  expect(page).toMatch(/^rspp_telephony_refused_total\{reason="not_found"\} 1$/m);
});

test("F-085 the address that the carrier calls is told as it is given", async () => {
  const { url } = await registry();
  const running = await adapter(
    "--registry",
    url,
    "--numbers",
    "*=acme/echo",
    "--public-url",
    "https://voice.example.com",
  );
  expect(running.ready.addresses.telephony).toBe("wss://voice.example.com/v1/twilio/stream");
});

test.each([
  ["--numbers", "acme", /numbers.*number=tenant\/pipeline/],
  ["--after-url", "app", /after_url.*https:\/\/app/],
  ["--public-url", "voice.example.com", /public_url.*https:\/\/voice\.example\.com/],
])("NF-015 a wrong value of %s is named by its key", async (flag, value, message) => {
  const { url } = await registry();
  await expect(adapter("--registry", url, flag, value)).rejects.toThrow(message);
});
