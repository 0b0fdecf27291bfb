import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { bytesToS16, s16ToBytes } from "@rspp/audio/pcm";
import { parseWav } from "@rspp/audio/wav";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createProviderGateway } from "../gateway.ts";
import { ManualClock, systemClock } from "../testing/clocks.ts";
import { describeConformance } from "../testing/conformance.ts";
import { recorder, request } from "../testing/recorder.ts";
import { answerTo } from "./answers.ts";
import { answersGrammar, assistantGrammar } from "./assistant-grammar.ts";
import { createFlite } from "./flite.ts";
import { createPocketsphinx, isPocketsphinxAvailable } from "./pocketsphinx.ts";

const testData = "/usr/share/pocketsphinx/test/data";
const installed = isPocketsphinxAvailable();
const inCi = process.env.CI === "true";
const format = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 } as const;
const clock = systemClock();
const pocketsphinx = createPocketsphinx({ clock });
const flite = createFlite({ clock });

beforeAll(() => flite.warm?.());
afterAll(async () => {
  await flite.close?.();
  await pocketsphinx.close?.();
  expect(pocketsphinx.processes()).toBe(0);
});

function start(grammar: string, settings: Record<string, number> = {}) {
  const sink = recorder();
  const open = request({ modality: "stt", provider: pocketsphinx.name, settings: { grammar, ...settings } });
  return { sink, invocation: pocketsphinx.open(open, sink) };
}

async function recognise(pcm: Uint8Array, grammar: string): Promise<string> {
  const { sink, invocation } = start(grammar);
  for (let at = 0; at < pcm.length; at += 640) {
    const bytes = pcm.subarray(at, at + 640);
    invocation.push({ kind: "audio", bytes, format, durationUs: Math.round((bytes.length / 32) * 1000) });
  }
  invocation.finish();
  const outcome = await sink.ended;
  expect(sink.finals().length).toBe(outcome.kind === "success" ? 1 : 0);
  return sink.finals()[0] ?? `(${outcome.kind}: ${outcome.detail})`;
}

async function speech(text: string): Promise<Uint8Array> {
  const sink = recorder();
  const open = request({ modality: "tts", provider: flite.name, settings: { voice: "kal16" } });
  const invocation = flite.open(open, sink);
  invocation.push({ kind: "text", text, segment: 0 });
  invocation.finish();
  await sink.ended;
  return Buffer.concat([new Uint8Array(6400), sink.audio(), new Uint8Array(9600)]);
}

test("in CI pocketsphinx and its recordings are installed", () => {
  if (inCi) expect([installed, existsSync(testData)]).toEqual([true, true]);
});

test("where pocketsphinx is not installed the outcome says so and what to do", async () => {
  const absent = createPocketsphinx({ clock, path: "/nonexistent" });
  const gateway = createProviderGateway({ clock, providers: [absent] });
  expect(gateway.providers()).toEqual([]);
  expect(isPocketsphinxAvailable("/nonexistent")).toBe(false);
  const sink = recorder();
  gateway.open(request({ modality: "stt", provider: absent.name, settings: { grammar: assistantGrammar } }), sink);
  expect((await sink.ended).detail).toContain("apt-get install pocketsphinx");
  await gateway.close();
});

