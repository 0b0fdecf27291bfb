import type { WordTiming } from "@rspp/ports/provider";

/** What a vendor understood of one stretch of audio. */
export interface Heard {
  readonly text: string;
  /** True: never changes again; what follows belongs to the next segment. */
  readonly final: boolean;
  /** 0 to 1. */
  readonly confidence?: number;
  /** BCP 47 tag. */
  readonly language?: string;
  readonly words?: readonly WordTiming[];
  /** The vendor takes the caller to have finished speaking here. */
  readonly endpoint?: boolean;
}

export interface SpokenWord {
  /** As it stands in the text. */
  readonly text: string;
  readonly startUs: number;
  readonly endUs: number;
}

/**
 * Where the words stand in the text, by looking for each after the one before. One that is not found (a vendor that
 * writes a number out in the text and not in its words) has no timing.
 */
export function wordTimings(text: string, words: readonly SpokenWord[]): WordTiming[] {
  const timings: WordTiming[] = [];
  let at = 0;
  for (const word of words) {
    const from = word.text === "" ? -1 : text.indexOf(word.text, at);
    if (from === -1 || !Number.isFinite(word.startUs) || !Number.isFinite(word.endUs)) continue;
    at = from + word.text.length;
    const startUs = Math.max(0, Math.round(word.startUs));
    timings.push({ from, to: at, startUs, endUs: Math.max(startUs, Math.round(word.endUs)) });
  }
  return timings;
}

/** Fields that were given, without those that were not. */
export function heardOf(
  text: string,
  final: boolean,
  more: {
    confidence?: number | null | undefined;
    language?: string | null | undefined;
    words?: readonly SpokenWord[] | undefined;
    endpoint?: boolean | undefined;
  },
): Heard {
  const { confidence, language, words = [], endpoint } = more;
  const timings = wordTimings(text, words);
  return {
    text,
    final,
    ...(typeof confidence === "number" && confidence >= 0 && confidence <= 1 ? { confidence } : {}),
    ...(language ? { language } : {}),
    ...(timings.length > 0 ? { words: timings } : {}),
    ...(endpoint === true ? { endpoint: true } : {}),
  };
}
