import { ApiError, GoogleGenAI } from "@google/genai";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Fake } from "../fake.ts";
import { called, closedByClient, hoursSchema, spoken } from "../sdk-checks.ts";
import { startGemini } from "./server.ts";

let fake: Fake;
const client = (apiKey = fake.key) =>
  new GoogleGenAI({ apiKey, vertexai: false, httpOptions: { baseUrl: fake.baseUrl } });
const asked = { model: "gemini-2.5-flash", contents: "Hello?" };

beforeAll(async () => {
  fake = await startGemini();
});
afterAll(() => fake.close());

test("Google's SDK is answered by the fake, streamed, whole and with tool calls", async () => {
  fake.script(spoken);
  let text = "";
  for await (const event of await client().models.generateContentStream(asked)) text += event.text ?? "";
  expect(text).toBe(spoken.reply);
  expect((await client().models.generateContent(asked)).text).toBe(spoken.reply);
  fake.script(called);
  const tools = [{ functionDeclarations: [{ name: "hours", parametersJsonSchema: hoursSchema }] }];
  const calling = await client().models.generateContent({ ...asked, config: { tools } });
  expect(calling.functionCalls).toMatchObject([{ name: "hours", args: { day: "monday" } }]);
  expect(fake.violations).toEqual([]);
});

test("Google's SDK takes the fake's errors for what they are", async () => {
  const ask = (one: GoogleGenAI) => one.models.generateContent(asked);
  await expect(ask(client("other"))).rejects.toMatchObject({
    status: 400,
    message: expect.stringContaining("API_KEY"),
  });
  fake.fault("rate_limited", 1);
  const limited = ask(client());
  await expect(limited).rejects.toBeInstanceOf(ApiError);
  await expect(limited).rejects.toMatchObject({ status: 429 });
});

test("Google's SDK cancels, and the fake sees it", async () => {
  fake.script({ ...spoken, chunkMs: 50 });
  const at = fake.calls.length;
  const abort = new AbortController();
  const reading = (async () => {
    const stream = await client().models.generateContentStream({ ...asked, config: { abortSignal: abort.signal } });
    for await (const _ of stream) abort.abort();
  })();
  await expect(reading).rejects.toThrow();
  await closedByClient(fake, at);
});
