/**
 * The fake of ElevenLabs, driven by ElevenLabs' own SDK: of it only the client of speech, as the whole takes seconds to import.
 * The SDK has no client of the socket; that is driven by hand as the vendor's guide shows it.
 */
import { createRequire } from "node:module";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";
import type { Fake } from "../fake.ts";
import { startElevenLabsFake } from "./server.ts";

interface Speech {
  convertWithTimestamps(voice: string, request: object, options?: object): Promise<TimedAnswer>;
  stream(voice: string, request: object, options?: object): Promise<ReadableStream<Uint8Array>>;
  streamWithTimestamps(voice: string, request: object): Promise<AsyncIterable<TimedAnswer>>;
}
interface TimedAnswer {
  audioBase64: string;
  alignment?: { characters: string[]; characterStartTimesSeconds: number[] };
}

const { TextToSpeechClient } = createRequire(import.meta.url)(
  "@elevenlabs/elevenlabs-js/api/resources/textToSpeech/client/Client.js",
) as { TextToSpeechClient: new (options: object) => Speech };

let fake: Fake;
beforeAll(async () => {
  fake = await startElevenLabsFake();
});
afterAll(() => fake.close());
afterEach(() => {
  fake.fault("none");
  expect(fake.violations).toEqual([]);
});

const speech = (apiKey = fake.key) => new TextToSpeechClient({ apiKey, baseUrl: fake.baseUrl, maxRetries: 0 });
const asked = { text: "Hello there.", modelId: "eleven_flash_v2_5", outputFormat: "pcm_16000" };

test("F-055 ElevenLabs' SDK hears the fake speak, whole and streamed, with times", async () => {
  fake.script({ audioMs: 100 });
  const whole = await speech().convertWithTimestamps("voice1", asked);
  expect(Buffer.from(whole.audioBase64, "base64").length).toBe(3_200);
  expect(whole.alignment?.characters.join("")).toBe("Hello there.");
  let bytes = 0;
  for await (const part of await speech().streamWithTimestamps("voice1", asked))
    bytes += Buffer.from(part.audioBase64, "base64").length;
  expect(bytes).toBe(3_200);
  expect(fake.calls.at(-1)?.facts).toMatchObject({ voice: "voice1", model_id: "eleven_flash_v2_5" });
});

test("its errors are the SDK's errors", async () => {
  const once = { maxRetries: 0 };
  await expect(speech("wrong").convertWithTimestamps("v", asked, once)).rejects.toMatchObject({ statusCode: 401 });
  fake.fault("rate_limited");
  await expect(speech().convertWithTimestamps("v", asked, once)).rejects.toMatchObject({ statusCode: 429 });
});

test("a stream that is aborted is closed by the client", async () => {
  fake.script({ audioMs: 1_000, chunkMs: 20 });
  const abort = new AbortController();
  const stream = await speech().stream("v", asked, { abortSignal: abort.signal });
  await stream.getReader().read();
  abort.abort();
  await expect.poll(() => fake.calls.at(-1)?.closedBy).toBe("client");
});

test("the socket speaks at a flush, and ends after the empty text", async () => {
  fake.script({ audioMs: 100 });
  const url = `${fake.baseUrl.replace("http", "ws")}/v1/text-to-speech/v/stream-input?output_format=pcm_16000`;
  const socket = new WebSocket(url);
  const messages: { audio: string | null; isFinal: boolean | null; alignment: { chars: string[] } | null }[] = [];
  socket.on("message", (data) => messages.push(JSON.parse(String(data))));
  await new Promise((resolve) => socket.once("open", resolve));
  socket.send(JSON.stringify({ text: " ", xi_api_key: fake.key, voice_settings: { stability: 0.5 } }));
  socket.send(JSON.stringify({ text: "Hello ", flush: true }));
  await expect.poll(() => messages.length).toBe(3);
  socket.send(JSON.stringify({ text: "there. " }));
  socket.send(JSON.stringify({ text: "" }));
  await new Promise((resolve) => socket.once("close", resolve));
  expect(messages.flatMap(({ alignment }) => alignment?.chars ?? []).join("")).toBe("Hello there. ");
  expect(messages.at(-1)).toMatchObject({ audio: null, isFinal: true });
});
