/** What vendors' voices have in common beyond the suite: overlap with the text, formats, words' times, pronunciations, settings. */
import type { InvocationChunk, SettingValue } from "@rspp/ports/provider";
import type { ManagedProvider } from "@rspp/provider-gateway/attempt";
import { systemClock } from "@rspp/provider-gateway/testing/clocks";
import { type Recorder, recorder, request } from "@rspp/provider-gateway/testing/recorder";
import { createElevenLabsTts } from "@rspp/provider-gateway/vendors/elevenlabs/tts";
import { createGoogleTts } from "@rspp/provider-gateway/vendors/google/tts";
import { createOpenAiTts } from "@rspp/provider-gateway/vendors/openai/tts";
import { createPollyTts } from "@rspp/provider-gateway/vendors/polly/tts";
import type { VendorAccess } from "@rspp/provider-gateway/vendors/vendor";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { startElevenLabsFake } from "../../fakes/elevenlabs/server.ts";
import type { Fake } from "../../fakes/fake.ts";
import { startGoogleTtsFake } from "../../fakes/google-tts/server.ts";
import { startOpenAiSpeechFake } from "../../fakes/openai/speech.ts";
import { pollyKeyId, pollyRegion, startPollyFake } from "../../fakes/polly/server.ts";

type Create = (access: VendorAccess) => ManagedProvider;
const makers: readonly (readonly [string, () => Promise<Fake>, Create])[] = [
  ["elevenlabs/tts", startElevenLabsFake, createElevenLabsTts],
  ["google/tts", startGoogleTtsFake, createGoogleTts],
  ["polly/tts", startPollyFake, createPollyTts],
  ["openai/tts", startOpenAiSpeechFake, createOpenAiTts],
];
const names = makers.map(([name]) => name);

type Settings = Record<string, SettingValue>;
const clock = systemClock();
const fakes = new Map<string, Fake>();
const voices = new Map<string, ManagedProvider>();
const fakeOf = (name: string): Fake => fakes.get(name) as Fake;

beforeAll(async () => {
  for (const [name, start, create] of makers) {
    const fake = await start();
    // Polly's key id stands with its secret, so that both change together.
    const key = name === "polly/tts" ? `${pollyKeyId}:${fake.key}` : fake.key;
    fakes.set(name, fake);
    voices.set(name, create({ clock, baseUrl: fake.baseUrl, key: () => key, options: { region: pollyRegion } }));
  }
});
afterAll(async () => {
  for (const voice of voices.values()) await voice.close?.();
  for (const fake of fakes.values()) await fake.close();
});
afterEach(() => {
  for (const fake of fakes.values()) {
    fake.fault("none");
    expect(fake.violations).toEqual([]);
  }
});

function open(name: string, settings: Settings = {}, onChunk?: (chunk: InvocationChunk) => void) {
  const sink = recorder(onChunk);
  const voice = voices.get(name) as ManagedProvider;
  return { sink, invocation: voice.open(request({ modality: "tts", provider: name, settings }), sink) };
}

async function say(name: string, clauses: readonly string[], settings: Settings = {}) {
  const { sink, invocation } = open(name, settings);
  for (const [segment, text] of clauses.entries()) invocation.push({ kind: "text", text, segment });
  invocation.finish();
  return { sink, outcome: await sink.ended, facts: fakeOf(name).calls.at(-1)?.facts ?? {} };
}

const audioOf = (sink: Recorder) => sink.chunks.flatMap((chunk) => (chunk.kind === "audio" ? [chunk] : []));

describe("overlap", () => {
  test.each(names)("F-064 %s: the first audio comes before the last text, and is cut by a barge-in", async (name) => {
    fakeOf(name).script({ audioMs: 200, chunkMs: 1 });
    const heard = Promise.withResolvers<void>();
    const { sink, invocation } = open(name, {}, () => heard.resolve());
    invocation.push({ kind: "text", text: "One moment, please.", segment: 0 });
    await heard.promise;
    invocation.push({ kind: "text", text: "Here it is.", segment: 1 });
    invocation.finish();
    expect(await sink.ended).toMatchObject({ kind: "success", usage: { characters: 30 } });
    expect(audioOf(sink).flatMap(({ segment, segmentEnd }) => (segmentEnd ? [segment] : []))).toEqual([0, 1]);

    fakeOf(name).script({ audioMs: 2_000, chunkMs: 20 });
    const begun = Promise.withResolvers<void>();
    const second = open(name, {}, () => begun.resolve());
    second.invocation.push({ kind: "text", text: "A long story about very little.", segment: 0 });
    await begun.promise;
    const { length } = second.sink.chunks;
    second.invocation.cancel("barge_in");
    expect(second.sink.outcomes).toEqual([{ kind: "cancelled", detail: "cancelled" }]);
    const cancelledMs = performance.now();
    await expect.poll(() => fakeOf(name).calls.at(-1)?.closedBy, { interval: 1 }).toBe("client");
    expect((fakeOf(name).calls.at(-1)?.closedMs ?? 0) - cancelledMs).toBeLessThan(250);
    expect(second.sink.chunks.length).toBe(length);
  });

  test.each(names)("%s: what no voice can say is told without asking the vendor", async (name) => {
    const before = fakeOf(name).calls.length;
    const { sink, outcome } = await say(name, ["…"], { streaming: false });
    expect(outcome.kind).toBe("success");
    expect(sink.chunks).toMatchObject([{ segment: 0, segmentEnd: true, segmentChars: 1, durationUs: 20_000 }]);
    expect(fakeOf(name).calls.length).toBe(before);
  });
});

