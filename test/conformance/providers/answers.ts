/** Answers of a provider: whole, in parts, in every script, to much and to nothing. */
import { rms } from "@rspp/audio/pcm";
import type { InvocationChunk } from "@rspp/ports/provider";
import { describe, expect, test } from "vitest";
import { tonePcm } from "../../fakes/fake.ts";
import type { Conversation } from "./conversation.ts";
import type { SuiteRig } from "./suite.ts";

const unicode = "naïve façade — 東京 🚀👩‍👩‍👧 e\u0301 ß";

export function testAnswers(rig: SuiteRig): void {
  const { modality } = rig.subject;
  describe("answers", () => {
    test("open, feed, finish: chunks, then one outcome, then nothing", async () => {
      rig.stage().script(ordinary);
      const talk = rig.open().feed().finish();
      expect(await talk.outcome()).toMatchObject({ kind: "success" });
      await talk.quiet();
      checkAnswer(rig, talk);
      expect(talk.gateway.counters()).toMatchObject({ chunksAfterTerminal: 0, outcomesAfterTerminal: 0, threw: 0 });
    });

    test("no input ends empty, with nothing asked of the vendor or nothing said", async () => {
      const talk = rig.open().finish();
      expect(await talk.outcome()).toMatchObject({ kind: "empty" });
      expect(talk.sink.chunks).toEqual([]);
    });

    test("much input is taken", async () => {
      rig.stage().script(ordinary);
      const talk = rig.open();
      feedMuch(rig, talk);
      expect(await talk.finish().outcome(20_000)).toMatchObject({
        kind: modality === "stt" ? expect.any(String) : "success",
      });
      if (modality === "stt") expect(["success", "empty"]).toContain(talk.sink.outcomes[0]?.kind);
    });

    test("a setting of the wrong type is refused by its name, without its value", async () => {
      const talk = rig.open();
      talk.settings = { anything: { hidden: 1 } as unknown as string };
      const outcome = await talk.feed().finish().outcome();
      expect(outcome).toMatchObject({ kind: "error", detail: expect.stringContaining("`anything`") });
      expect(outcome.detail).not.toContain("hidden");
    });

    testUnicode(rig);
    if (modality === "llm" && rig.subject.tools !== false) testTools(rig);
    if (modality === "tts") testClauses(rig);
  });
}

export const ordinary = {
  transcript: "the quick brown fox jumps",
  partials: ["the quick", "the quick brown"],
  reply: "The opening hours are nine to six.",
  audioMs: 200,
  chunkMs: 2,
};

function testUnicode(rig: SuiteRig): void {
  const { modality, scripted = true } = rig.subject;
  if (!scripted && modality !== "tts") return;
  test("unicode survives", async () => {
    rig.stage().script({ ...ordinary, transcript: unicode, partials: [unicode.slice(0, 5)], reply: unicode });
    const talk = rig
      .open()
      .feed(modality === "tts" && rig.stage().fake === undefined ? undefined : unicode)
      .finish();
    expect(await talk.outcome()).toMatchObject({ kind: "success" });
    if (modality === "llm") expect(talk.sink.text()).toBe(unicode);
    if (modality === "stt") expect(talk.sink.finals().join(" ")).toBe(unicode);
  });
}

function testTools(rig: SuiteRig): void {
  test("an answer that only calls a tool is a success, the call told whole", async () => {
    const args = '{"city":"Zürich","days":3}';
    rig.stage().script({ reply: "", toolCalls: [{ name: "forecast", arguments: args }], chunkMs: 1 });
    const parameters = '{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}}}';
    const talk = rig
      .open()
      .ask([{ role: "user", text: "Weather?" }], [{ name: "forecast", description: "Weather ahead", parameters }]);
    expect(await talk.finish().outcome()).toMatchObject({ kind: "success" });
    const calls = talk.sink.chunks.filter((chunk) => chunk.kind === "tool_call");
    expect(calls).toEqual([
      { kind: "tool_call", callId: expect.any(String), name: "forecast", arguments: expect.any(String) },
    ]);
    expect(JSON.parse(calls[0]?.arguments ?? "null")).toEqual(JSON.parse(args));
  });
}

