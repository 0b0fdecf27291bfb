/** Where clauses and words stand in an audio of which the vendor tells the time of each character. */
import type { WordTiming } from "@rspp/ports/provider";
import { type Clause, speakable } from "../speech/speech-out.ts";

/** Times of one part of the audio, from that part's start; milliseconds. */
export interface Alignment {
  readonly chars: readonly string[];
  readonly startsMs: readonly number[];
  readonly durationsMs: readonly number[];
}

/** How far ahead a character is looked for that is not the next: vendors leave some out, and add some. */
const lookAhead = 12;

/**
 * One clause as the vendor reads it. White space counts for nothing, and characters that the text does not have are passed
 * over, so that what the vendor makes of quotes, dashes or markup shifts no word.
 */
export class AlignedClause {
  readonly clause: Clause;
  /** Characters that sound, by their offset in the clause; those of tags are none. */
  readonly #signs: { readonly sign: string; readonly at: number }[] = [];
  /** Begin and end of each character's sound, by its offset; microseconds of the clause's audio. */
  readonly #startUs = new Map<number, number>();
  readonly #endUs = new Map<number, number>();
  readonly #tagged: boolean;
  #next = 0;
  #inTag = false;
  #closed = false;

  /** `tagged`: it was sent as markup, of which the vendor may repeat the tags. */
  constructor(clause: Clause, tagged = false) {
    this.clause = clause;
    this.#tagged = tagged;
    for (const { index, segment } of new Intl.Segmenter().segment(clause.text)) {
      if (segment.trim() !== "") this.#signs.push({ sign: segment, at: index });
    }
  }

  /** Whether every character has been told of, with the space that is sent after them: its pause is the clause's. */
  get complete(): boolean {
    return this.#next >= this.#signs.length && this.#closed;
  }

  /** Whether nothing but punctuation is left, of which the vendor may tell nothing. */
  get spoken(): boolean {
    return this.#signs.slice(this.#next).every(({ sign }) => !speakable(sign));
  }

  /** Takes a character of the vendor's. False: it is none of this clause's, which is spoken. */
  take(sign: string, startUs: number, endUs: number): boolean {
    if (sign === "<" && this.#tagged) this.#inTag = true;
    if (this.#inTag) {
      if (sign === ">") this.#inTag = false;
      return true;
    }
    if (sign.trim() === "") {
      this.#closed ||= this.#next >= this.#signs.length;
      return true;
    }
    if (this.complete) return false;
    const end = Math.min(this.#signs.length, this.#next + lookAhead);
    for (let i = this.#next; i < end; i++) {
      const own = this.#signs[i];
      if (own === undefined || !own.sign.startsWith(sign)) continue;
      this.#startUs.set(own.at, startUs);
      this.#endUs.set(own.at, endUs);
      this.#next = i + 1;
      return true;
    }
    return !this.spoken;
  }

  /** Times of the words that are told of as a whole; `ended`: of those of which anything is. */
  words(ended = false): WordTiming[] {
    const words: WordTiming[] = [];
    const upTo = (ended ? undefined : this.#signs[this.#next]?.at) ?? this.clause.text.length;
    for (const match of this.clause.text.matchAll(/\S+/g)) {
      const from = match.index;
      const to = from + match[0].length;
      if (to > upTo) break;
      const offsets = Array.from({ length: to - from }, (_, i) => from + i);
      const starts = offsets.flatMap((at) => this.#startUs.get(at) ?? []);
      const ends = offsets.flatMap((at) => this.#endUs.get(at) ?? []);
      if (starts.length > 0) words.push({ from, to, startUs: Math.min(...starts), endUs: Math.max(...ends) });
    }
    return words;
  }
}

/** The vendor's alignment of a message; undefined where it has none. Throws nothing: what does not fit counts as none. */
export function alignmentOf(value: unknown): Alignment | undefined {
  const { chars, charStartTimesMs: startsMs, charDurationsMs: durationsMs } = (value ?? {}) as Record<string, unknown>;
  if (!Array.isArray(chars) || !isNumbers(startsMs) || !isNumbers(durationsMs)) return undefined;
  if (startsMs.length !== chars.length || durationsMs.length !== chars.length) return undefined;
  return chars.every((sign) => typeof sign === "string") ? { chars, startsMs, durationsMs } : undefined;
}

/** As {@link alignmentOf}, of the HTTP endpoints, which count in seconds. */
export function secondsAlignmentOf(value: unknown): Alignment | undefined {
  const {
    characters,
    character_start_times_seconds: starts,
    character_end_times_seconds: ends,
  } = (value ?? {}) as Record<string, unknown>;
  if (!isNumbers(starts) || !isNumbers(ends)) return undefined;
  const charStartTimesMs = starts.map((start) => start * 1_000);
  const charDurationsMs = starts.map((start, i) => ((ends[i] ?? start) - start) * 1_000);
  return alignmentOf({ chars: characters, charStartTimesMs, charDurationsMs });
}

function isNumbers(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((one) => typeof one === "number" && Number.isFinite(one));
}