describe.runIf(installed)("local/pocketsphinx", () => {
  describeConformance({
    create: (own) => createPocketsphinx({ clock: own }),
    clock: "system",
    settings: { grammar: assistantGrammar },
    feed: (invocation) => {
      const bytes = execFileSync("cat", [`${testData}/goforward.raw`]);
      invocation.push({ kind: "audio", bytes, format, durationUs: (bytes.length / 32) * 1000 });
    },
    badSetting: { name: "grammar", value: 5 },
  });

  const questions = [
    "hello",
    "good morning",
    "what is twenty plus twenty two",
    "what is two plus three",
    "how many days are in february",
    "spell hello",
    "go forward ten meters",
    "go left five meters",
    "when do you open",
    "when do you close",
    "what are your opening hours",
    "are you open on sunday",
    "count to five",
    "say that again",
    "what can you do",
    "help me",
    "goodbye",
    "tell me a story",
    "stop",
    "wait a moment",
  ];

  test("hears every question of the demo, spoken by flite", async () => {
    const heard: string[] = [];
    for (const question of questions) heard.push(await recognise(await speech(`${question}.`), assistantGrammar));
    expect(heard).toEqual(questions);
  });

  test("hears the responder's answers back", async () => {
    for (const question of ["hello", "what is two plus three", "how many days are in april", "when do you open"]) {
      const answer = answerTo([{ role: "user", text: question }]);
      const words = answer.toLowerCase().replace(/[^a-z ]/g, "");
      expect(await recognise(await speech(answer), answersGrammar)).toBe(words);
    }
  });

  describe.runIf(existsSync(testData))("human recordings", () => {
    const numbersGrammar = `#JSGF V1.0;
      grammar numbers;
      public <numbers> = <number>+;
      <number> = <teen> | <tens> [<unit>] | <unit> | or;
      <unit> = one | two | three | four | five | six | seven | eight | nine;
      <teen> = ten | eleven | twelve | thirteen | fourteen | fifteen | sixteen | seventeen | eighteen | nineteen;
      <tens> = twenty | thirty | forty | fifty | sixty | seventy | eighty | ninety;`;
    const goforward = existsSync(testData) ? readFileSync(`${testData}/goforward.raw`) : new Uint8Array(0);

    test("hears goforward, numbers and the cards with their grammars", async () => {
      const own = readFileSync(`${testData}/goforward.gram`, "utf8");
      expect(await recognise(goforward, own)).toBe("go forward ten meters");
      expect(await recognise(goforward, assistantGrammar)).toBe("go forward ten meters");
      const numbers = readFileSync(`${testData}/numbers.raw`);
      expect(await recognise(numbers, numbersGrammar)).toBe("thirty three four or six ninety two");
      const cards = readFileSync(`${testData}/cards/cards.gram`, "utf8");
      const transcripts = readFileSync(`${testData}/cards/cards.transcription`, "utf8").trim().split("\n");
      for (const line of transcripts.slice(0, 3)) {
        const [, words, id] = line.match(/<s> (.*?)\s+<\/s> \((\d+)\)/) ?? [];
        const wav = parseWav(readFileSync(`${testData}/cards/${id}.wav`));
        expect(await recognise(s16ToBytes(wav.samples), cards)).toBe(words);
      }
    });

    test("silence gives no words", async () => {
      expect(await recognise(new Uint8Array(64_000), assistantGrammar)).toContain("(empty");
    });

    test("partials come where asked for, then one final", async () => {
      const { sink, invocation } = start(assistantGrammar, { partial_ms: 200 });
      const samples = bytesToS16(goforward);
      const seen = Promise.withResolvers<void>();
      const poll = setInterval(() => {
        if (sink.chunks.length > 0) seen.resolve();
      }, 5);
      const bytes = s16ToBytes(samples);
      invocation.push({ kind: "audio", bytes, format, durationUs: 2_000_000 });
      await seen.promise;
      clearInterval(poll);
      invocation.finish();
      expect((await sink.ended).kind).toBe("success");
      expect(sink.chunks.map((chunk) => chunk.kind === "text" && chunk.final)).toEqual([false, true]);
      expect(sink.finals()).toEqual(["go forward ten meters"]);
    });

    test("virtual time stands still between finish and the final", async () => {
      const manual = new ManualClock();
      const own = createPocketsphinx({ clock: manual });
      const sink = recorder();
      const settings = { grammar: assistantGrammar };
      const invocation = own.open(request({ modality: "stt", provider: own.name, settings }), sink);
      invocation.push({ kind: "audio", bytes: goforward, format, durationUs: 2_000_000 });
      expect(manual.holds).toBe(0);
      invocation.finish();
      expect(manual.holds).toBe(1);
      await sink.ended;
      expect(manual.holds).toBe(0);
      await own.close?.();
    });
  });

  test("bad grammars are named, and neither processes nor files are left behind", async () => {
    const before = readdirSync(tmpdir()).length;
    const own = createPocketsphinx({ clock });
    own.prepare(assistantGrammar);
    own.prepare(assistantGrammar);
    expect(own.processes()).toBe(1);
    const open = (grammar: string) => {
      const sink = recorder();
      const invocation = own.open(request({ modality: "stt", provider: own.name, settings: { grammar } }), sink);
      return { sink, invocation };
    };
    const unknownWord = "#JSGF V1.0; grammar x; public <x> = go | flibbertigibbetz;";
    for (const grammar of ["broken", unknownWord]) {
      const { sink, invocation } = open(grammar);
      invocation.push({ kind: "audio", bytes: new Uint8Array(640), format, durationUs: 20_000 });
      invocation.finish();
      expect((await sink.ended).detail).toContain("refused the grammar");
    }
    expect((await open("").sink.ended).detail).toContain("`grammar`");
    expect((await open("x".repeat(70_000)).sink.ended).detail).toContain("`grammar`");
    for (let i = 0; i < 3; i++) open(assistantGrammar);
    expect(own.processes()).toBeGreaterThan(3);
    await own.close?.();
    expect(own.processes()).toBe(0);
    expect(readdirSync(tmpdir()).length).toBeLessThanOrEqual(before + 1);
  });

  test("processes have a maximum; past it the outcome is overload, and a place that is free again is used", async () => {
    const own = createPocketsphinx({ clock, processesMax: 4 });
    const open = (grammar: string, settings: Record<string, number> = {}) => {
      const sink = recorder();
      const all = { grammar, ...settings };
      return { sink, invocation: own.open(request({ modality: "stt", provider: own.name, settings: all }), sink) };
    };
    const running = Array.from({ length: 4 }, () => open(assistantGrammar, { partial_ms: 20 }));
    // A partial is given up before an utterance is.
    const speech = { kind: "audio", bytes: new Uint8Array(6400), format, durationUs: 200_000 } as const;
    for (const { invocation } of running) invocation.push(speech);
    expect(own.processes()).toBe(4);
    const refused = await open(assistantGrammar).sink.ended;
    expect(refused).toMatchObject({ kind: "overload", detail: expect.stringContaining("4 processes") });
    own.prepare(answersGrammar);
    // Cancelled ones count until they are gone, so that no burst of opens and cancels passes the maximum.
    for (let n = 0; n < 20; n++) open(answersGrammar).invocation.cancel("burst");
    expect(own.processes()).toBe(4);
    for (const { invocation } of running) invocation.cancel("done");
    await expect.poll(() => own.processes()).toBe(0);
    const again = open(assistantGrammar);
    again.invocation.push(speech);
    again.invocation.finish();
    expect((await again.sink.ended).kind).toBe("empty");
    await own.close?.();
  });

  test("spares of other grammars make way for an utterance", async () => {
    const own = createPocketsphinx({ clock, processesMax: 1 });
    const open = () => {
      const sink = recorder();
      const settings = { grammar: assistantGrammar };
      own.open(request({ modality: "stt", provider: own.name, settings }), sink);
      return sink;
    };
    own.prepare(answersGrammar);
    expect(own.processes()).toBe(1);
    expect((await open().ended).kind).toBe("overload");
    await expect.poll(() => own.processes()).toBe(0);
    const sink = open();
    expect([own.processes(), sink.outcomes]).toEqual([1, []]);
    await own.close?.();
  });

  test("a hung program is ended after its time; other formats and endless audio are refused", async () => {
    const own = createPocketsphinx({ clock, finalTimeoutMs: 1 });
    const sink = recorder();
    const invocation = own.open(
      request({ modality: "stt", provider: own.name, settings: { grammar: assistantGrammar } }),
      sink,
    );
    invocation.push({ kind: "audio", bytes: new Uint8Array(3_200_000), format, durationUs: 100_000_000 });
    invocation.finish();
    expect((await sink.ended).kind).toBe("timeout");
    await own.close?.();
    const wrong = start(assistantGrammar);
    wrong.invocation.push({
      kind: "audio",
      bytes: new Uint8Array(160),
      format: { ...format, rateHz: 8000 },
      durationUs: 20_000,
    });
    expect((await wrong.sink.ended).detail).toContain("16000 Hz");
    const endless = start(assistantGrammar);
    endless.invocation.push({ kind: "audio", bytes: new Uint8Array(640), format, durationUs: 121_000_000 });
    expect((await endless.sink.ended).detail).toContain("120 s");
  });
});
