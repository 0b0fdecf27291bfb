import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { escapeXml, markup, plainMarkup } from "./markup.ts";
import { pronunciationsOf } from "./settings.ts";

const spoken = new Map([
  ["acme", "ˈækmi"],
  ["acme corp", "ˈækmi kɔːp"],
]);

describe("markup", () => {
  test("X-09 whole words are said otherwise, the longest first, whatever their case; others stay", () => {
    const made = markup("ACME Corp & acme, not acmes.", spoken, "<speak>", "</speak>");
    expect(made.respelt).toBe(true);
    expect(made.text).toBe(
      '<speak><phoneme alphabet="ipa" ph="ˈækmi kɔːp">ACME Corp</phoneme> &#38; ' +
        '<phoneme alphabet="ipa" ph="ˈækmi">acme</phoneme>, not acmes.</speak>',
    );
    expect(markup("nothing of it", spoken).respelt).toBe(false);
  });

  test("offsets lead back to the text", () => {
    const text = "Ask ACME & co.";
    const made = markup(text, spoken, "<speak>", "</speak>");
    for (const word of ["Ask", "ACME", "co"]) {
      const from = made.text.indexOf(word);
      expect(made.sourceOf(from)).toBe(text.indexOf(word));
      expect(made.sourceOf(from + word.length)).toBe(text.indexOf(word) + word.length);
    }
    expect(made.sourceOf(0)).toBe(0);
    expect(made.sourceOf(made.text.length)).toBe(text.length);
    expect(plainMarkup(text).sourceOf(99)).toBe(text.length);
  });

  test("every sign that stands in the markup as it is leads to itself, and offsets never fall", () => {
    const sign = fc.constantFrom("a", "<", "&", '"', " ", "acme", "é", "東", "🚀");
    fc.assert(
      fc.property(fc.array(sign, { maxLength: 30 }), (signs) => {
        const text = signs.join("");
        const made = markup(text, spoken, "<speak>", "</speak>");
        let last = 0;
        for (let at = 0; at <= made.text.length; at++) {
          const source = made.sourceOf(at);
          expect(source).toBeGreaterThanOrEqual(last);
          expect(source).toBeLessThanOrEqual(text.length);
          last = source;
        }
        const bare = made.text.replace(/<[^>]*>/g, "");
        expect(bare).toBe(escapeXml(text));
      }),
    );
  });
});

test("X-09 entries of setting `pronunciations`; what is none is left out", () => {
  expect([...pronunciationsOf(["Tomato=təˈmɑːtəʊ", "=x", "y=", "z", "a=b=c"])]).toEqual([
    ["tomato", "təˈmɑːtəʊ"],
    ["a", "b=c"],
  ]);
});
