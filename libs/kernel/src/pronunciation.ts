/**
 * Words that a voice is to say otherwise than they are written. Only the voice is given the other spelling: what was
 * said, and what of it was heard, stays in the words of the reply, and so the voice's word timings are led back to them.
 */
import type { TextSpan, WordMark } from "./event.ts";
import { sliceSpans, spansLength } from "./rope.ts";
import { ask, type StepContext } from "./step-context.ts";
import { literalText } from "./text-out.ts";

/** Four offsets for each word: where it stands in the text, from and to, and where its other spelling does in what is spoken. */
export type SpellingMarks = readonly number[];

/** What a voice is given for these spans; null where nothing of them is said otherwise. */
export function respell(
  cx: StepContext,
  turn: number,
  spans: readonly TextSpan[],
): { spans: TextSpan[]; marks: SpellingMarks } | null {
  const rules = cx.s.config.policy.pronunciations;
  if (rules === undefined || rules.length === 0) return null;
  const question = { fn: "respell", version: 1, spans, rules: rules.map(({ text }) => text) } as const;
  const found = ask(cx, question) as readonly number[];
  if (found.length === 0) return null;
  const out: TextSpan[] = [];
  const marks: number[] = [];
  let at = 0;
  let spoken = 0;
  for (let i = 0; i + 2 < found.length; i += 3) {
    const [from = 0, to = 0, rule = 0] = found.slice(i, i + 3);
    const say = rules[rule]?.say ?? "";
    out.push(...sliceSpans(spans, at, from), literalText(cx, turn, say));
    spoken += from - at;
    marks.push(from, to, spoken, spoken + say.length);
    spoken += say.length;
    at = to;
  }
  out.push(...sliceSpans(spans, at, spansLength(spans)));
  return { spans: out, marks };
}

/** An offset in what was spoken, in the text. Within another spelling it is that word's beginning: it has not been heard yet. */
export function textOffset(marks: SpellingMarks, at: number): number {
  let shift = 0;
  for (let i = 0; i + 3 < marks.length; i += 4) {
    const [from = 0, to = 0, spokenFrom = 0, spokenTo = 0] = marks.slice(i, i + 4);
    if (at <= spokenFrom) break;
    if (at < spokenTo) return from;
    shift = to - spokenTo;
  }
  return at + shift;
}

/** The voice's word timings, by the words of the text. */
export function textWords(marks: SpellingMarks | undefined, words: readonly WordMark[]): readonly WordMark[] {
  if (marks === undefined) return words;
  return words.map((word) => ({ ...word, from: textOffset(marks, word.from), to: textOffset(marks, word.to) }));
}
