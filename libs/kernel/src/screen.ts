/**
 * What a compliance node must not let through, found in streamed text (F-118). Every rule answers at one place of the
 * text: a match that ends there, none, or "more text may decide". What is not decided is held back; what is decided is the
 * same however the text was cut into pieces, since no answer depends on text that has not come.
 */
import { SCREEN_EMAIL_CHARS_MAX, SCREEN_NUMBER_CHARS_MAX } from "./limits.ts";
import { SCREEN_RULES, type ScreenRule } from "./pure-functions.ts";

export interface ScreenQuestion {
  /** Leading characters that have been let through before. */
  context: number;
  rules: readonly ScreenRule[];
  words: readonly string[];
  /** Nothing follows: what is undecided is decided now. */
  final: boolean;
}

/** The end of the match, or: */
const NONE = -1;
const MORE = -2;

const WORD = /[\p{L}\p{N}_]/u;
const LOCAL = /[\p{L}\p{N}._%+-]/u;
const DOMAIN = /[\p{L}\p{N}.-]/u;
const GAP = /\s/;
const DIGIT = /[0-9]/;
const SEPARATOR = /[ \-.()/\u00a0]/;
const GAP_CHARS_MAX = 4;
/** Two in a row still part the groups of one number: `555) 123`. */
const SEPARATORS_MAX = 2;

/** `[held, from, to, rule, …]`, see the question of that name. */
export function screen(text: string, question: ScreenQuestion): number[] {
  const found: number[] = [];
  let at = question.context;
  while (at < text.length) {
    if (!startsHere(text, at)) {
      at += 1;
      continue;
    }
    const { rule, end } = ruleAt(text, at, question);
    if (end === MORE) return [at, ...found];
    if (end === NONE) {
      at += 1;
      continue;
    }
    found.push(at, end, rule);
    at = end;
  }
  return [text.length, ...found];
}

/** A match begins where a word does, or at the + or ( of a number. */
function startsHere(text: string, at: number): boolean {
  const before = at === 0 ? "" : text.charAt(at - 1);
  if (before !== "" && WORD.test(before)) return false;
  const here = text.charAt(at);
  // Half of a surrogate pair is no letter by itself; words of such letters are matched by `words` all the same.
  return WORD.test(here) || here === "+" || here === "(" || isSurrogate(here);
}

function isSurrogate(char: string): boolean {
  return /[\ud800-\udfff]/.test(char);
}

function ruleAt(text: string, at: number, question: ScreenQuestion): { rule: number; end: number } {
  for (const [rule, name] of SCREEN_RULES.entries()) {
    if (!question.rules.includes(name)) continue;
    const end = RULES[name](text, at, question);
    if (end !== NONE) return { rule, end };
  }
  return { rule: 0, end: NONE };
}

type RuleAt = (text: string, at: number, question: ScreenQuestion) => number;

const RULES: Readonly<Record<ScreenRule, RuleAt>> = {
  words: (text, at, { words, final }) => longestPhrase(text, at, words, final),
  email: (text, at, { final }) => emailAt(text, at, final),
  card_number: (text, at, { final }) => numberAt(text, at, final, false, isCard),
  phone_number: (text, at, { final }) => numberAt(text, at, final, true, isPhone),
};

/** The longest of the phrases that stands here; another that may still become one is awaited. */
function longestPhrase(text: string, at: number, words: readonly string[], final: boolean): number {
  let best = NONE;
  for (const phrase of words) {
    const end = phraseAt(text, at, phrase, final);
    if (end === MORE) return MORE;
    best = Math.max(best, end);
  }
  return best;
}

/** Letter by letter without regard to case; one gap of the phrase stands for any white space. */
function phraseAt(text: string, start: number, phrase: string, final: boolean): number {
  let at = start;
  for (let p = 0; p < phrase.length; p++) {
    const wanted = phrase.charAt(p);
    if (at >= text.length) return final ? NONE : MORE;
    if (GAP.test(wanted)) {
      if (!GAP.test(text.charAt(at))) return NONE;
      const gap = at;
      while (at < text.length && at - gap < GAP_CHARS_MAX && GAP.test(text.charAt(at))) at += 1;
      while (p + 1 < phrase.length && GAP.test(phrase.charAt(p + 1))) p += 1;
    } else {
      if (text.charAt(at).toLowerCase() !== wanted.toLowerCase()) return NONE;
      at += 1;
    }
  }
  if (at >= text.length) return final ? at : MORE;
  return WORD.test(text.charAt(at)) ? NONE : at;
}

function emailAt(text: string, start: number, final: boolean): number {
  let at = start;
  while (at < text.length && at - start < SCREEN_EMAIL_CHARS_MAX && LOCAL.test(text.charAt(at))) at += 1;
  if (at - start === SCREEN_EMAIL_CHARS_MAX) return NONE;
  if (at === text.length) return final ? NONE : MORE;
  if (text.charAt(at) !== "@") return NONE;
  const domain = at + 1;
  at = domain;
  while (at < text.length && at - domain < SCREEN_EMAIL_CHARS_MAX && DOMAIN.test(text.charAt(at))) at += 1;
  if (at === text.length && at - domain < SCREEN_EMAIL_CHARS_MAX && !final) return MORE;
  while (at > domain && /[.-]/.test(text.charAt(at - 1))) at -= 1;
  return text.slice(domain, at).includes(".") ? at : NONE;
}

/**
 * The longest run of digit groups from here that `fits`; decided once the run has ended, or has its full length. `whole`: all
 * of the run or none of it, so that nothing of a longer number is left over.
 */
function numberAt(
  text: string,
  start: number,
  final: boolean,
  whole: boolean,
  fits: (digits: string) => boolean,
): number {
  let digits = "";
  let gap = 0;
  let best = NONE;
  let at = start;
  const limit = start + SCREEN_NUMBER_CHARS_MAX;
  for (; at < text.length && at < limit; at++) {
    const char = text.charAt(at);
    if (DIGIT.test(char)) {
      digits += char;
      gap = 0;
      // A number ends with its group, not inside it.
      if (fits(digits) && endsGroup(text, at + 1)) best = at + 1;
    } else {
      const leads = digits === "" && at - start < SEPARATORS_MAX && (char === "+" || char === "(");
      if (!leads && (digits === "" || !SEPARATOR.test(char))) break;
      gap += 1;
      if (gap > SEPARATORS_MAX) break;
    }
  }
  if (digits === "" && at < text.length) return NONE;
  if (at === text.length && !final) return MORE;
  return whole && !fits(digits) ? NONE : best;
}

function endsGroup(text: string, at: number): boolean {
  return at >= text.length || !WORD.test(text.charAt(at));
}

const isPhone = (digits: string): boolean => digits.length >= 7 && digits.length <= 15;

/** 13 to 19 digits with a Luhn checksum. */
function isCard(digits: string): boolean {
  if (digits.length < 13 || digits.length > 19) return false;
  let sum = 0;
  for (let i = 0; i < digits.length; i++) {
    const n = Number(digits.charAt(digits.length - 1 - i));
    const doubled = i % 2 === 0 ? n : n * 2;
    sum += doubled > 9 ? doubled - 9 : doubled;
  }
  return sum % 10 === 0;
}

/** Whether one of the words or phrases stands in the text, as a whole and without regard to case. */
export function hasWords(text: string, words: readonly string[]): boolean {
  for (let at = 0; at < text.length; at++)
    if (startsHere(text, at) && longestPhrase(text, at, words, true) !== NONE) return true;
  return false;
}
