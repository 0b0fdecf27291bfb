import { expect, test } from "vitest";
import { markup, plainMarkup } from "../speech/markup.ts";
import { readSpeechMarks } from "./speech-marks.ts";

const bytesOf = (text: string): AsyncIterable<Uint8Array> =>
  (async function* () {
    // In the middle of a character.
    const bytes = Buffer.from(text);
    yield bytes.subarray(0, 7);
    yield bytes.subarray(7);
  })();
const mark = (time: number, start: number, end: number): string =>
  `{"time":${time},"type":"word","start":${start},"end":${end},"value":"x"}\n`;

test("F-064 offsets in bytes become offsets in the text, a word lasts to the next", async () => {
  const text = "Déjà vu!";
  const lines = `{"time":0,"type":"sentence","start":0,"end":9,"value":"é"}\n${mark(6, 0, 6)}${mark(300, 7, 9)}`;
  expect(await readSpeechMarks(bytesOf(lines), plainMarkup(text))).toEqual([
    { from: 0, to: 4, startUs: 6_000, endUs: 300_000 },
    { from: 5, to: 7, startUs: 300_000, endUs: 440_000 },
  ]);
});

test("X-09 words of markup are led back to the text", async () => {
  const marked = markup("Ask Bo", new Map([["bo", "boː"]]), "<speak>", "</speak>");
  const from = Buffer.byteLength(marked.text.slice(0, marked.text.indexOf("Bo")));
  expect(await readSpeechMarks(bytesOf(mark(100, from, from + 2)), marked)).toMatchObject([{ from: 4, to: 6 }]);
});

test.each(["no json\n", "3\n", '{"type":"word","time":1}\n'])("marks that are none: %j", async (lines) => {
  const failed: unknown = await readSpeechMarks(bytesOf(lines), plainMarkup("a b")).catch((error: unknown) => error);
  expect(failed).toBeInstanceOf(Error);
});
