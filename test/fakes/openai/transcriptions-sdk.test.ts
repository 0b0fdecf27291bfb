/** The fake of OpenAI's transcriptions as its vendor's own client meets it. */
import { bytesToS16 } from "@rspp/audio/pcm";
import { writeWav } from "@rspp/audio/wav";
import OpenAI, { toFile } from "openai";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type Fake, tonePcm } from "../fake.ts";
import { startOpenAiTranscriptions } from "./transcriptions.ts";

let fake: Fake;
beforeAll(async () => {
  fake = await startOpenAiTranscriptions({ transcript: "Open at nine.", partials: ["Open"] });
});
afterEach(() => {
  fake.fault("none");
  expect(fake.violations).toEqual([]);
});
afterAll(() => fake.close());

const client = (apiKey = fake.key) => new OpenAI({ apiKey, baseURL: fake.baseUrl, maxRetries: 0 });
const wav = () =>
  toFile(writeWav(bytesToS16(tonePcm(100, 16_000)), { rateHz: 16_000, channels: 1 }), "a.wav", { type: "audio/wav" });

test("the official client transcribes: whole, with words, and streamed", async () => {
  const { transcriptions } = client().audio;
  const whole = await transcriptions.create({ file: await wav(), model: "gpt-4o-transcribe", include: ["logprobs"] });
  expect(whole).toMatchObject({ text: "Open at nine.", logprobs: [{}, {}, {}] });
  const words = await transcriptions.create({
    file: await wav(),
    model: "whisper-1",
    response_format: "verbose_json",
    timestamp_granularities: ["word"],
  });
  expect(words.words?.length).toBe(3);
  const types: string[] = [];
  const stream = await transcriptions.create({ file: await wav(), model: "gpt-4o-transcribe", stream: true });
  for await (const event of stream) types.push(event.type);
  expect(types).toEqual(["transcript.text.delta", "transcript.text.delta", "transcript.text.done"]);
});

test("the official client knows errors, and hangs up in the middle", async () => {
  const asked = { file: await wav(), model: "gpt-4o-transcribe" } as const;
  const refused = client("wrong").audio.transcriptions.create(asked);
  await expect(refused).rejects.toMatchObject({ status: 401, code: "invalid_api_key" });
  const { transcriptions } = client().audio;
  const format = transcriptions.create({ ...asked, response_format: "srt" });
  await expect(format).rejects.toMatchObject({ status: 400, param: "response_format" });
  fake.fault("rate_limited", 1);
  await expect(transcriptions.create(asked)).rejects.toMatchObject({ status: 429, code: "rate_limit_exceeded" });
  fake.script({ transcript: "Open at nine.", partials: ["Open"], chunkMs: 1_000 });
  for await (const event of await transcriptions.create({ ...asked, stream: true })) {
    expect(event.type).toBe("transcript.text.delta");
    break;
  }
  await expect.poll(() => fake.calls.at(-1)?.closedBy).toBe("client");
});
