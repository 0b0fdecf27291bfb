import OpenAI, { AuthenticationError, RateLimitError } from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Fake } from "../fake.ts";
import { called, closedByClient, hoursSchema, spoken } from "../sdk-checks.ts";
import { startOpenAi } from "./server.ts";

let fake: Fake;
const client = (apiKey = fake.key) => new OpenAI({ apiKey, baseURL: fake.baseUrl, maxRetries: 0 });
const messages = [{ role: "user" as const, content: "Hello?" }];

beforeAll(async () => {
  fake = await startOpenAi();
});
afterAll(() => fake.close());

test("OpenAI's SDK is answered by the fake, streamed, whole and with tool calls", async () => {
  fake.script(spoken);
  const stream = await client().chat.completions.create({ model: "m", messages, stream: true });
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
  expect(text).toBe(spoken.reply);
  const whole = await client().chat.completions.create({ model: "m", messages });
  expect(whole.choices[0]?.message.content).toBe(spoken.reply);
  fake.script(called);
  const tools = [{ type: "function" as const, function: { name: "hours", parameters: hoursSchema } }];
  const calling = client().chat.completions.stream({ model: "m", messages, tools });
  const [call] = (await calling.finalMessage()).tool_calls ?? [];
  expect(call).toMatchObject({ function: { name: "hours", arguments: '{"day":"monday"}' } });
  expect(fake.violations).toEqual([]);
});

test("OpenAI's SDK takes the fake's errors for what they are", async () => {
  const ask = (one: OpenAI) => one.chat.completions.create({ model: "m", messages });
  await expect(ask(client("sk-other"))).rejects.toBeInstanceOf(AuthenticationError);
  fake.fault("rate_limited", 1);
  await expect(ask(client())).rejects.toBeInstanceOf(RateLimitError);
});

test("OpenAI's SDK cancels, and the fake sees it", async () => {
  fake.script({ ...spoken, chunkMs: 50 });
  const at = fake.calls.length;
  const stream = await client().chat.completions.create({ model: "m", messages, stream: true });
  for await (const _ of stream) break;
  await closedByClient(fake, at);
});