function testClauses(rig: SuiteRig): void {
  test("clauses are spoken in order, each to its end", async () => {
    rig.stage().script(ordinary);
    const talk = rig.open();
    const clauses = ["We open at nine.", "We close at six.", "Call again."];
    for (const [segment, text] of clauses.entries()) talk.invocation.push({ kind: "text", text, segment });
    expect(await talk.finish().outcome()).toMatchObject({ kind: "success" });
    const audio = audioOf(talk);
    expect(audio.filter(({ segmentEnd }) => segmentEnd).map(({ segment }) => segment)).toEqual([0, 1, 2]);
    expect(audio.map(({ segment }) => segment)).toEqual(audio.map(({ segment }) => segment).sort((a, b) => a - b));
    for (const { segment, segmentChars } of audio) expect(segmentChars).toBe(clauses[segment]?.length);
  });
}

function feedMuch(rig: SuiteRig, talk: Conversation): void {
  if (rig.subject.modality === "stt") {
    talk.hear(tonePcm(20_000, 16_000));
  } else if (rig.subject.modality === "tts") {
    const clause = "This is one of many clauses of a long answer, and more will come after it.";
    for (let segment = 0; segment < 12; segment++) talk.invocation.push({ kind: "text", text: clause, segment });
  } else {
    const turn = (n: number): string => `Turn ${n}: ${"words and more words ".repeat(20)}`;
    talk.ask(
      Array.from({ length: 61 }, (_, n) => ({
        role: n % 2 === 0 ? ("user" as const) : ("assistant" as const),
        text: turn(n),
      })),
    );
  }
}

type Audio = Extract<InvocationChunk, { kind: "audio" }>;

const audioOf = (talk: Conversation): Audio[] => talk.sink.chunks.filter((chunk) => chunk.kind === "audio");

function checkAnswer({ subject, streaming }: SuiteRig, talk: Conversation): void {
  if (subject.modality === "llm") checkWords(talk, subject.scripted !== false && streaming);
  if (subject.modality === "llm" && subject.scripted !== false) expect(talk.sink.text()).toBe(ordinary.reply);
  if (subject.modality === "tts") checkAudio(talk);
  if (subject.modality !== "stt") return;
  const texts = talk.sink.chunks.filter((chunk) => chunk.kind === "text");
  checkWords(talk, subject.partials !== false && streaming);
  expect(texts.at(-1)?.final).toBe(true);
  if (subject.scripted !== false) expect(talk.sink.finals().join(" ")).toBe(ordinary.transcript);
  if (subject.partials !== false && streaming) expect(texts.some(({ final }) => !final)).toBe(true);
  for (const { confidence } of texts.filter(({ final }) => final)) {
    if (confidence !== undefined) expect(confidence >= 0 && confidence <= 1).toBe(true);
  }
  if (subject.language !== undefined) expect(texts.at(-1)?.language).toBe(subject.language);
}

/** Revisions rise within a segment; a stream comes in more than one piece. */
function checkWords(talk: Conversation, inParts: boolean): void {
  const last = new Map<number, number>();
  for (const chunk of talk.sink.chunks) {
    expect(chunk.kind).toBe("text");
    if (chunk.kind !== "text") continue;
    expect(chunk.revision).toBeGreaterThan(last.get(chunk.segment) ?? -1);
    last.set(chunk.segment, chunk.revision);
  }
  expect(talk.sink.chunks.length).toBeGreaterThan(inParts ? 1 : 0);
}

function checkAudio(talk: Conversation): void {
  const audio = audioOf(talk);
  expect(audio.length).toBeGreaterThan(0);
  expect(audio.length).toBe(talk.sink.chunks.length);
  for (const { format, bytes, durationUs } of audio) {
    expect(format).toMatchObject({ channels: 1 });
    if (format.codec !== "pcm_s16le") continue;
    expect(bytes.length % 2).toBe(0);
    expect(Math.abs(durationUs - (bytes.length / 2 / format.rateHz) * 1e6)).toBeLessThan(2);
  }
  expect(audio.at(-1)).toMatchObject({ segmentEnd: true, segment: 0 });
  if (audio[0]?.format.codec !== "pcm_s16le") return;
  const all = new Uint8Array(talk.sink.audio());
  expect(rms(new Int16Array(all.buffer, 0, all.length >> 1))).toBeGreaterThan(0.001);
}
