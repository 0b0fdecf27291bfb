/**
 * Where a pure node must look at text it asks a declared pure function over handles; the answer is a journaled fact
 * (`kernel.md` §1). The shell resolves handles to text and calls `evaluateText`; a replay at L1 serves recorded answers.
 */
import type { TextSpan } from "./event.ts";

export type TextQuestion =
  /** Offsets (exclusive ends) of speakable clauses in the joined text. */
  | { fn: "clause_ends"; spans: readonly TextSpan[]; minChars: number; maxChars: number; final: boolean }
  /** A new payload `ref` holding characters [from, to) of the joined text. `spaced`: a space parts spans that would run together. */
  | {
      fn: "cut";
      spans: readonly TextSpan[];
      from: number;
      to: number;
      ref: number;
      spaced?: true;
      /** The payload's text itself, where it comes from the graph's settings or from keyed-in digits. */
      literal?: string;
    }
  /** Equal apart from case, punctuation and white space. */
  | { fn: "same_text"; a: readonly TextSpan[]; b: readonly TextSpan[] }
  | { fn: "is_blank"; spans: readonly TextSpan[] }
  /** The largest offset <= `at` at which a word ends in the joined text. */
  | { fn: "word_end_before"; spans: readonly TextSpan[]; at: number }
  /** Whether the joined text is made of these words or phrases alone, and of one at least. */
  | { fn: "only_words"; spans: readonly TextSpan[]; words: readonly string[] }
  /**
   * How many of the last `last` words of `heard` stand in `spoken`, in their order; thousandths of those compared.
   * `version` names the rule: another rule is another version.
   */
  | { fn: "echo_share"; version: 1; heard: readonly TextSpan[]; spoken: readonly TextSpan[]; last: number }
  /** Words to be said otherwise, `[from, to, rule …]`; see `respell.ts`. `version` names the rule. */
  | { fn: "respell"; version: 1; spans: readonly TextSpan[]; rules: readonly string[] }
  /** Where this very text begins in the joined text; -1 where it does not stand. */
  | { fn: "find"; spans: readonly TextSpan[]; text: string }
  /** Whether one of these words or phrases stands in the joined text. */
  | { fn: "has_words"; spans: readonly TextSpan[]; words: readonly string[] }
  /**
   * What of the joined text a compliance node must not let through: `[held, from, to, rule, from, to, rule …]`. `held` is
   * where the text begins that may still become part of a match; `rule` is an index into `SCREEN_RULES`. The first
   * `context` characters have been let through before and only tell whether a word begins.
   */
  | {
      fn: "screen";
      spans: readonly TextSpan[];
      context: number;
      rules: readonly ScreenRule[];
      words: readonly string[];
      final: boolean;
    }
  | PredicateQuestion;

/** Whether a condition of the spec holds (F-018); answered by an evaluator that the shell injects. */
export interface PredicateQuestion {
  fn: "predicate";
  source: string;
  /** The plan names it too: another evaluator may answer otherwise. */
  evaluator: typeof CONDITION_EVALUATOR;
  attributes: PredicateAttributes;
}

/** Answer to a condition that could be told neither true nor false, e.g. for want of a variable. */
export const PREDICATE_FAILED = -1;
/** The one evaluator there is; its version changes with any answer it gives. */
export const CONDITION_EVALUATOR = "cel/1";

/** All that a condition may look at: declared attributes, never a payload. What a body does not have is empty, 0 or false. */
export interface PredicateAttributes {
  event: {
    type: string;
    language: string;
    confidence: number;
    chars: number;
    final: boolean;
    /** -1 where the event belongs to none. */
    segment: number;
    speech: boolean;
    probability: number;
    duration_ms: number;
  };
  vars: Readonly<Record<string, string | number | boolean>>;
  /** Number 0 and no origin outside turns. */
  turn: { number: number; origin: string };
  /** Language the caller spoke last. */
  session: { language: string };
  /** Provider name -> whether its latest invocation in this session did not fail. */
  providers: Readonly<Record<string, boolean>>;
}

/** What compliance knows to look for; the order is that in which they are tried at one place (`screen.ts`). */
export const SCREEN_RULES = ["words", "email", "card_number", "phone_number"] as const;
export type ScreenRule = (typeof SCREEN_RULES)[number];

export type FactAnswer = number | boolean | readonly number[] | { chars: number; bytes: number; hash: string };

export interface Fact {
  fn: TextQuestion["fn"];
  answer: FactAnswer;
}

export interface PureFunctions {
  answer(question: TextQuestion): FactAnswer;
}
