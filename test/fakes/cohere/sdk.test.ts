import { Cohere, CohereClientV2 } from "cohere-ai";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Fake } from "../fake.ts";
import { called, closedByClient, hoursSchema, spoken } from "../sdk-checks.ts";
import { startCohere } from "./server.ts";

let fake: Fake;
const client = (token = fake.key) => new CohereClientV2({ token, environment: fake.baseUrl, maxRetries: 0 });
const asked = { model: "command-a-03-2025", messages: [{ role: "user" as const, content: "Hello?" }] };

beforeAll(async () => {
  fake = await startCohere();
});
afterAll(() => fake.close());

test("Cohere's SDK is answered by the fake, streamed, whole and with tool calls", async () => {
  fake.script(spoken);
  let text = "";
  for await (const event of await client().chatStream(asked))
    if (event.type === "content-delta") text += event.delta?.message?.content?.text ?? "";
  expect(text).toBe(spoken.reply);
  const whole = await client().chat(asked);
  expect(whole.message.content).toEqual([{ type: "text", text: spoken.reply }]);
  fake.script(called);
  const parameters = { ...hoursSchema };
  const tools = [{ type: "function" as const, function: { name: "hours", parameters } }];
  let args = "";
  for await (const event of await client().chatStream({ ...asked, tools }))
    if (event.type === "tool-call-delta") args += event.delta?.message?.toolCalls?.function?.arguments ?? "";
  expect(JSON.parse(args)).toEqual({ day: "monday" });
  expect(fake.violations).toEqual([]);
});

test("Cohere's SDK takes the fake's errors for what they are", async () => {
  await expect(client("other").chat(asked)).rejects.toBeInstanceOf(Cohere.UnauthorizedError);
  fake.fault("rate_limited", 1);
  await expect(client().chat(asked)).rejects.toBeInstanceOf(Cohere.TooManyRequestsError);
});

test("Cohere's SDK cancels, and the fake sees it", async () => {
  fake.script({ ...spoken, chunkMs: 50 });
  const at = fake.calls.length;
  const abort = new AbortController();
  const reading = (async () => {
    for await (const _ of await client().chatStream(asked, { abortSignal: abort.signal })) abort.abort();
  })();
  await expect(reading).rejects.toThrow();
  await closedByClient(fake, at);
});
