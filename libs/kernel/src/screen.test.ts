import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SCREEN_RULES, type ScreenRule } from "./pure-functions.ts";
import { hasWords, screen } from "./screen.ts";

const WORDS = ["fox", "secret plan", "Überraschung"];

interface Found {
  rule: ScreenRule;
  text: string;
}

function matches(text: string, rules: readonly ScreenRule[] = SCREEN_RULES): Found[] {
  const [, ...found] = screen(text, { context: 0, rules, words: WORDS, final: true });
  const out: Found[] = [];
  for (let i = 0; i < found.length; i += 3)
    out.push({ rule: SCREEN_RULES[found[i + 2] ?? 0] ?? "words", text: text.slice(found[i], found[i + 1]) });
  return out;
}

/** As a compliance node does it: each match becomes its rule in angle brackets. */
function streamed(
  pieces: readonly string[],
  rules: readonly ScreenRule[] = SCREEN_RULES,
): { text: string; held: number[] } {
  let pending = "";
  let context = 0;
  let text = "";
  const heldChars: number[] = [];
  const feed = (final: boolean): void => {
    const [held = 0, ...found] = screen(pending, { context, rules, words: WORDS, final });
    let at = context;
    for (let i = 0; i < found.length; i += 3) {
      text += `${pending.slice(at, found[i])}<${SCREEN_RULES[found[i + 2] ?? 0]}>`;
      at = found[i + 1] ?? at;
    }
    text += pending.slice(at, held);
    pending = pending.slice(Math.max(0, held - 1));
    context = held > 0 ? 1 : 0;
    heldChars.push(pending.length - context);
  };
  for (const piece of pieces) {
    pending += piece;
    feed(false);
  }
  feed(true);
  return { text, held: heldChars };
}

describe("F-118 what compliance finds", () => {
  const table: readonly [string, readonly Found[]][] = [
    ["Pay with 4111 1111 1111 1111 now.", [{ rule: "card_number", text: "4111 1111 1111 1111" }]],
    ["card:4111-1111-1111-1111, 12/29", [{ rule: "card_number", text: "4111-1111-1111-1111" }]],
    ["4111111111111111 123", [{ rule: "card_number", text: "4111111111111111" }]],
    ["Write to jo.doe+x@mail.example.com. Thanks", [{ rule: "email", text: "jo.doe+x@mail.example.com" }]],
    ["Call +49 (30) 123-4567 today", [{ rule: "phone_number", text: "+49 (30) 123-4567" }]],
    ["Call (030) 1234567.", [{ rule: "phone_number", text: "(030) 1234567" }]],
    [
      "The Fox has a SECRET  plan",
      [
        { rule: "words", text: "Fox" },
        { rule: "words", text: "SECRET  plan" },
      ],
    ],
    ["Eine ÜBERRASCHUNG!", [{ rule: "words", text: "ÜBERRASCHUNG" }]],
  ];
  test.each(table)("%s", (text, found) => {
    expect(matches(text)).toEqual(found);
  });

  test.each([
    "foxes, firefox and fox_2 are other words",
    "In 2026 there were 1 234 visitors at 12:30",
    "jo@localhost and @home, a@b",
    "4111 1111 1111 1112 has no checksum",
    "secret, plan",
    "",
  ])("nothing in: %s", (text) => {
    expect(matches(text, ["words", "email", "card_number"])).toEqual([]);
  });

  test("a card in brackets is a card, not a telephone number with digits left over", () => {
    expect(matches("(4111 1111 1111 1111)")).toEqual([{ rule: "card_number", text: "(4111 1111 1111 1111" }]);
    expect(matches("4111 1111 1111 1111 12 29")[0]?.text).toBe("4111 1111 1111 1111");
  });

  test("a rule that is off finds nothing", () => {
    expect(matches("a@b.com 4111111111111111 fox", [])).toEqual([]);
  });

  test("words are found whole, without regard to case", () => {
    expect(hasWords("the FOX", ["fox"])).toBe(true);
    expect(hasWords("the foxes", ["fox"])).toBe(false);
  });
});

describe("F-118 streamed", () => {
  const piece = fc.oneof(
    fc.constantFrom(
      "4111 1111 1111 1111",
      "4111",
      " 1111",
      "+49 30 123",
      "4567",
      "jo.doe@mail.example.com",
      "@",
      ".com",
      "fox",
      "fo",
      "x",
      "secret",
      " plan",
      "Überraschung",
      " ",
      "  ",
      ". ",
      "-",
      "(",
      ")",
      "+",
      "\u{1f98a}",
      "hello",
      "\n",
    ),
    fc.string({ maxLength: 6 }),
    fc.stringMatching(/^[0-9 .()+@a-z-]{0,20}$/),
  );

  test("any chunking gives the same text as the whole, and what is held is bounded", () => {
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 14 }),
        fc.array(fc.nat({ max: 200 }), { maxLength: 12 }),
        fc.subarray([...SCREEN_RULES]),
        (parts, cuts, rules) => {
          const text = parts.join("");
          const at = [...new Set(cuts.map((cut) => cut % (text.length + 1)))].sort((a, b) => a - b);
          const pieces = [...at, text.length].map((end, i) => text.slice(at[i - 1] ?? 0, end));
          const whole = streamed([text], rules);
          const cut = streamed(pieces, rules);
          expect(cut.text).toBe(whole.text);
          for (const held of cut.held) expect(held).toBeLessThanOrEqual(140);
          const letters = streamed(
            [...text].flatMap((char) => char.split("")),
            rules,
          );
          expect(letters.text).toBe(whole.text);
        },
      ),
      { numRuns: 1_500 },
    );
  });

  test("text that no pattern can need is not held back", () => {
    expect(streamed(["Hello there, my ", "friend"], ["card_number", "phone_number"]).held).toEqual([0, 0, 0]);
    expect(streamed(["You have 3 "], ["card_number"]).held[0]).toBe(2);
  });
});
