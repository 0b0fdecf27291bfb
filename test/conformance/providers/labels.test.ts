import type { ManagedProvider } from "@rspp/provider-gateway/attempt";
import { createProviderGateway } from "@rspp/provider-gateway/gateway";
import { systemClock } from "@rspp/provider-gateway/testing/clocks";
import { recorder, request } from "@rspp/provider-gateway/testing/recorder";
import { createAnthropicChat } from "@rspp/provider-gateway/vendors/anthropic/chat";
import { createCohereChat } from "@rspp/provider-gateway/vendors/cohere/chat";
import { createGeminiChat } from "@rspp/provider-gateway/vendors/gemini/chat";
import { createOpenAiChat } from "@rspp/provider-gateway/vendors/openai/chat";
import type { VendorAccess } from "@rspp/provider-gateway/vendors/vendor";
import { MetricRegistry } from "@rspp/telemetry/metric-registry";
import { expect, test } from "vitest";
import { startAnthropic } from "../../fakes/anthropic/server.ts";
import { startCohere } from "../../fakes/cohere/server.ts";
import type { Fake, Fault } from "../../fakes/fake.ts";
import { startGemini } from "../../fakes/gemini/server.ts";
import { startOpenAi } from "../../fakes/openai/server.ts";

const vendors: readonly (readonly [() => Promise<Fake>, (access: VendorAccess) => ManagedProvider])[] = [
  [startOpenAi, createOpenAiChat],
  [startAnthropic, createAnthropicChat],
  [startCohere, createCohereChat],
  [startGemini, createGeminiChat],
];
const clock = systemClock();

/** Series of one vendor's calls, without its name. */
async function seriesOf(start: () => Promise<Fake>, create: (access: VendorAccess) => ManagedProvider) {
  const fake = await start();
  fake.script({ reply: "Nine to six." });
  const provider = create({ clock, baseUrl: fake.baseUrl, key: () => fake.key, options: {} });
  const metrics = new MetricRegistry();
  const gateway = createProviderGateway({ clock, providers: [provider], metrics });
  const ask = async (fault: Fault): Promise<void> => {
    fake.fault(fault);
    const sink = recorder();
    const call = gateway.open(request({ modality: "llm", provider: provider.name }), sink);
    call.push({ kind: "messages", messages: [{ role: "user", text: "When?" }] });
    await sink.ended;
  };
  for (const fault of ["none", "rate_limited", "server_error", "garbage", "empty"] as const) await ask(fault);
  await gateway.close();
  await fake.close();
  const found = metrics.collect().filter(({ family }) => family.definition.name.startsWith("rspp_gateway_"));
  return found.flatMap(({ family }) =>
    family.series().map(({ labels: { provider: name, ...rest }, value }) => {
      expect(name).toBe(provider.name);
      // How many pieces it said the same words in is the vendor's own affair.
      const counted = "value" in value && rest.unit !== "chunks" ? value.value : 0;
      return `${family.definition.name} ${JSON.stringify(rest)} ${counted}`;
    }),
  );
}

test("F-065 vendors that answer and fail alike have the same series, but for their name", async () => {
  const [first, ...others] = await Promise.all(vendors.map(([start, create]) => seriesOf(start, create)));
  expect(first).toContain('rspp_gateway_calls_total {"modality":"llm","outcome":"overload","code":"429"} 1');
  expect(first).toContain('rspp_gateway_calls_total {"modality":"llm","outcome":"error","code":"malformed"} 1');
  for (const other of others) expect([...other].sort()).toEqual([...(first ?? [])].sort());
});
