import type { WordTiming } from "@rspp/ports/provider";
import { malformed } from "../speech/failure.ts";
import { speechLimits } from "../speech/limits.ts";
import type { Markup } from "../speech/markup.ts";

/** Of the marks of one clause; a mark is some 60 bytes. */
const bytesMax = 512 * 1_024;

interface Mark {
  readonly type?: unknown;
  readonly time?: unknown;
  readonly start?: unknown;
  readonly end?: unknown;
}

/**
 * Amazon Polly's speech marks: a JSON object a line. `start` and `end` count bytes of the request's text in UTF-8, `time`
 * milliseconds; a word lasts until the next begins, the last as long as is usual for its letters.
 *
 * @throws SpeechFailure when they are none.
 */
export async function readSpeechMarks(body: AsyncIterable<Uint8Array>, text: Markup): Promise<WordTiming[]> {
  const marks = (await linesOf(body)).map(parse).filter((mark) => mark.type === "word");
  const offsetOf = byteOffsets(text.text);
  const words: WordTiming[] = [];
  for (const [i, { time, start, end }] of marks.slice(0, speechLimits.WORDS_MAX).entries()) {
    if (typeof time !== "number" || typeof start !== "number" || typeof end !== "number")
      throw malformed("speech marks: a word without its place");
    const from = text.sourceOf(offsetOf(start));
    const to = text.sourceOf(offsetOf(end));
    const next = marks[i + 1]?.time;
    const endMs = typeof next === "number" ? next : time + LETTER_MS * Math.max(1, to - from);
    if (to > from) words.push({ from, to, startUs: time * 1_000, endUs: Math.max(time, endMs) * 1_000 });
  }
  return words;
}

const LETTER_MS = 70;

async function linesOf(body: AsyncIterable<Uint8Array>): Promise<string[]> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of body) {
    bytes += part.length;
    if (bytes > bytesMax) throw malformed("speech marks: too many");
    parts.push(part);
  }
  return Buffer.concat(parts)
    .toString("utf8")
    .split("\n")
    .filter((line) => line.trim() !== "");
}

function parse(line: string): Mark {
  const mark: unknown = JSON.parse(line);
  if (typeof mark !== "object" || mark === null) throw malformed("speech marks: a line that is no object");
  return mark;
}

/** From an offset in bytes of UTF-8 to one in the string. */
function byteOffsets(text: string): (byte: number) => number {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length === text.length) return (byte) => byte;
  const decoder = new TextDecoder();
  return (byte) => decoder.decode(bytes.subarray(0, byte)).length;
}
