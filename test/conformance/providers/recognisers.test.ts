/** What every vendor's recogniser has to carry to the vendor and back, beyond the suite of all adapters. */
import { encodeMulaw } from "@rspp/audio/g711";
import { bytesToS16 } from "@rspp/audio/pcm";
import type { Clock } from "@rspp/ports/clock";
import type { InvocationChunk, SettingValue } from "@rspp/ports/provider";
import type { ManagedProvider } from "@rspp/provider-gateway/attempt";
import { ManualClock, systemClock } from "@rspp/provider-gateway/testing/clocks";
import { recorder, request } from "@rspp/provider-gateway/testing/recorder";
import { createAssemblyAiStt } from "@rspp/provider-gateway/vendors/assemblyai/stt";
import { vendorCatalogue } from "@rspp/provider-gateway/vendors/catalogue";
import { createDeepgramStt } from "@rspp/provider-gateway/vendors/deepgram/stt";
import { createGoogleStt } from "@rspp/provider-gateway/vendors/google/stt";
import { createOpenAiStt } from "@rspp/provider-gateway/vendors/openai/stt";
import type { VendorAccess } from "@rspp/provider-gateway/vendors/vendor";
import { openVendors } from "@rspp/provider-gateway/vendors/vendors";
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { startAssemblyAi } from "../../fakes/assemblyai/server.ts";
import { startDeepgram } from "../../fakes/deepgram/server.ts";
import { type Fake, type FakeCall, tonePcm } from "../../fakes/fake.ts";
import { startGoogleSpeech } from "../../fakes/google-speech/server.ts";
import { startOpenAiTranscriptions } from "../../fakes/openai/transcriptions.ts";

const format = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 } as const;
const terms = ["Quark", "Gluon"];

interface Vendor {
  readonly name: string;
  readonly fake: () => Promise<Fake>;
  readonly create: (access: VendorAccess) => ManagedProvider;
  /** Where key terms stand in what the vendor was asked. */
  readonly terms: (facts: Record<string, unknown>) => unknown;
  /** What the vendor gives live, besides words. */
  readonly live: { words: boolean; endpoint: boolean; confidence: boolean };
  /** Settings under which a request as a whole has word timings. */
  readonly whole?: Record<string, SettingValue>;
}

const all = { words: true, endpoint: true, confidence: true };
const vendors: readonly Vendor[] = [
  {
    name: "deepgram/stt",
    fake: startDeepgram,
    create: createDeepgramStt,
    terms: ({ keyterm }) => keyterm,
    live: all,
  },
  {
    name: "assemblyai/stt",
    fake: startAssemblyAi,
    create: createAssemblyAiStt,
    terms: ({ keyterms_prompt }) => keyterms_prompt,
    live: all,
    whole: { poll_ms: 1 },
  },
  {
    name: "google/stt",
    fake: startGoogleSpeech,
    create: createGoogleStt,
    terms: ({ keyTerms }) => (Array.isArray(keyTerms) && keyTerms.length > 0 ? keyTerms : undefined),
    live: all,
  },
  {
    name: "openai/stt",
    fake: startOpenAiTranscriptions,
    create: createOpenAiStt,
    terms: ({ prompt }) => (typeof prompt === "string" ? prompt.match(/Quark|Gluon/g) : undefined),
    live: { words: false, endpoint: false, confidence: true },
    whole: { model: "whisper-1" },
  },
];

interface Heard {
  readonly calls: readonly FakeCall[];
  readonly texts: Extract<InvocationChunk, { kind: "text" }>[];
  readonly kind: string;
}

