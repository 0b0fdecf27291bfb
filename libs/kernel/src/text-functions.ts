/** The declared pure functions over text (`kernel.md` §1). Run by the shell with resolved text; versioned as `text/v1`. */
import { InvariantError } from "@rspp/base/invariant";
import type { TextSpan } from "./event.ts";
import type { FactAnswer, TextQuestion } from "./pure-functions.ts";
import { respellings } from "./respell.ts";
import { hasWords, screen } from "./screen.ts";
import { echoShare, onlyWords } from "./speech-words.ts";

export const TEXT_FUNCTIONS_VERSION = "text/v1";

const STRONG = /[.!?…。！？]["')\]]*\s/g;
const WEAK = /[,;:—]["')\]]*\s/g;

/**
 * Answers every question but `cut`, which makes a payload and so belongs to the owner of payloads, and `predicate`, which
 * belongs to the evaluator of conditions.
 */
export function evaluateText(question: TextQuestion, join: (spans: readonly TextSpan[]) => string): FactAnswer {
  switch (question.fn) {
    case "clause_ends":
      return clauseEnds(join(question.spans), question.minChars, question.maxChars, question.final);
    case "same_text":
      return normaliseText(join(question.a)) === normaliseText(join(question.b));
    case "is_blank":
      return join(question.spans).trim() === "";
    case "word_end_before":
      return wordEndBefore(join(question.spans), question.at);
    case "has_words":
      return hasWords(join(question.spans), question.words);
    case "only_words":
      return onlyWords(join(question.spans), question.words);
    case "echo_share":
      return echoShare(join(question.heard), join(question.spoken), question.last);
    case "respell":
      return respellings(join(question.spans), question.rules);
    case "find":
      return join(question.spans).indexOf(question.text);
    case "screen":
      return screen(join(question.spans), question);
    case "cut":
      throw new InvariantError("cut is answered by the owner of the payloads", question.fn);
    case "predicate":
      throw new InvariantError("a condition is answered by its evaluator, which the shell injects", question.source);
  }
}

/** The text of a `cut`, for the owner of the payloads. */
export function cutOf(
  question: Extract<TextQuestion, { fn: "cut" }>,
  join: (spans: readonly TextSpan[]) => string,
): string {
  if (question.literal !== undefined) return question.literal;
  const text =
    question.spaced === true ? question.spans.map((span) => join([span])).reduce(spaced, "") : join(question.spans);
  return text.slice(question.from, question.to);
}

function spaced(before: string, next: string): string {
  const apart = before === "" || next === "" || /\s$/.test(before) || /^\s/.test(next);
  return apart ? before + next : `${before} ${next}`;
}

/** Lower case, letters, digits and apostrophes only, single spaces. */
export function normaliseText(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^\p{L}\p{N}']+/gu, " ")
    .trim();
}

/**
 * Ends of speakable clauses: sentence ends first; a comma or the like once `minChars` are reached; any word end at
 * `maxChars`. With `final` the rest is a clause of its own. Offsets rise.
 */
export function clauseEnds(text: string, minChars: number, maxChars: number, final: boolean): number[] {
  const ends: number[] = [];
  let start = 0;
  for (;;) {
    const end = nextClauseEnd(text, start, minChars, maxChars);
    if (end === -1) break;
    ends.push(end);
    start = end;
  }
  if (final && text.slice(start).trim() !== "") ends.push(text.length);
  return ends;
}

function nextClauseEnd(text: string, start: number, minChars: number, maxChars: number): number {
  const strong = firstMatchEnd(STRONG, text, start, 2);
  const weak = firstMatchEnd(WEAK, text, start, minChars);
  let end = strong;
  if (weak !== -1 && (end === -1 || weak < end)) end = weak;
  // White space before the first word does not count: a clause of nothing else would be spoken as silence.
  const from = start + (text.length - start - text.slice(start).trimStart().length);
  if (end !== -1 && end - from <= maxChars) return end;
  if (text.length - from <= maxChars) return -1;
  const cut = text.lastIndexOf(" ", from + maxChars - 1);
  return cut > from ? cut + 1 : wholeCharacter(text, from + maxChars, from);
}

/** Moves a cut out of a surrogate pair: back, or on where nothing would be left before it. */
function wholeCharacter(text: string, at: number, from: number): number {
  const inPair = (text.charCodeAt(at) & 0xfc00) === 0xdc00 && (text.charCodeAt(at - 1) & 0xfc00) === 0xd800;
  if (!inPair) return at;
  return at - 1 > from ? at - 1 : at + 1;
}

function firstMatchEnd(pattern: RegExp, text: string, start: number, minChars: number): number {
  pattern.lastIndex = start;
  for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
    const end = match.index + match[0].length;
    if (text.slice(start, end).trim().length >= minChars) return end;
  }
  return -1;
}

function wordEndBefore(text: string, at: number): number {
  if (at >= text.length) return text.length;
  let end = at;
  while (end > 0 && !(/\s/.test(text.charAt(end)) && !/\s/.test(text.charAt(end - 1)))) end -= 1;
  return end;
}
