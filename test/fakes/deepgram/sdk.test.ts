/** The fake of Deepgram as its vendor's own client meets it. */
import { DeepgramClient } from "@deepgram/sdk";
import { bytesToS16 } from "@rspp/audio/pcm";
import { writeWav } from "@rspp/audio/wav";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type Fake, tonePcm } from "../fake.ts";
import { startDeepgram } from "./server.ts";

let fake: Fake;
beforeAll(async () => {
  fake = await startDeepgram({ transcript: "Open at nine.", partials: ["Open"] });
});
afterEach(() => {
  fake.fault("none");
  expect(fake.violations).toEqual([]);
});
afterAll(() => fake.close());

const client = (key = fake.key) => new DeepgramClient({ apiKey: key, baseUrl: fake.baseUrl, maxRetries: 0 });

async function live(apiKey?: string) {
  const socket = await client(apiKey).listen.v1.connect({
    model: "nova-3",
    encoding: "linear16",
    sample_rate: 16_000,
    interim_results: "true",
    keyterm: ["Quark", "Gluon"],
    reconnectAttempts: 0,
  });
  const messages: { type: string }[] = [];
  const closed = Promise.withResolvers<void>();
  socket.on("message", (message) => messages.push(message as { type: string }));
  socket.on("close", () => closed.resolve());
  socket.on("error", () => closed.resolve());
  socket.connect();
  return { socket, messages, closed: closed.promise };
}

test("the official client transcribes live: interim and final results, metadata at the end", async () => {
  const { socket, messages, closed } = await live();
  await socket.waitForOpen();
  socket.sendMedia(tonePcm(100, 16_000));
  socket.sendKeepAlive({ type: "KeepAlive" });
  socket.sendFinalize({ type: "Finalize" });
  socket.sendCloseStream({ type: "CloseStream" });
  await closed;
  expect(messages.map(({ type }) => type)).toEqual(["Results", "Results", "Metadata"]);
  expect(messages[1]).toMatchObject({ is_final: true, channel: { alternatives: [{ transcript: "Open at nine." }] } });
  expect(fake.calls.at(-1)?.facts).toMatchObject({
    model: "nova-3",
    keyterm: ["Quark", "Gluon"],
    sample_rate: "16000",
  });
});

test("the official client transcribes a recording, and knows a refusal", async () => {
  const wav = writeWav(bytesToS16(tonePcm(100, 16_000)), { rateHz: 16_000, channels: 1 });
  const { media } = client().listen.v1;
  expect(await media.transcribeFile(wav, { model: "nova-3" })).toMatchObject({
    results: { channels: [{ alternatives: [{ transcript: "Open at nine.", words: [{}, {}, {}] }] }] },
  });
  const refused = client("wrong").listen.v1.media.transcribeFile(wav, { model: "nova-3" });
  await expect(refused).rejects.toMatchObject({ statusCode: 401, body: { err_code: "INVALID_AUTH" } });
  await expect(media.transcribeFile(tonePcm(100, 16_000), { model: "nova-3" })).rejects.toMatchObject({
    statusCode: 400,
  });
  fake.fault("rate_limited", 1);
  await expect(media.transcribeFile(wav, { model: "nova-3" })).rejects.toMatchObject({ statusCode: 429 });
});

test("the official client hangs up in the middle, and is refused with a wrong key", async () => {
  const { socket, closed } = await live();
  await socket.waitForOpen();
  socket.sendMedia(tonePcm(100, 16_000));
  socket.close();
  await closed;
  await expect.poll(() => fake.calls.at(-1)?.closedBy).toBe("client");
  const refused = await live("wrong");
  await refused.closed;
  expect(refused.messages).toEqual([]);
  refused.socket.close();
});