describe.each(vendors)("$name", (vendor) => {
  let fake: Fake;
  let provider: ManagedProvider;
  const access = (clock: Clock, baseUrl = fake.baseUrl): VendorAccess => ({
    clock,
    baseUrl,
    key: () => fake.key,
    options: {},
  });

  beforeAll(async () => {
    fake = await vendor.fake();
    fake.script({ transcript: "open at nine", partials: ["open", "open at"], chunkMs: 1 });
    provider = vendor.create(access(systemClock()));
    await provider.warm?.();
  });
  afterEach(() => expect(fake.violations).toEqual([]));
  afterAll(async () => {
    await provider.close?.();
    await fake.close();
  });

  async function hear(settings: Record<string, SettingValue>, of = provider): Promise<Heard> {
    const before = fake.calls.length;
    const sink = recorder();
    const invocation = of.open(request({ modality: "stt", provider: vendor.name, settings }), sink);
    invocation.push({ kind: "audio", bytes: tonePcm(400, 16_000), format, durationUs: 400_000 });
    invocation.finish();
    const { kind } = await sink.ended;
    const texts = sink.chunks.filter((chunk) => chunk.kind === "text");
    return { calls: fake.calls.slice(before), texts, kind };
  }

  test.each([true, false])(
    "X-09 key terms reach the vendor, and none where there are none (streaming %s)",
    async (streaming) => {
      const told = (heard: Heard): unknown =>
        heard.calls.map(({ facts }) => vendor.terms(facts)).find((found) => found);
      const settings = { ...(streaming ? {} : vendor.whole), streaming };
      expect(told(await hear({ ...settings, key_terms: terms }))).toEqual(terms);
      expect(told(await hear(settings)) ?? undefined).toBeUndefined();
    },
  );

  test.each([true, false])(
    "F-160 finals have words, confidence, language and endpoints (streaming %s)",
    async (streaming) => {
      const { texts, kind } = await hear({ ...(streaming ? {} : vendor.whole), streaming, language: "en-US" });
      const final = texts.at(-1);
      expect([kind, final?.final, final?.text, final?.segment]).toEqual(["success", true, "open at nine", 0]);
      expect(final?.language).toMatch(/^en/);
      const { words, endpoint, confidence } = streaming
        ? vendor.live
        : { words: true, endpoint: false, confidence: false };
      if (confidence) expect(final?.confidence).toBeCloseTo(0.95, 1);
      expect(final?.words?.map(({ from, to }) => final.text.slice(from, to))).toEqual(
        words ? ["open", "at", "nine"] : undefined,
      );
      if (words) expect(final?.words?.[1]).toMatchObject({ startUs: 330_000, endUs: 530_000 });
      expect(texts.some((text) => text.endpoint === true)).toBe(endpoint);
    },
  );

  test("audio of a telephone arrives as 16 kHz", async () => {
    const before = fake.calls.length;
    const sink = recorder();
    const invocation = provider.open(request({ modality: "stt", provider: vendor.name }), sink);
    const bytes = encodeMulaw(bytesToS16(tonePcm(1_000, 8_000)));
    const telephone = { codec: "mulaw", rateHz: 8_000, channels: 1 } as const;
    for (let at = 0; at < bytes.length; at += 160)
      invocation.push({ kind: "audio", bytes: bytes.subarray(at, at + 160), format: telephone, durationUs: 20_000 });
    invocation.finish();
    expect(await sink.ended).toMatchObject({ kind: "success", usage: { audioUs: 1_000_000 } });
    const arrived = Math.max(...fake.calls.slice(before).map(({ bytesIn }) => bytesIn));
    expect(arrived).toBeGreaterThanOrEqual(32_000);
    expect(arrived).toBeLessThan(35_000);
  });

  test("F-160 a cancel closes the vendor's call at once, in the middle of it", async () => {
    fake.script({ transcript: "open at nine", partials: ["open", "open at"], chunkMs: 2_000 });
    onTestFinished(() => fake.script({ transcript: "open at nine", partials: ["open", "open at"], chunkMs: 1 }));
    const tookMs: number[] = [];
    for (let n = 0; n < 15; n++) {
      const sink = recorder();
      const before = fake.calls.length;
      const invocation = provider.open(request({ modality: "stt", provider: vendor.name }), sink);
      invocation.push({ kind: "audio", bytes: tonePcm(200, 16_000), format, durationUs: 200_000 });
      if (!vendor.live.words) invocation.finish();
      await expect.poll(() => sink.chunks.length, { interval: 1 }).toBeGreaterThan(0);
      const cancelledMs = performance.now();
      invocation.cancel("barge_in");
      expect(sink.outcomes).toEqual([{ kind: "cancelled", detail: "cancelled" }]);
      await expect.poll(() => fake.calls[before]?.closedMs, { interval: 1 }).toBeDefined();
      expect(fake.calls[before]?.closedBy).toBe("client");
      tookMs.push((fake.calls[before]?.closedMs ?? Number.NaN) - cancelledMs);
    }
    tookMs.sort((a, b) => a - b);
    expect(tookMs[7]).toBeLessThan(25);
  });

  test("F-131 no connection is a disconnect, no key unauthorized; neither says more", async () => {
    const nowhere = vendor.create(access(systemClock(), "http://127.0.0.1:1"));
    onTestFinished(() => nowhere.close?.());
    expect((await hear({}, nowhere)).kind).toBe("disconnect");
    const keyless = vendor.create({ ...access(systemClock()), key: () => undefined });
    onTestFinished(() => keyless.close?.());
    expect((await hear({}, keyless)).kind).toBe("unauthorized");
  });

  test("F-061 the key of the moment is used at each open", async () => {
    let key = "old";
    const rotating = vendor.create({ ...access(systemClock()), key: () => key });
    onTestFinished(() => rotating.close?.());
    expect((await hear({}, rotating)).kind).toBe("unauthorized");
    key = fake.key;
    expect((await hear({}, rotating)).kind).toBe("success");
  });

  test("an utterance has a bound", async () => {
    const sink = recorder();
    const invocation = provider.open(
      request({ modality: "stt", provider: vendor.name, settings: { streaming: false } }),
      sink,
    );
    const second = new Uint8Array(32_000);
    for (let n = 0; n < 291; n++) invocation.push({ kind: "audio", bytes: second, format, durationUs: 1_000_000 });
    expect(await sink.ended).toMatchObject({ kind: "error", detail: expect.stringContaining("290 s") });
  });
});