describe("formats", () => {
  const formats = [
    ["pcm_8000", "pcm_s16le", 8_000, 320],
    ["pcm_24000", "pcm_s16le", 24_000, 960],
    ["mulaw_8000", "mulaw", 8_000, 160],
  ] as const;
  test.each(names)("F-055 %s gives the format that is asked for", async (name) => {
    fakeOf(name).script({ audioMs: 200 });
    for (const [output_format, codec, rateHz, bytes] of formats) {
      const { sink, outcome } = await say(name, ["Hello there."], { output_format });
      expect(outcome).toMatchObject({ kind: "success", usage: { audioUs: 200_000 } });
      for (const chunk of audioOf(sink)) {
        expect(chunk.format).toEqual({ codec, rateHz, channels: 1 });
        expect([chunk.bytes.length, chunk.durationUs]).toEqual([bytes, 20_000]);
      }
    }
    expect((await say(name, ["Hi."], { output_format: "mp3" })).outcome.detail).toContain("`output_format`");
  });
});

describe("words", () => {
  const clauses = ["Déjà vu, my friend.", "It rains."];
  const timed: readonly (readonly [string, Settings])[] = [
    ["elevenlabs/tts", {}],
    ["elevenlabs/tts", { streaming: false }],
    ["polly/tts", { word_timings: true }],
    ["polly/tts", { word_timings: true, rate: 1.2 }],
  ];
  test.each(timed)(
    "F-064 %s %o tells where each word stands in its clause and when it sounds",
    async (name, settings) => {
      fakeOf(name).script({ audioMs: 400 });
      const { sink, outcome } = await say(name, clauses, settings);
      expect(outcome.kind).toBe("success");
      for (const [segment, clause] of clauses.entries()) {
        const lists = audioOf(sink).flatMap((chunk) => (chunk.segment === segment && chunk.words ? [chunk.words] : []));
        const words = lists.at(-1) ?? [];
        const bare = (text: string): string => text.replace(/[^\p{L} ]/gu, "");
        expect(words.map(({ from, to }) => bare(clause.slice(from, to)))).toEqual(bare(clause).split(" "));
        // A later list only goes on where the one before ended.
        for (const list of lists) expect(words.slice(0, list.length)).toEqual(list);
        let last = 0;
        for (const { startUs, endUs } of words) {
          expect(startUs).toBeGreaterThanOrEqual(last);
          expect(endUs).toBeGreaterThan(startUs);
          last = startUs;
        }
      }
    },
  );

  test("polly/tts asks for no marks unless told to", async () => {
    const before = fakeOf("polly/tts").calls.length;
    const { sink } = await say("polly/tts", ["Hello there."]);
    expect(fakeOf("polly/tts").calls.length).toBe(before + 1);
    expect(audioOf(sink).every(({ words }) => words === undefined)).toBe(true);
  });
});

