import type { PredicateAttributes } from "@rspp/kernel/pure-functions";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { answerPredicate, conditionProblem, evaluateCondition } from "./cel.ts";

const attributes = (over: Partial<PredicateAttributes["event"]> = {}): PredicateAttributes => ({
  event: {
    type: "text",
    language: "de",
    confidence: 0.75,
    chars: 12,
    final: true,
    segment: 0,
    speech: false,
    probability: 0,
    duration_ms: 0,
    ...over,
  },
  vars: { tier: "gold", calls: 3, vip: true },
  turn: { number: 2, origin: "endpoint" },
  session: { language: "de" },
  providers: { "sim/llm": true, "sim/llm-b": false },
});

describe("F-018 a condition looks at declared attributes", () => {
  test.each([
    ['event.language == "de"', true],
    ['event.language.startsWith("en")', false],
    ['event.language in ["fr", "de"]', true],
    ["event.confidence >= 0.7 && event.chars > 10", true],
    ["event.chars * 2 + vars.calls == 27", true],
    ["event.confidence * 2.0 > 1", true],
    ["event.final ? event.chars > 20 : true", false],
    ['event.type == "audio" || turn.number == 2', true],
    ['turn.origin != "endpoint"', false],
    ['vars.tier == "gold" && vars.calls < 4 && vars.vip', true],
    ['has(vars.plan) && vars.plan == "x"', false],
    ['providers["sim/llm"].healthy', true],
    ['providers["sim/llm-b"].healthy', false],
    ['session.language.matches("^d.$")', true],
    ["size(event.language) == 2", true],
  ])("F-018 %s is %s", (source, expected) => {
    expect(conditionProblem(source)).toBeNull();
    expect(evaluateCondition(source, attributes())).toEqual({ ok: true, value: expected });
  });

  test("F-018 X-02 a variable that was not given is an error value, not false and not an exception", () => {
    const answer = evaluateCondition('vars.plan == "x"', attributes());
    expect(answer).toMatchObject({ ok: false });
    const question = {
      fn: "predicate",
      source: 'vars.plan == "x"',
      evaluator: "cel/1",
      attributes: attributes(),
    } as const;
    expect(answerPredicate(question)).toBe(-1);
  });
});

describe("F-018 what is no condition is refused before a session starts", () => {
  test.each([
    ["event.chars >", /cannot be read/],
    ["event.chars", /a number, not true or false/],
    ["event.colour == 1", /event has no "colour", it has type, language/],
    ["nope.x == 1", /there is no "nope"/],
    ['event.chars == "12"', /compares a number with text/],
    ["event.language > 3", /compares text with a number/],
    ["event.confidence * 2 > 1", /mixes a whole number and a fraction/],
    ["event.chars && true", /&& does not take a number/],
    ['timestamp("2026-01-01T00:00:00Z") < timestamp("2027-01-01T00:00:00Z")', /"timestamp" is not part of cel\/1/],
    ["[1, 2].exists(x, x == event.chars)", /macros over lists/],
    ['event.final == b"x"', /null, bytes/],
    [`event.chars == ${Array.from({ length: 100 }, () => "1").join("+")}`, /more than 128 parts/],
    [`event.chars > ${"1".repeat(600)}`, /longer than 512/],
    ["(".repeat(300), /cannot be read/],
    [" ", /cannot be read/],
  ])("F-018 refused, case %#", (source, problem) => {
    expect(conditionProblem(source)).toMatch(problem);
  });

  test("X-02 with declared variables an unknown one, and one of another type, is named", () => {
    const declared = { tier: "text", calls: "number" } as const;
    expect(conditionProblem('vars.tier == "gold" && vars.calls > 2', declared)).toBeNull();
    expect(conditionProblem("vars.teir == 1", declared)).toMatch(/no variable "teir"/);
    expect(conditionProblem('vars["calls"] == "two"', declared)).toMatch(/compares a number with text/);
  });
});

test("F-018 same source and attributes, same answer; whatever the text, nothing is thrown", () => {
  const parts = [
    "event.chars",
    "event.language",
    '"de"',
    "3",
    ">",
    "==",
    "&&",
    "!",
    "(",
    ")",
    "vars.tier",
    "in",
    "[1]",
    ".",
  ];
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ maxLength: 40 }),
        fc.array(fc.constantFrom(...parts), { maxLength: 8 }).map((p) => p.join(" ")),
      ),
      fc.record({ chars: fc.nat(20), language: fc.constantFrom("de", "en", ""), final: fc.boolean() }),
      (source, over) => {
        const first = evaluateCondition(source, attributes(over));
        expect(evaluateCondition(source, attributes(over))).toEqual(first);
        if (conditionProblem(source) !== null) expect(first.ok).toBe(false);
      },
    ),
    { numRuns: 300 },
  );
});