test.each(vendors)("F-055 $name serves where its key is set, and nowhere else", async ({ name, fake: start }) => {
  const fake = await start();
  onTestFinished(() => fake.close());
  fake.script({ transcript: "open at nine" });
  const entry = vendorCatalogue.find((one) => one.name === name);
  const env = { [entry?.keyVariable ?? ""]: fake.key, [entry?.baseUrlVariable ?? ""]: fake.baseUrl };
  const find = async (of: Record<string, string>): Promise<ManagedProvider | undefined> =>
    (await openVendors({ env: of })).providers(systemClock()).find((provider) => provider.name === name);
  expect((await find({}))?.available?.()).toBe(false);
  const provider = await find(env);
  onTestFinished(() => provider?.close?.());
  expect(provider?.available?.()).toBe(true);
  const sink = recorder();
  const invocation = provider?.open(request({ modality: "stt", provider: name }), sink);
  invocation?.push({ kind: "audio", bytes: tonePcm(100, 16_000), format, durationUs: 100_000 });
  invocation?.finish();
  expect([(await sink.ended).kind, sink.finals()]).toEqual(["success", ["open at nine"]]);
});

describe("a live connection that nobody speaks on", () => {
  test.each(vendors.slice(0, 3))("F-055 $name keeps it open", async ({ name, fake: start, create }) => {
    const fake = await start();
    const clock = new ManualClock();
    fake.script({ transcript: "open at nine", partials: ["open"] });
    const provider = create({ clock, baseUrl: fake.baseUrl, key: () => fake.key, options: {} });
    onTestFinished(async () => {
      await provider.close?.();
      await fake.close();
    });
    const sink = recorder();
    const invocation = provider.open(request({ modality: "stt", provider: name }), sink);
    invocation.push({ kind: "audio", bytes: tonePcm(100, 16_000), format, durationUs: 100_000 });
    await expect.poll(() => sink.chunks.length, { interval: 1 }).toBe(1);
    const bytesBefore = fake.calls[0]?.bytesIn ?? 0;
    for (let n = 0; n < 3; n++) clock.advance(10_000);
    await expect.poll(() => fake.calls[0]?.bytesIn, { interval: 1 }).toBeGreaterThan(bytesBefore);
    if (name !== "google/stt") {
      await expect.poll(() => fake.calls[0]?.facts.keepAlives, { interval: 1 }).toBeGreaterThanOrEqual(3);
    }
    invocation.finish();
    expect((await sink.ended).kind).toBe("success");
    expect(clock.pending).toBe(0);
    // A word before the silence that was put in stands where it was said.
    const final = sink.chunks.at(-1);
    expect(final?.kind === "text" && final.words?.[0]?.startUs).toBe(80_000);
    expect(fake.violations).toEqual([]);
  });
});

describe("settings of a vendor's own", () => {
  test("endpointing and formatting reach Deepgram and AssemblyAI", async () => {
    for (const [start, create, name, facts] of [
      [startDeepgram, createDeepgramStt, "deepgram/stt", { endpointing: "450", smart_format: "true", language: "de" }],
      [
        startAssemblyAi,
        createAssemblyAiStt,
        "assemblyai/stt",
        { min_turn_silence: "450", format_turns: "true", speech_model: "universal-streaming-multilingual" },
      ],
    ] as const) {
      const fake = await start();
      onTestFinished(() => fake.close());
      fake.script({ transcript: "Guten Tag.", partials: ["guten"] });
      const provider = create({ clock: systemClock(), baseUrl: fake.baseUrl, key: () => fake.key, options: {} });
      const sink = recorder();
      const settings = { endpointing_ms: 450, format_turns: true, language: "de" };
      const invocation = provider.open(request({ modality: "stt", provider: name, settings }), sink);
      invocation.push({ kind: "audio", bytes: tonePcm(100, 16_000), format, durationUs: 100_000 });
      invocation.finish();
      expect((await sink.ended).kind).toBe("success");
      expect(sink.finals()).toEqual(["Guten Tag."]);
      expect(fake.calls[0]?.facts).toMatchObject(facts);
      expect(fake.violations).toEqual([]);
    }
  });
});
