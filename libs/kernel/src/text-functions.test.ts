import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { TextSpan } from "./event.ts";
import { sliceSpans, spansLength } from "./rope.ts";
import { clauseEnds, evaluateText, normaliseText } from "./text-functions.ts";

/** Text as speech has it: words, marks, spaces, with some hard cases. */
const prose = fc
  .array(
    fc.oneof(
      {
        weight: 5,
        arbitrary: fc.constantFrom(
          "a",
          "fox",
          "wood",
          "hill's",
          "3.5",
          "Mr",
          "über",
          "日本",
          "👍🏽",
          "antidisestablishment",
        ),
      },
      { weight: 3, arbitrary: fc.constantFrom(" ", "  ", "\n") },
      { weight: 2, arbitrary: fc.constantFrom(". ", "! ", "? ", ", ", "; ", '." ', "… ", "。", ".") },
    ),
    { maxLength: 60 },
  )
  .map((parts) => parts.join(""));

const pieces = (text: string, ends: readonly number[]) => ends.map((end, i) => text.slice(ends[i - 1] ?? 0, end));

describe("clauseEnds", () => {
  const sizes = fc.tuple(prose, fc.integer({ min: 1, max: 40 }), fc.integer({ min: 2, max: 80 }));

  test("ends rise, stay inside the text, and no clause is longer than max_chars, leading space aside", () => {
    fc.assert(
      fc.property(sizes, fc.boolean(), ([text, minChars, maxChars], final) => {
        const ends = clauseEnds(text, minChars, maxChars, final);
        for (const [i, end] of ends.entries()) {
          expect(end).toBeGreaterThan(ends[i - 1] ?? 0);
          expect(end).toBeLessThanOrEqual(text.length);
          expect(text.slice(ends[i - 1] ?? 0, end).trimStart().length).toBeLessThanOrEqual(maxChars);
        }
      }),
    );
  });

  test("final covers all that is to be spoken, and nothing blank is a clause", () => {
    fc.assert(
      fc.property(sizes, ([text, minChars, maxChars]) => {
        const ends = clauseEnds(text, minChars, maxChars, true);
        expect(text.slice(ends.at(-1) ?? 0).trim()).toBe("");
        for (const piece of pieces(text, ends)) expect(piece.trim()).not.toBe("");
      }),
    );
  });

  test("what has been cut is not cut otherwise when more text comes", () => {
    fc.assert(
      fc.property(sizes, prose, ([text, minChars, maxChars], more) => {
        const ends = clauseEnds(text, minChars, maxChars, false);
        expect(clauseEnds(text + more, minChars, maxChars, false).slice(0, ends.length)).toEqual(ends);
      }),
    );
  });

  test("never between the halves of a surrogate pair", () => {
    const text = "👍".repeat(50);
    for (const end of clauseEnds(text, 5, 11, true)) expect(text.charCodeAt(end) & 0xfc00).not.toBe(0xdc00);
  });

  test.each([
    ["Once upon a time. It was", 12, 160, false, ["Once upon a time. "]],
    ["Well, you know, that is how it is, and", 12, 160, false, ["Well, you know, ", "that is how it is, "]],
    ["It is 3.5 degrees.", 12, 160, false, []],
    ["It is 3.5 degrees.", 12, 160, true, ["It is 3.5 degrees."]],
    ["Yes. No.", 12, 160, true, ["Yes. ", "No."]],
    ["one two three four", 4, 9, false, ["one two ", "three "]],
    ["", 12, 160, true, []],
    ["   ", 12, 160, true, []],
  ])("%j", (text, minChars, maxChars, final, expected) => {
    expect(pieces(text, clauseEnds(text, minChars, maxChars, final))).toEqual(expected);
  });
});

describe("questions", () => {
  const join = (texts: readonly string[]) => (spans: readonly TextSpan[]) =>
    spans.map((s) => (texts[s.ref] ?? "").slice(s.from, s.to)).join("");
  const span = (ref: number, text: string): TextSpan => ({ ref, from: 0, to: text.length });

  test("same_text looks past case, punctuation and white space, and is stable", () => {
    expect(normaliseText("  Don't STOP — now!  ")).toBe("don't stop now");
    fc.assert(
      fc.property(prose, (text) => {
        expect(normaliseText(normaliseText(text))).toBe(normaliseText(text));
        expect(normaliseText(text.toUpperCase().toLowerCase())).toBe(normaliseText(text.toLowerCase()));
        const loud = ` ${text.replaceAll(" ", "  ")}!`;
        const ask = { fn: "same_text", a: [span(0, text)], b: [span(1, loud)] } as const;
        expect(evaluateText(ask, join([text, loud]))).toBe(normaliseText(text) === normaliseText(loud));
      }),
    );
  });

  test("is_blank", () => {
    const blank = (text: string) => evaluateText({ fn: "is_blank", spans: [span(0, text)] }, join([text]));
    expect([blank(""), blank(" \n"), blank(" a ")]).toEqual([true, true, false]);
  });

  test("word_end_before: the largest end of a word at or before", () => {
    fc.assert(
      fc.property(prose, fc.integer({ min: 0, max: 200 }), (text, at) => {
        const found = evaluateText({ fn: "word_end_before", spans: [span(0, text)], at }, join([text]));
        const ends = [...text.matchAll(/\S+/g)].map((m) => m.index + m[0].length).filter((end) => end <= at);
        const expected = at >= text.length ? text.length : (ends.at(-1) ?? 0);
        expect(found).toBe(expected);
      }),
    );
  });

  test("cut belongs to the owner of the payloads", () => {
    expect(() => evaluateText({ fn: "cut", spans: [], from: 0, to: 0, ref: -1 }, join([]))).toThrow(/owner/);
  });
});

describe("rope", () => {
  const texts = ["Once upon ", "a time", "", " there was a fox"];
  const spans = fc.array(
    fc.integer({ min: 0, max: 3 }).chain((ref) => {
      const length = texts[ref]?.length ?? 0;
      return fc.tuple(fc.integer({ min: 0, max: length }), fc.integer({ min: 0, max: length })).map(([a, b]) => ({
        ref,
        from: Math.min(a, b),
        to: Math.max(a, b),
      }));
    }),
    { maxLength: 6 },
  );
  const text = (of: readonly TextSpan[]) => of.map((s) => texts[s.ref]?.slice(s.from, s.to)).join("");

  test("a slice of the spans is the slice of the text", () => {
    fc.assert(
      fc.property(spans, fc.nat(60), fc.nat(60), (of, a, b) => {
        const [from, to] = [Math.min(a, b), Math.max(a, b)];
        const cut = sliceSpans(of, from, to);
        expect(text(cut)).toBe(text(of).slice(from, to));
        expect(spansLength(cut)).toBe(text(cut).length);
        expect(cut.every((s) => s.to > s.from)).toBe(true);
        expect(text([...sliceSpans(of, 0, from), ...sliceSpans(of, from, spansLength(of))])).toBe(text(of));
      }),
    );
  });
});
