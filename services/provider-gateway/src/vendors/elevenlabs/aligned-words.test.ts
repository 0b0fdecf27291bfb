import { describe, expect, test } from "vitest";
import { AlignedClause, alignmentOf, secondsAlignmentOf } from "./aligned-words.ts";

/** Ten milliseconds a character. */
function told(text: string, said: string, tagged = false): AlignedClause {
  const clause = new AlignedClause({ text, segment: 0 }, tagged);
  let us = 0;
  for (const sign of said) {
    clause.take(sign, us, us + 10_000);
    us += 10_000;
  }
  return clause;
}

const words = (clause: AlignedClause, text: string) =>
  clause.words().map(({ from, to, startUs, endUs }) => [text.slice(from, to), startUs / 10_000, endUs / 10_000]);

describe("words by the characters' times", () => {
  test("F-064 each word from its first character's start to its last one's end", () => {
    const text = "Go forward, now.";
    expect(words(told(text, `${text} `), text)).toEqual([
      ["Go", 0, 2],
      ["forward,", 3, 11],
      ["now.", 12, 16],
    ]);
  });

  test("what the vendor adds or leaves out moves no word; a word is told when it is whole", () => {
    const text = "“Ça va?” — oui.";
    const clause = told(text, '"Ça va?" oui');
    expect(words(clause, text).map(([word]) => word)).toEqual(["“Ça", "va?”"]);
    expect(clause.words(true).map(({ from, to }) => text.slice(from, to))).toEqual(["“Ça", "va?”", "oui."]);
    expect([clause.complete, clause.spoken, clause.take("N", 0, 1), clause.take(".", 0, 1)]).toEqual([
      ...[false, true, false, true],
    ]);
    expect(words(told(text, '"Ça v'), text).map(([word]) => word)).toEqual(["“Ça"]);
    expect(told("Hello there.", "Hello").complete).toBe(false);
  });

  test("emoji and combined signs keep their offsets", () => {
    const text = "né 👩‍👧 da";
    expect(words(told(text, text), text).map(([word]) => word)).toEqual(["né", "👩‍👧", "da"]);
  });

  test("X-09 tags that the vendor repeats are no characters of the text", () => {
    const text = "Ask Bo.";
    expect(words(told(text, 'Ask <phoneme ph="Bo">Bo</phoneme>.', true), text)).toEqual([
      ["Ask", 0, 3],
      ["Bo.", 21, 34],
    ]);
  });

  test("a clause is complete with the space after it, and takes no more than white space then", () => {
    expect(told("Hi.", "Hi.")).toMatchObject({ spoken: true, complete: false });
    const clause = told("Hi.", "Hi. ");
    expect(clause.complete).toBe(true);
    expect([clause.take(" ", 0, 1), clause.take("N", 1, 2)]).toEqual([true, false]);
  });
});

test("an alignment that does not fit together counts as none", () => {
  expect(alignmentOf({ chars: ["a"], charStartTimesMs: [0], charDurationsMs: [5] })).toBeDefined();
  for (const bad of [null, 3, {}, { chars: ["a"], charStartTimesMs: [0], charDurationsMs: [] }])
    expect(alignmentOf(bad)).toBeUndefined();
  const seconds = { characters: ["a"], character_start_times_seconds: [1], character_end_times_seconds: [1.25] };
  expect(secondsAlignmentOf(seconds)).toEqual({ chars: ["a"], startsMs: [1_000], durationsMs: [250] });
});
