/** The fake of OpenAI's speech, driven by OpenAI's own SDK. */
import OpenAI from "openai";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Fake } from "../fake.ts";
import { startOpenAiSpeechFake } from "./speech.ts";

let fake: Fake;
beforeAll(async () => {
  fake = await startOpenAiSpeechFake();
});
afterAll(() => fake.close());
afterEach(() => {
  fake.fault("none");
  expect(fake.violations).toEqual([]);
});

const client = (apiKey = fake.key) => new OpenAI({ apiKey, baseURL: fake.baseUrl, maxRetries: 0 });
const asked = { model: "gpt-4o-mini-tts", voice: "alloy", input: "Hello there.", response_format: "pcm" } as const;

test("F-055 OpenAI's SDK hears the fake speak, whole and as events", async () => {
  fake.script({ audioMs: 100 });
  const answer = await client().audio.speech.create({ ...asked, speed: 1.25 });
  expect((await answer.arrayBuffer()).byteLength).toBe(4_800);
  expect(fake.calls.at(-1)?.facts).toMatchObject({ voice: "alloy", input: "Hello there.", speed: 1.25 });
  const events = await client().audio.speech.create({ ...asked, stream_format: "sse" });
  expect(await events.text()).toMatch(/speech\.audio\.delta[\s\S]*speech\.audio\.done/);
});

test("its errors are the SDK's errors", async () => {
  await expect(client("sk-wrong").audio.speech.create(asked)).rejects.toBeInstanceOf(OpenAI.AuthenticationError);
  fake.fault("rate_limited");
  await expect(client().audio.speech.create(asked)).rejects.toBeInstanceOf(OpenAI.RateLimitError);
});

test("a request that is aborted is closed by the client", async () => {
  fake.script({ audioMs: 1_000, chunkMs: 20 });
  const abort = new AbortController();
  const answer = await client().audio.speech.create(asked, { signal: abort.signal });
  const reader = answer.body?.getReader();
  await reader?.read();
  abort.abort();
  await expect.poll(() => fake.calls.at(-1)?.closedBy).toBe("client");
});
