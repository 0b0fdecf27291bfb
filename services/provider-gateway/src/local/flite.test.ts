import { rms } from "@rspp/audio/pcm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ManualClock, systemClock } from "../testing/clocks.ts";
import { describeConformance } from "../testing/conformance.ts";
import { recorder, request } from "../testing/recorder.ts";
import { createFlite } from "./flite.ts";
import { alignWords, parsePhones, phoneGroups, tokensOf } from "./word-timing.ts";

describeConformance({
  create: (clock) => createFlite({ clock }),
  clock: "system",
  settings: { voice: "kal16" },
  feed: (invocation) => invocation.push({ kind: "text", text: "Go forward.", segment: 0 }),
  badSetting: { name: "voice", value: 3 },
});

const flite = createFlite({ clock: systemClock() });
beforeAll(() => flite.warm?.());
afterAll(() => flite.close?.());

async function speak(clauses: string[], settings: Record<string, string | number> = {}) {
  const sink = recorder();
  const invocation = flite.open(request({ modality: "tts", provider: "local/flite", settings }), sink);
  clauses.forEach((text, segment) => {
    invocation.push({ kind: "text", text, segment });
  });
  invocation.finish();
  const outcome = await sink.ended;
  return { sink, outcome, samples: new Int16Array(new Uint8Array(sink.audio()).buffer) };
}

describe("local/flite", () => {
  test("speaks clauses in order, in 20 ms frames, with the words' times", async () => {
    const clauses = ["Go forward, 10 meters!", "We open at nine."];
    const { sink, outcome, samples } = await speak(clauses);
    expect(outcome).toMatchObject({ kind: "success", usage: { characters: 38 } });
    const chunks = sink.chunks.filter((chunk) => chunk.kind === "audio");
    expect(chunks.filter((chunk) => chunk.segmentEnd).map((chunk) => chunk.segment)).toEqual([0, 1]);
    for (const [segment, clause] of clauses.entries()) {
      const own = chunks.filter((chunk) => chunk.segment === segment);
      expect(own.every((chunk) => chunk.segmentChars === clause.length)).toBe(true);
      expect(own.filter((chunk) => chunk.words).length).toBe(1);
      const words = own[0]!.words!;
      expect(words.map((word) => clause.slice(word.from, word.to))).toEqual(clause.split(" "));
      let end = 0;
      for (const word of words) {
        expect(word.startUs).toBeGreaterThanOrEqual(end);
        expect(word.endUs - word.startUs).toBeGreaterThan(50_000);
        end = word.endUs;
      }
      expect(end).toBeLessThanOrEqual(own.length * 20_000);
      expect(words[0]!.startUs).toBe(40_000);
    }
    const pause = chunks[0]!.words![1]!.endUs;
    const after = chunks[0]!.words![2]!.startUs;
    expect(after - pause).toBeGreaterThan(150_000);
    expect(rms(samples.subarray((pause * 16) / 1000 + 320, (after * 16) / 1000 - 160))).toBeLessThan(0.002);
    expect(rms(samples)).toBeGreaterThan(0.02);
  });

  test("spelled letters have their times too", async () => {
    const { sink } = await speak(["H, E, L, L, O."]);
    const [first] = sink.chunks;
    const words = first?.kind === "audio" ? first.words : undefined;
    expect(words?.map((word) => word.from)).toEqual([0, 3, 6, 9, 12]);
    for (const word of words ?? []) expect(word.endUs - word.startUs).toBeGreaterThan(60_000);
  });

  test("every voice speaks at 16 kHz, and the rate changes the length", async () => {
    const lengths: number[] = [];
    for (const voice of ["kal16", "kal", "slt", "rms", "awb"]) {
      const { outcome, samples } = await speak(["Hello there."], { voice });
      expect(outcome.kind).toBe("success");
      expect(rms(samples)).toBeGreaterThan(0.01);
      lengths.push(samples.length);
    }
    for (const length of lengths) expect(Math.abs(length - 16_000)).toBeLessThan(6000);
    const fast = await speak(["Hello there."], { rate: 2 });
    expect(fast.samples.length).toBeLessThan(lengths[0]! * 0.7);
  });

  test("text without sounds is one silent frame; an unknown voice names the known ones", async () => {
    const { sink, outcome } = await speak(["..."]);
    expect(outcome.kind).toBe("success");
    expect(sink.chunks).toMatchObject([{ segmentEnd: true, durationUs: 20_000 }]);
    const unknown = await speak(["Hello"], { voice: "nobody" });
    expect(unknown.outcome).toMatchObject({ kind: "error" });
    expect(unknown.outcome.detail).toContain("kal16");
    expect((await speak(["x".repeat(2001)])).outcome.kind).toBe("error");
  });

  test("a cancelled clause costs the next one nothing, and virtual time stands still meanwhile", async () => {
    const clock = new ManualClock();
    const own = createFlite({ clock });
    const open = request({ modality: "tts", provider: "local/flite" });
    const first = recorder();
    const cancelled = own.open(open, first);
    for (let i = 0; i < 50; i++) cancelled.push({ kind: "text", text: "A rather long clause to speak.", segment: i });
    expect(clock.holds).toBe(50);
    cancelled.cancel("barge_in");
    expect(first.outcomes.map((outcome) => outcome.kind)).toEqual(["cancelled"]);
    expect(clock.holds).toBe(0);
    const second = recorder();
    const invocation = own.open(open, second);
    invocation.push({ kind: "text", text: "Stop.", segment: 0 });
    invocation.finish();
    expect((await second.ended).kind).toBe("success");
    expect(clock.holds).toBe(0);
    expect(first.chunks).toEqual([]);
    await own.close?.();
    await own.close?.();
  });
});

test("words are aligned although some sounds change in context", () => {
  const tokens = tokensOf('Say "the end" now - please.');
  expect(tokens.map((token) => token.text)).toEqual(["Say", "the", "end", "now", "please"]);
  const alone = phoneGroups(parsePhones("pau:1 s:2 ey:3 pau:4 dh:5 ax:6 pau:7 eh:8 n:9 d:10 pau:11"));
  const phones = parsePhones("pau:0.1 s:0.2 ey:0.3 dh:0.4 iy:0.5 eh:0.6 n:0.7 pau:0.8");
  const words = alignWords(tokens.slice(0, 3), alone, phones)!;
  expect(words.map((word) => [word.startUs, word.endUs])).toEqual([
    [100_000, 300_000],
    [300_000, 500_000],
    [500_000, 700_000],
  ]);
  expect(alignWords(tokens, alone, phones)).toBeUndefined();
});
