/** The fake of Google Speech-to-Text as its vendor's own client meets it. */
import { SpeechClient } from "@google-cloud/speech";
import { credentials } from "@grpc/grpc-js";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type Fake, tonePcm } from "../fake.ts";
import { startGoogleSpeech } from "./server.ts";

const config = {
  encoding: "LINEAR16",
  sampleRateHertz: 16_000,
  languageCode: "en-US",
  enableWordTimeOffsets: true,
} as const;

let fake: Fake;
let client: SpeechClient;
beforeAll(async () => {
  fake = await startGoogleSpeech({ transcript: "Open at nine.", partials: ["Open"] });
  const { hostname, port } = new URL(fake.baseUrl);
  const sslCreds = credentials.createInsecure();
  const clientOptions = { universeDomain: "googleapis.com" };
  client = new SpeechClient({ apiEndpoint: hostname, port: Number(port), sslCreds, clientOptions });
});
afterEach(() => expect(fake.violations).toEqual([]));
afterAll(async () => {
  await client.close();
  await fake.close();
});

const withKey = (key: string) => ({ otherArgs: { headers: { "x-goog-api-key": key } } });

interface Told {
  readonly results?: { isFinal?: boolean; alternatives?: { transcript?: string; words?: object[] }[] }[];
}

test("the official client streams: an interim result, then a final one with the words' times", async () => {
  const stream = client.streamingRecognize({ config, interimResults: true }, withKey(fake.key));
  const told: Told[] = [];
  const ended = Promise.withResolvers<void>();
  stream.on("data", (response: Told) => told.push(response));
  stream.on("end", () => ended.resolve());
  stream.on("error", (error: Error) => ended.reject(error));
  stream.write(tonePcm(100, 16_000));
  stream.end();
  await ended.promise;
  const results = told.flatMap((response) => response.results ?? []);
  expect(results.map(({ isFinal = false, alternatives }) => [isFinal, alternatives?.[0]?.transcript])).toEqual([
    [false, "Open"],
    [true, "Open at nine."],
  ]);
  expect(results.at(-1)?.alternatives?.[0]?.words?.length).toBe(3);
});

test("the official client recognises in one request, and knows a refusal", async () => {
  const request = { config, audio: { content: tonePcm(100, 16_000) } };
  const [response] = await client.recognize(request, withKey(fake.key));
  expect(response.results?.[0]?.alternatives?.[0]?.transcript).toBe("Open at nine.");
  await expect(client.recognize(request, withKey("wrong"))).rejects.toMatchObject({ code: 16 });
  await expect(client.recognize({ ...request, config: { ...config, sampleRateHertz: 1 } }, withKey(fake.key)))
    .rejects //
    .toMatchObject({ code: 3 });
});

test("the official client hangs up in the middle", async () => {
  const stream = client._streamingRecognize(withKey(fake.key));
  stream.on("error", () => {});
  stream.write({ streamingConfig: { config, interimResults: true } });
  stream.write({ audioContent: tonePcm(100, 16_000) });
  await new Promise((resolve) => stream.once("data", resolve));
  stream.cancel();
  await expect.poll(() => fake.calls.at(-1)?.closedBy).toBe("client");
});
