import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { adviceOn } from "./advice.ts";
import { fillPlaceholders, placeholdersOf } from "./placeholders.ts";
import { matchesPattern, patternFault } from "./safe-pattern.ts";
import { fillVariables, takeVariables, type VariableValues } from "./session-variables.ts";
import { compiled, edited, parsed, problemsOf, small } from "./testing.ts";

const declared = `variables:
  caller: {type: string, required: true, description: Name of the caller, max_chars: 20}
  plan: {type: enum, values: [basic, gold], default: basic, sensitivity: public}
  visits: {type: number, whole: true, min: 0}
  vip: {type: boolean, default: false}
  zip: {type: string, pattern: "[0-9]{5}"}
conversation:
  greeting: "Hello {{caller}}, you are on {{ plan }}."
  system_prompt: "Speak to {{caller}}. Write \\\\{{x}} for a slot."
`;
const spec = edited(small, "nodes:", `${declared}nodes:`);

const take = (given: VariableValues, mode: "strict" | "relaxed" = "relaxed") =>
  takeVariables(compiled(spec), given, mode);

describe("session variables", () => {
  test("X-02 what is given is typed, what is left out has its default, and both fill the texts", () => {
    const taken = take({ caller: "Ada", visits: 3 });
    if (!taken.ok) throw new Error(taken.error);
    expect(taken.value.values).toEqual({ caller: "Ada", visits: 3, plan: "basic", vip: false });
    const { greeting, systemPrompt, provenance } = fillVariables(compiled(spec), taken.value);
    expect(greeting).toBe("Hello Ada, you are on basic.");
    expect(systemPrompt).toBe("Speak to Ada. Write {{x}} for a slot.");
    expect(provenance).toMatchObject({ "variables.caller": "session", "variables.plan": "spec" });
    expect(provenance["variables.zip"]).toBe("spec");
  });

  test.each<[string, VariableValues, string]>([
    [
      "missing",
      {},
      "variables.caller (Name of the caller) is missing: give it when the session starts, e.g. --var caller=…",
    ],
    ["of another type", { caller: 7 }, "variables.caller must be text, found number: give text"],
    ["too long", { caller: "x".repeat(21) }, "variables.caller has 21 characters: give 0 to 20 characters"],
    [
      "none of the values",
      { caller: "A", plan: "golden" },
      'variables.plan is none of its values: did you mean "gold"?',
    ],
    ["a fraction", { caller: "A", visits: 1.5 }, "variables.visits is no whole number"],
    ["out of range", { caller: "A", visits: -1 }, "variables.visits is out of range: give at least 0"],
    ["no truth value", { caller: "A", vip: "yes" }, "variables.vip must be true or false, found string"],
    ["against its pattern", { caller: "A", zip: "1234" }, "variables.zip does not match its pattern"],
  ])("X-02 a variable that is %s is refused by name with what to do", (_, given, words) => {
    const taken = take(given);
    expect(taken.ok ? "" : taken.error).toContain(words);
  });

  test("X-02 undeclared ones are refused in strict mode, and taken along with a warning in relaxed mode", () => {
    const strict = take({ caller: "A", visit: 1 }, "strict");
    expect(strict.ok ? "" : strict.error).toBe(
      'variables.visit is not declared by pipeline small: did you mean "visits"?',
    );
    const relaxed = take({ caller: "A", visit: 1 });
    expect(relaxed.ok && relaxed.value).toMatchObject({ undeclared: ["visit"], values: { visit: 1 } });
  });

  test("X-02 all that is wrong is told at once, and no value is", () => {
    const taken = take({ plan: "s3cret", visits: -77 });
    expect(taken.ok ? [] : taken.error.split("; ")).toHaveLength(3);
    expect(taken.ok ? "" : taken.error).not.toMatch(/s3cret|-77/);
  });

  test("X-02 a pipeline without declarations is untouched by them", () => {
    const plain = compiled(small);
    const taken = takeVariables(plain, { any: 1 }, "relaxed");
    if (!taken.ok) throw new Error(taken.error);
    const filled = fillVariables(plain, taken.value);
    expect(filled).toEqual(plain);
    expect(filled.provenance).toBe(plain.provenance);
  });
});

