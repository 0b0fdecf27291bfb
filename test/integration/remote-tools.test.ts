/** Tools behind a provider gateway of its own process's kind: over gRPC. */
import { createProviderGateway } from "@rspp/provider-gateway/gateway";
import { createSimLlm } from "@rspp/provider-gateway/sim/llm";
import { recorder, request } from "@rspp/provider-gateway/testing/recorder";
import { held, says, startWebhook } from "@rspp/provider-gateway/testing/tool-servers";
import { toolAccess } from "@rspp/provider-gateway/tools/access";
import { createHttpTool } from "@rspp/provider-gateway/tools/http";
import { createRemoteProviders } from "@rspp/remote/invocation-client";
import { expect, onTestFinished, test } from "vitest";
import { clock, serve, until } from "./invocation-rig.ts";

async function rig() {
  const hook = await startWebhook();
  const access = toolAccess({ origins: [hook.origin], commands: [], secrets: [] });
  const providers = [createSimLlm({ clock }), createHttpTool({ clock, access })];
  const gateway = createProviderGateway({ clock, providers });
  const served = await serve(gateway, providers);
  const remote = createRemoteProviders({ address: served.address, clock });
  expect(await remote.refresh()).toBe(true);
  onTestFinished(async () => {
    await remote.close();
    await served.stop();
    await gateway.close();
    await hook.close();
  });
  const call = (settings: Record<string, string>, key: string) => {
    const sink = recorder();
    const open = request({ modality: "tool", provider: "tool/http", idempotencyKey: key, attemptTimeoutMs: 5_000 });
    const invocation = remote.open({ ...open, invocationId: key, settings: { url: hook.url, ...settings } }, sink);
    invocation.push({ kind: "text", text: '{"a":1}', segment: 0 });
    invocation.finish();
    return { sink, invocation };
  };
  return { hook, remote, call };
}

test("X-03 over gRPC a model is offered tools, calls them, and is told the results of a webhook", async () => {
  const { hook, remote, call } = await rig();
  hook.answer = says({ opens: "nine" });
  const tool = call({ side_effect: "none" }, "s/tool/1/1");
  expect(await tool.sink.ended).toMatchObject({ kind: "success" });
  expect(tool.sink.text()).toBe('{"opens":"nine"}');
  expect(hook.hits[0]?.headers["idempotency-key"]).toBe("s/tool/1/1");
  const settings = { tool_calls: ['hours {"day":"monday"}'], tool_answers: ["hours => At {opens}."] };
  const tools = [{ name: "hours", description: "When.", parameters: '{"type":"object"}' }];
  const asked = recorder();
  const first = remote.open(request({ modality: "llm", provider: "sim/llm", settings, invocationId: "m1" }), asked);
  first.push({ kind: "messages", messages: [{ role: "user", text: "when" }], tools });
  first.finish();
  expect(await asked.ended).toMatchObject({ kind: "success" });
  const [made] = asked.chunks;
  if (made?.kind !== "tool_call") throw new Error("the model called no tool");
  expect(made).toMatchObject({ name: "hours", arguments: '{"day":"monday"}' });
  const told = recorder();
  const again = remote.open(request({ modality: "llm", provider: "sim/llm", settings, invocationId: "m2" }), told);
  const { kind: _, ...toolCall } = made;
  const messages = [
    { role: "user" as const, text: "when" },
    { role: "assistant" as const, text: "", toolCalls: [toolCall] },
    { role: "tool" as const, text: tool.sink.text(), callId: made.callId },
  ];
  again.push({ kind: "messages", messages, tools });
  again.finish();
  await told.ended;
  expect(told.text()).toBe("At nine.");
});

test("X-03 a runtime that goes away cuts off a harmless call and no side-effecting one", async () => {
  const { hook, remote, call } = await rig();
  const waiting = held();
  hook.answer = waiting.answer;
  call({ side_effect: "none" }, "s/tool/1/1");
  call({ side_effect: "side_effecting" }, "s/tool/1/2");
  await until(() => hook.hits.length === 2, "both calls");
  await remote.close();
  await until(() => hook.aborted === 1, "the harmless call to be cut off");
  waiting.release({ ordered: true });
  await until(() => hook.hits.length === 2, "no third call");
  expect(hook.aborted).toBe(1);
});
