/** The declared pure functions over text (`kernel.md` §1). Run by the shell with resolved text; versioned as `text/v1`. */
import { InvariantError } from "@rspp/base/invariant";
import type { TextSpan } from "./event.ts";
import type { FactAnswer, TextQuestion } from "./pure-functions.ts";

export const TEXT_FUNCTIONS_VERSION = "text/v1";

const STRONG = /[.!?…。！？]["')\]]*\s/g;
const WEAK = /[,;:—]["')\]]*\s/g;

/** Answers every question but `cut`, which makes a payload and so belongs to the owner of payloads. */
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
    case "cut":
      throw new InvariantError("cut is answered by the owner of the payloads", question.fn);
  }
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
  if (end !== -1 && end - start <= maxChars) return end;
  if (text.length - start <= maxChars) return -1;
  const cut = text.lastIndexOf(" ", start + maxChars - 1);
  return cut > start ? cut + 1 : start + maxChars;
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
