/**
 * Answers to the kernel's questions about text in a replay: recomputed where payloads are recorded, else served as recorded.
 * A question that the recording never asked has no answer below L2; it is counted, and the run says so.
 */
import { canonicalJson } from "@rspp/base/canonical-json";
import type { TextSpan } from "@rspp/kernel/event";
import type { Fact, FactAnswer, PureFunctions, TextQuestion } from "@rspp/kernel/pure-functions";
import type { JournalEntry } from "@rspp/kernel/replay";
import { cutOf, evaluateText } from "@rspp/kernel/text-functions";
import { answerPredicate } from "@rspp/spec/cel";
import { spanText } from "../re-execute.ts";

/** What differs between a recorded answer and the one found here. */
export interface FactDifference {
  batch: number;
  /** OUTCOME: another question was asked; PAYLOAD: another answer. */
  class: "OUTCOME" | "PAYLOAD";
  expected: string;
  found: string;
}

/** Recorded answers of one batch, in the order asked. */
export class RecordedFacts implements PureFunctions {
  readonly differences: FactDifference[] = [];
  readonly #entry: JournalEntry;
  readonly #compute: ((question: TextQuestion, recorded: Fact | undefined) => FactAnswer) | null;
  readonly #note: ((question: TextQuestion, answer: FactAnswer) => void) | null;
  #next = 0;

  constructor(
    entry: JournalEntry,
    compute: ((question: TextQuestion, recorded: Fact | undefined) => FactAnswer) | null,
    note: ((question: TextQuestion, answer: FactAnswer) => void) | null = null,
  ) {
    this.#entry = entry;
    this.#compute = compute;
    this.#note = note;
  }

  answer(question: TextQuestion): FactAnswer {
    const recorded = this.#entry.facts[this.#next];
    this.#next += 1;
    const answer = this.#answer(question, recorded);
    this.#note?.(question, answer);
    return answer;
  }

  #answer(question: TextQuestion, recorded: Fact | undefined): FactAnswer {
    const batch = this.#entry.batch.index;
    if (recorded === undefined || recorded.fn !== question.fn) {
      this.differences.push({
        batch,
        class: "OUTCOME",
        expected: recorded?.fn ?? "no question",
        found: question.fn,
      });
      return this.#compute?.(question, undefined) ?? unknownAnswer(question);
    }
    if (this.#compute === null) return recorded.answer;
    const answer = this.#compute(question, recorded);
    const expected = canonicalJson(recorded.answer);
    const found = canonicalJson(answer);
    if (expected !== found) this.differences.push({ batch, class: "PAYLOAD", expected, found });
    return answer;
  }
}

/**
 * Recomputes from texts; what is cut goes back among them. Hashes are keyed per tenant and cannot be recomputed here: the
 * recorded one is taken over, or that of the same text elsewhere in the recording.
 */
export function computeFrom(
  texts: Map<number, string>,
  hashes: Map<string, string> = new Map(),
): (question: TextQuestion, recorded?: Fact) => FactAnswer {
  const join = (spans: readonly TextSpan[]): string => spanText(texts, spans);
  return (question, recorded) => {
    if (question.fn === "predicate") return answerPredicate(question);
    if (question.fn !== "cut") return evaluateText(question, join);
    const text = cutOf(question, join);
    texts.set(question.ref, text);
    const known = recorded?.answer;
    const hash = typeof known === "object" && "hash" in known ? known.hash : (hashes.get(text) ?? "");
    hashes.set(text, hash);
    return { chars: text.length, bytes: Buffer.byteLength(text), hash };
  };
}

/** Answers by what was asked, whenever: for a run that asks at other times than the recorded one. */
export class FactBook {
  /** Questions that the recording holds no answer to. */
  unknown = 0;
  readonly #answers = new Map<string, FactAnswer>();

  note(question: TextQuestion, answer: FactAnswer): void {
    this.#answers.set(canonicalJson(question), answer);
  }

  answer(question: TextQuestion): FactAnswer {
    const known = this.#answers.get(canonicalJson(question));
    if (known !== undefined) return known;
    if (question.fn === "predicate") return answerPredicate(question);
    this.unknown += 1;
    return unknownAnswer(question);
  }
}

/** The answer that decides least. */
export function unknownAnswer(question: TextQuestion): FactAnswer {
  switch (question.fn) {
    case "clause_ends":
    case "respell":
      return [];
    case "screen":
      return [0];
    case "cut":
      return { chars: question.to - question.from, bytes: 0, hash: "" };
    case "word_end_before":
    case "echo_share":
      return 0;
    case "find":
      return -1;
    default:
      return false;
  }
}
