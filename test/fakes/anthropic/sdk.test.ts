import Anthropic, { AuthenticationError, RateLimitError } from "@anthropic-ai/sdk";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Fake } from "../fake.ts";
import { called, closedByClient, hoursSchema, spoken } from "../sdk-checks.ts";
import { startAnthropic } from "./server.ts";

let fake: Fake;
const client = (apiKey = fake.key) => new Anthropic({ apiKey, baseURL: fake.baseUrl, maxRetries: 0 });
const asked = { model: "claude-haiku-4-5", max_tokens: 50, messages: [{ role: "user" as const, content: "Hello?" }] };

beforeAll(async () => {
  fake = await startAnthropic();
});
afterAll(() => fake.close());

test("Anthropic's SDK is answered by the fake, streamed, whole and with tool calls", async () => {
  fake.script(spoken);
  const streamed = await client().messages.stream(asked).finalMessage();
  expect(streamed.content).toMatchObject([{ type: "text", text: spoken.reply }]);
  expect(streamed).toMatchObject({ stop_reason: "end_turn", usage: { input_tokens: 11, output_tokens: 7 } });
  const whole = await client().messages.create(asked);
  expect(whole.content).toMatchObject([{ type: "text", text: spoken.reply }]);
  fake.script(called);
  const tools = [{ name: "hours", input_schema: hoursSchema }];
  const calling = await client()
    .messages.stream({ ...asked, tools })
    .finalMessage();
  expect(calling.content).toMatchObject([{ type: "tool_use", name: "hours", input: { day: "monday" } }]);
  expect(fake.violations).toEqual([]);
});

test("Anthropic's SDK takes the fake's errors for what they are", async () => {
  await expect(client("sk-other").messages.create(asked)).rejects.toBeInstanceOf(AuthenticationError);
  fake.fault("rate_limited", 1);
  await expect(client().messages.create(asked)).rejects.toBeInstanceOf(RateLimitError);
});

test("Anthropic's SDK cancels, and the fake sees it", async () => {
  fake.script({ ...spoken, chunkMs: 50 });
  const at = fake.calls.length;
  for await (const _ of await client().messages.create({ ...asked, stream: true })) break;
  await closedByClient(fake, at);
});
