/** The fake of Amazon Polly, driven by Amazon's own SDK. */
import { createRequire } from "node:module";
import { PollyClient, type PollyClientConfig, SynthesizeSpeechCommand } from "@aws-sdk/client-polly";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Fake } from "../fake.ts";
import { pollyKeyId, pollyRegion, startPollyFake } from "./server.ts";

/** The SDK's own handler of HTTP/1.1; by default this client speaks HTTP/2, which the fake does not. */
const here = createRequire(import.meta.url);
const { NodeHttpHandler } = createRequire(here.resolve("@aws-sdk/client-polly"))("@smithy/node-http-handler") as {
  NodeHttpHandler: new () => NonNullable<PollyClientConfig["requestHandler"]>;
};

let fake: Fake;
const clients: PollyClient[] = [];
beforeAll(async () => {
  fake = await startPollyFake();
});
afterAll(async () => {
  for (const client of clients) client.destroy();
  await fake.close();
});
afterEach(() => {
  fake.fault("none");
  expect(fake.violations).toEqual([]);
});

function client(secretAccessKey = fake.key, accessKeyId = pollyKeyId): PollyClient {
  const credentials = { accessKeyId, secretAccessKey };
  const requestHandler = new NodeHttpHandler();
  const made = new PollyClient({
    ...{ region: pollyRegion, endpoint: fake.baseUrl, credentials, requestHandler, maxAttempts: 1 },
  });
  clients.push(made);
  return made;
}

const pcm = {
  Text: "Hello there.",
  VoiceId: "Joanna",
  Engine: "neural",
  OutputFormat: "pcm",
  SampleRate: "8000",
} as const;

test("F-055 Amazon's SDK hears the fake speak, and reads its speech marks", async () => {
  fake.script({ audioMs: 100 });
  const answer = await client().send(new SynthesizeSpeechCommand(pcm));
  expect((await answer.AudioStream?.transformToByteArray())?.length).toBe(1_600);
  const { SampleRate: _, ...rest } = pcm;
  const json = { ...rest, OutputFormat: "json", SpeechMarkTypes: ["word"] } as const;
  const marks = await client().send(new SynthesizeSpeechCommand({ ...json, SpeechMarkTypes: ["word"] }));
  const lines = (await marks.AudioStream?.transformToString())?.trim().split("\n") ?? [];
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { type: "word", start: 0, end: 5, value: "Hello" },
    { type: "word", start: 6, end: 11, value: "there" },
  ]);
});

test("NF-011 a signature of another secret or key id is refused, and the rest are the SDK's errors", async () => {
  const command = () => new SynthesizeSpeechCommand(pcm);
  await expect(client("other").send(command())).rejects.toMatchObject({ name: "InvalidSignatureException" });
  await expect(client(fake.key, "AKIDOTHER").send(command())).rejects.toMatchObject({
    ...{ name: "UnrecognizedClientException", $metadata: { httpStatusCode: 403 } },
  });
  fake.fault("rate_limited");
  await expect(client().send(command())).rejects.toMatchObject({ name: "ThrottlingException" });
});

test("a request that is aborted is closed by the client", async () => {
  fake.script({ audioMs: 1_000, chunkMs: 20 });
  const abort = new AbortController();
  const answer = await client().send(new SynthesizeSpeechCommand(pcm), { abortSignal: abort.signal });
  const body = answer.AudioStream as unknown as AsyncIterable<Uint8Array> & { destroy(): void };
  for await (const bytes of body) {
    expect(bytes.length).toBeGreaterThan(0);
    abort.abort();
    break;
  }
  body.destroy();
  await expect.poll(() => fake.calls.at(-1)?.closedBy).toBe("client");
});
