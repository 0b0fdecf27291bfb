import fc from "fast-check";
import { expect, test } from "vitest";
import { echoShare, onlyWords } from "./speech-words.ts";

const ASSENT = ["mhm", "yeah", "okay", "I see"];

test.each([
  ["Mhm.", true],
  ["yeah, yeah; okay!", true],
  ["I see. Okay", true],
  ["I saw", false],
  ["see", false],
  ["yeah but wait", false],
  ["", false],
  [" . ", false],
])("%j is assent alone: %j", (text, expected) => {
  expect(onlyWords(text, ASSENT)).toBe(expected);
  expect(onlyWords(text, [])).toBe(false);
});

test("any run of phrases is assent, and none with another word in it", () => {
  const phrase = fc.constantFrom(...ASSENT);
  fc.assert(
    fc.property(fc.array(phrase, { minLength: 1, maxLength: 8 }), fc.nat(8), (said, at) => {
      expect(onlyWords(said.join(", "), ASSENT)).toBe(true);
      expect(onlyWords([...said.slice(0, at), "stop", ...said.slice(at)].join(" "), ASSENT)).toBe(false);
    }),
  );
});

test.each([
  ["There was a fox", "Once upon a time there was a fox.", 1000],
  ["there was fox", "Once upon a time there was a fox.", 1000],
  ["fox a was there", "Once upon a time there was a fox.", 500],
  ["there was a cat", "there was a fox", 750],
  ["stop it please", "there was a fox", 0],
  ["", "there was a fox", 0],
  ["there was", "", 0],
])("%j beside %j is echo to %i thousandths", (heard, spoken, share) => {
  expect(echoShare(heard, spoken, 8)).toBe(share);
});

test("the words heard last count alone: what the caller adds to an echo shows soon", () => {
  const spoken = "one two three four five six seven eight nine ten";
  expect(echoShare(`${spoken} please stop`, spoken, 8)).toBe(750);
  fc.assert(
    fc.property(fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 12 }), (words) => {
      const text = words.join(" ");
      expect(echoShare(text, text, 8)).toBe(words.length === 0 ? 0 : 1000);
      expect(echoShare(text, `x ${text} y`, 8)).toBe(words.length === 0 ? 0 : 1000);
    }),
  );
});