describe("lint of variables", () => {
  const line = (text: string): string[] =>
    problemsOf(text).map(({ path, code, remedy }) => `${path} ${code}: ${remedy}`);

  test.each([
    ["Hello {{caller}}", "Hello {{calller}}", 'conversation.greeting unknown_variable: did you mean "caller"?'],
    ["Hello {{caller}}", "Hello {{Caller Name}}", "conversation.greeting bad_format: write {{name}}"],
    ["Hello {{caller}}", "Hello {{caller", "conversation.greeting bad_format: close it with }}"],
    ["default: basic", "default: silver", "variables.plan.default not_allowed: legal values: basic, gold"],
    [
      "required: true, desc",
      "required: true, default: x, desc",
      "variables.caller.default not_allowed: remove default",
    ],
    ["[0-9]{5}", "(a+)+", "variables.zip.pattern bad_format: use at most three"],
    ["[0-9]{5}", "(?=a)", "variables.zip.pattern bad_format: use at most three"],
    ["min: 0", "min: 9, max: 3", "variables.visits.min out_of_range: set min to 3 or less"],
    ["type: boolean", "type: truth", "variables.vip.type not_allowed: legal values: string, number, boolean, enum"],
    ["type: number, whole", "type: number, values: [a], whole", "variables.visits.values unknown_field: legal fields"],
    ["max_chars: 20}", "max_chars: 20, sensitivity: secret}", "conversation.greeting not_allowed: remove it"],
    ["vip:", "Vip-x:", "variables.Vip-x bad_format: use lower-case letters"],
  ])("X-02 F-001 %s as %s is told with its remedy", (from, to, expected) => {
    const found = line(edited(spec, from, to));
    expect(
      found.some((one) => one.startsWith(expected)),
      found.join("\n"),
    ).toBe(true);
  });

  test("X-02 settings are part of the plan: only public variables stand there", () => {
    const greet = (name: string) =>
      edited(
        spec,
        "- {id: segmenter, kind: segmenter}",
        `- {id: segmenter, kind: segmenter}\n  - {id: policy, kind: compliance, settings: {words: [x], words_action: replace, replacement: "{{${name}}}"}}`,
      ).replace("- segmenter.text -> tts.text", "- segmenter.text -> policy.text\n  - policy.text -> tts.text");
    expect(line(greet("caller"))).toEqual([
      'nodes[7].settings.replacement not_allowed: declare it with "sensitivity: public" if it is no personal data, or use it in the conversation only',
    ]);
    const taken = takeVariables(compiled(greet("plan")), { caller: "Ada" }, "strict");
    if (!taken.ok) throw new Error(taken.error);
    const node = fillVariables(compiled(greet("plan")), taken.value).graph.nodes.find(({ id }) => id === "policy");
    expect(node?.settings.replacement).toBe("basic");
  });

  test("X-02 F-018 a condition over a declared variable is typed, and one over another is refused", () => {
    const when = (source: string) =>
      edited(spec, "- segmenter.text -> tts.text", `- {from: segmenter.text, to: tts.text, condition: '${source}'}`);
    expect(() => compiled(when('vars.plan == "gold" && vars.visits > 2'))).not.toThrow();
    expect(problemsOf(when("vars.vip > 2"))[0]?.code).toBe("condition");
    expect(problemsOf(when('vars.colour == "red"'))[0]?.code).toBe("condition");
  });
});

describe("placeholders and patterns", () => {
  test("X-02 a value is taken as it is: what stands in it is filled in no further", () => {
    expect(fillPlaceholders("{{a}}{{b}}", { a: "{{b}}", b: "$&" })).toBe("{{b}}$&");
    expect(fillPlaceholders("{{constructor}}", {})).toBe("");
  });

  test("X-02 fuzz: every text is read, and filling removes each placeholder once", () => {
    const part = fc.constantFrom("{{", "}}", "{", "\\{{", "a", " ", "{{a}}", "{{ b }}", "x");
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
        const text = parts.join("");
        const filled = fillPlaceholders(text, { a: "1", b: "2" });
        expect(placeholdersOf(text).every(({ name }) => !name.includes("{"))).toBe(true);
        if (!text.includes("{{")) expect(filled).toBe(text);
      }),
    );
  });

  test("X-02 an accepted pattern ends soon on the longest value", () => {
    for (const pattern of [".*.*.*x", "[a-z]+-[a-z]+", "\\d{1,256}\\w*", "(?:ab|c)[0-9]+"]) {
      expect(patternFault(pattern)).toBeNull();
      const started = performance.now();
      matchesPattern(pattern, "a".repeat(256));
      expect(performance.now() - started).toBeLessThan(1_000);
    }
    for (const pattern of ["(a|a)*", "(a*)*", "a*b*c*d*", "(a)\\1", "[", "x".repeat(201)]) {
      expect(patternFault(pattern)).not.toBeNull();
    }
  });
});

test("X-02 F-048 F-135 variables stand in the sentences for errors and in postures: filled in, known, and public there", () => {
  const parts = `errors: {default: "We are {{plan}}."}
degrade: {postures: [{id: brief, nodes: {tts: {voice: "{{plan}}"}}}]}
`;
  const tough = `${spec}${parts}`;
  const taken = take({ caller: "Ada" });
  if (!taken.ok) throw new Error(taken.error);
  const { graph } = fillVariables(compiled(tough), taken.value);
  expect(graph.errors).toEqual({ default: "We are basic." });
  expect(graph.degrade?.postures[0]?.nodes).toEqual({ tts: { voice: "basic" } });
  const told = (from: string, to: string): string[] =>
    problemsOf(edited(tough, from, to)).map(({ path, code }) => `${path} ${code}`);
  expect(told("We are {{plan}}", "We are {{plam}}")).toEqual(["errors.default unknown_variable"]);
  expect(told("We are {{plan}}", "We are {{caller}}")).toEqual(["errors.default not_allowed"]);
  expect(told('voice: "{{plan}}"', 'voice: "{{caller}}"')).toEqual(["degrade.postures[0].nodes.tts.voice not_allowed"]);
});

test("X-02 F-126 a variable that only an error sentence, a posture or a spelling names is used", () => {
  const uses = [
    'errors: {default: "{{place}}"}',
    'degrade: {postures: [{id: brief, nodes: {tts: {voice: "{{place}}"}}}]}',
    "vocabulary: {key_terms: ['{{place}}']}",
  ];
  const advised = (use: string): string[] => {
    const text = `${small}variables: {place: {type: string, default: here, sensitivity: public}}\n${use}\n`;
    return adviceOn(parsed(text)).flatMap(({ path }) => (path.startsWith("variables.") ? [path] : []));
  };
  expect(uses.map(advised)).toEqual([[], [], []]);
  expect(advised("")).toEqual(["variables.place"]);
});