describe("pronunciations", () => {
  const spoken = { pronunciations: ["ACME=ˈækmi", "other=ˈʌðə"] };
  const element = '<phoneme alphabet="ipa" ph="ˈækmi">ACME</phoneme>';
  test("X-09 elevenlabs/tts: as elements, for the models that take them", async () => {
    const marked = await say("elevenlabs/tts", ["Ask ACME & co."], { ...spoken, model: "eleven_flash_v2" });
    expect(marked.facts).toMatchObject({ ssml: "true", texts: [`Ask ${element} &#38; co. `] });
    expect(audioOf(marked.sink).filter(({ segmentEnd }) => segmentEnd).length).toBe(1);
    expect((await say("elevenlabs/tts", ["Ask ACME."], spoken)).facts).toMatchObject({ texts: ["Ask ACME. "] });
    const stored = await say("elevenlabs/tts", ["Ask ACME."], { pronunciation_dictionaries: ["dict:v1"] });
    expect(stored.facts.dictionaries).toEqual([{ pronunciation_dictionary_id: "dict", version_id: "v1" }]);
  });
  test("X-09 polly/tts: as SSML, and lexicons by name", async () => {
    const { facts } = await say("polly/tts", ["Ask ACME & co."], { ...spoken, lexicons: ["names"] });
    expect(facts).toMatchObject({ TextType: "ssml", Text: `<speak>Ask ${element} &#38; co.</speak>` });
    expect(facts.LexiconNames).toEqual(["names"]);
    expect((await say("polly/tts", ["Ask me."], spoken)).facts).toMatchObject({ TextType: "text", Text: "Ask me." });
  });
  test.each([true, false])("X-09 google/tts, streaming %s: as its custom pronunciations", async (streaming) => {
    const { facts } = await say("google/tts", ["Ask ACME."], { ...spoken, streaming });
    expect(facts.texts).toEqual(["Ask ACME."]);
    expect(facts.pronunciations).toMatchObject([
      { phrase: "acme", phoneticEncoding: "PHONETIC_ENCODING_IPA", pronunciation: "ˈækmi" },
      { phrase: "other" },
    ]);
  });
});

describe("a switch of provider", () => {
  // One set of settings, as the plan has it for all candidates of a node; only voices are the vendors' own.
  const plan = { language: "de-DE", rate: 1.1, output_format: "pcm_16000" };
  test("F-059 language, rate and each candidate's voice are the same before it and after", async () => {
    fakeOf("elevenlabs/tts").fault("server_error");
    const failed = await say("elevenlabs/tts", ["Guten Tag."], { ...plan, voice: "voice-de" });
    expect(failed.outcome.kind).toBe("error");
    expect(failed.facts).toMatchObject({ voice: "voice-de", language: "de" });
    fakeOf("elevenlabs/tts").fault("none");
    const eleven = await say("elevenlabs/tts", ["Guten Tag."], { ...plan, voice: "voice-de" });
    expect(eleven.facts).toMatchObject({ voice: "voice-de", language: "de", settings: { speed: 1.1 } });
    const google = await say("google/tts", ["Guten Tag."], plan);
    expect(google.facts).toMatchObject({ language: "de-DE", voice: "de-DE-Chirp3-HD-Aoede", speakingRate: 1.1 });
    const polly = await say("polly/tts", ["Guten Tag."], { ...plan, voice: "Vicki" });
    const Text = '<speak><prosody rate="110%">Guten Tag.</prosody></speak>';
    expect(polly.facts).toMatchObject({ LanguageCode: "de-DE", VoiceId: "Vicki", Text });
    const openai = await say("openai/tts", ["Guten Tag."], { ...plan, voice: "nova" });
    expect(openai.facts).toMatchObject({ voice: "nova", speed: 1.1 });
    for (const { sink } of [eleven, google, polly, openai])
      expect(audioOf(sink)[0]?.format).toEqual({ codec: "pcm_s16le", rateHz: 16_000, channels: 1 });
  });
  test("a rate that a vendor does not take becomes its nearest", async () => {
    expect((await say("elevenlabs/tts", ["Hi."], { rate: 2 })).facts).toMatchObject({ settings: { speed: 1.2 } });
    expect((await say("elevenlabs/tts", ["Hi."], { rate: 0.5 })).facts).toMatchObject({ settings: { speed: 0.7 } });
  });
});

describe("keys", () => {
  test.each(names.filter((name) => name !== "openai/tts"))("NF-011 %s without a key asks nobody", async (name) => {
    const create = makers.find(([own]) => own === name)?.[2] as Create;
    const voice = create({ clock, baseUrl: fakeOf(name).baseUrl, key: () => undefined, options: {} });
    const before = fakeOf(name).calls.length;
    const sink = recorder();
    voice.open(request({ modality: "tts", provider: name }), sink);
    expect(await sink.ended).toMatchObject({ kind: "unauthorized", detail: expect.stringMatching(/^no (key|cred)/) });
    expect(fakeOf(name).calls.length).toBe(before);
  });
});

test("openai/tts takes its answer as events where asked to", async () => {
  fakeOf("openai/tts").script({ audioMs: 100 });
  const settings = { stream_format: "sse", instructions: "Calmly." };
  const { outcome, facts } = await say("openai/tts", ["Hello."], settings);
  expect(outcome).toMatchObject({ kind: "success", usage: { audioUs: 100_000 } });
  expect(facts).toMatchObject({ stream_format: "sse", instructions: "Calmly." });
});
