/** The fake of Google's Text-to-Speech, driven by Google's own client. */
import { createRequire } from "node:module";
import { TextToSpeechClient } from "@google-cloud/text-to-speech";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Fake } from "../fake.ts";
import { startGoogleTtsFake } from "./server.ts";

const here = createRequire(import.meta.url);
const { grpc } = createRequire(here.resolve("@google-cloud/text-to-speech"))("google-gax") as {
  grpc: { credentials: { createInsecure(): object } };
};

let fake: Fake;
let client: TextToSpeechClient;
beforeAll(async () => {
  fake = await startGoogleTtsFake();
  const { hostname, port } = new URL(fake.baseUrl);
  const sslCreds = grpc.credentials.createInsecure() as never;
  const clientOptions = { universeDomain: "googleapis.com" };
  client = new TextToSpeechClient({ apiEndpoint: hostname, port: Number(port), sslCreds, clientOptions });
});
afterAll(async () => {
  await client.close();
  await fake.close();
});
afterEach(() => {
  fake.fault("none");
  expect(fake.violations).toEqual([]);
});

const options = (key = fake.key) => ({ otherArgs: { headers: { "x-goog-api-key": key } }, maxRetries: 0 });
const voice = { languageCode: "en-US", name: "en-US-Chirp3-HD-Aoede" };
const whole = {
  input: { text: "Hello there." },
  voice,
  audioConfig: { audioEncoding: "LINEAR16" as const, sampleRateHertz: 16_000 },
};
const streamingConfig = { voice, streamingAudioConfig: { audioEncoding: "PCM" as const, sampleRateHertz: 16_000 } };

test("F-055 Google's client hears the fake speak, in one answer and as a stream of several texts", async () => {
  fake.script({ audioMs: 100 });
  const [{ audioContent }] = await client.synthesizeSpeech(whole, options());
  expect((audioContent as Buffer).length).toBe(44 + 3_200);
  const call = client.streamingSynthesize(options());
  call.write({ streamingConfig });
  call.write({ input: { text: "Hello " } });
  let bytes = 0;
  let more = true;
  for await (const answer of call as AsyncIterable<{ audioContent: Buffer }>) {
    bytes += answer.audioContent.length;
    // The first text is spoken before the second is sent.
    if (bytes === 3_200 && more) {
      more = false;
      call.write({ input: { text: "there." } });
      call.end();
    }
  }
  expect(bytes).toBe(6_400);
  expect(fake.calls.at(-1)?.facts).toMatchObject({ texts: ["Hello ", "there."], language: "en-US" });
});

test("its errors are the client's errors", async () => {
  await expect(client.synthesizeSpeech(whole, options("wrong"))).rejects.toMatchObject({ code: 16 });
  fake.fault("rate_limited");
  await expect(client.synthesizeSpeech(whole, options())).rejects.toMatchObject({ code: 8 });
});

test("a stream that is cancelled is closed by the client", async () => {
  fake.script({ audioMs: 1_000, chunkMs: 20 });
  const call = client.streamingSynthesize(options());
  call.on("error", () => {});
  call.write({ streamingConfig });
  call.write({ input: { text: "Hello there." } });
  await new Promise((resolve) => call.once("data", resolve));
  call.cancel();
  await expect.poll(() => fake.calls.at(-1)?.closedBy).toBe("client");
});
