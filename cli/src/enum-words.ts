/** Enum values of the contracts as the field's words: the name without its prefix, in lower case. */
import type { DescEnum } from "@bufbuild/protobuf";
import { InvalidArgumentError } from "commander";
import { gathered } from "./options.ts";

const words = new Map<DescEnum, ReadonlyMap<number, string>>();

function wordsOf(schema: DescEnum): ReadonlyMap<number, string> {
  let known = words.get(schema);
  if (known === undefined) {
    const prefix = schema.sharedPrefix?.length ?? 0;
    known = new Map(
      schema.values
        .filter((value) => value.number !== 0)
        .map((value) => [value.number, value.name.slice(prefix).toLowerCase()]),
    );
    words.set(schema, known);
  }
  return known;
}

/** "" for zero; a number this build does not know as `#7`. */
export function wordOf(schema: DescEnum, value: number | undefined): string {
  if (value === undefined || value === 0) return "";
  return wordsOf(schema).get(value) ?? `#${value}`;
}

/** Every word but that of zero. */
export function allWords(schema: DescEnum): string[] {
  return [...wordsOf(schema).values()];
}

/**
 * The value of a word.
 *
 * @throws InvalidArgumentError with the words that are there.
 */
export function valueOfWord(schema: DescEnum, word: string): number {
  const wanted = word.toLowerCase().replaceAll("-", "_");
  for (const [value, name] of wordsOf(schema)) if (name === wanted) return value;
  throw new InvalidArgumentError(`${word} is none of ${allWords(schema).join(", ")}`);
}

/** States of a session and kinds of events, for options; the contracts themselves are loaded only when they are needed. */
export const sessionStates = ["connecting", "active", "draining", "ended"] as const;
export const eventKinds = ["audio", "text", "control", "metrics", "debug", "error"] as const;

/** For an option that may stand several times, with several words each: every one is one of `words`. */
export function wordsOption(words: readonly string[]): (text: string, before: string[] | undefined) => string[] {
  return (text, before) => {
    const found = gathered(text, before);
    for (const word of found)
      if (!words.includes(word)) throw new InvalidArgumentError(`${word} is none of ${words.join(", ")}`);
    return found;
  };
}
