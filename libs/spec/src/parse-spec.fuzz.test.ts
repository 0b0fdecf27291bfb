import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileSpec } from "./compile-spec.ts";
import { parseSpec } from "./parse-spec.ts";
import { formatProblems } from "./problem.ts";
import { readSpecFile, small } from "./testing.ts";

/** Things authors and editors leave in files, and things only a fuzzer would. */
const scraps = [
  ..."\t \n:-[]{}#&*!|>'\"%@`,?",
  "- ",
  ": ",
  "---\n",
  "...\n",
  "<<: *a",
  "&a ",
  "*a",
  "!!binary ",
  "!!set {a}",
  "? {a: b}",
  "null",
  "~",
  ".nan",
  "-.inf",
  "1e999",
  "0x1f",
  "true",
  "__proto__: {x: 1}",
  "constructor",
  "caller",
  "kind: filter",
  "\u0000",
  "\u2028",
  "\uD800",
  "\uFEFF",
  "a.b -> c.d",
];

const edit = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  remove: fc.nat({ max: 40 }),
  insert: fc.oneof(fc.constantFrom(...scraps), fc.string({ maxLength: 8, unit: "binary" })),
});

function apply(text: string, edits: readonly { at: number; remove: number; insert: string }[]): string {
  return edits.reduce((now, { at, remove, insert }) => {
    const from = Math.floor(at * now.length);
    return now.slice(0, from) + insert + now.slice(from + remove);
  }, text);
}

/** Parses, prints and compiles; every problem is complete and sorted. */
function survives(text: string): boolean {
  const spec = parseSpec(text, "fuzz.yaml");
  if (spec.ok) return compileSpec(spec.value).ok;
  const problems = spec.error;
  expect(problems.length).toBeGreaterThan(0);
  problems.forEach((problem, i) => {
    const before = problems[i - 1] ?? problem;
    expect(before.line < problem.line || (before.line === problem.line && before.column <= problem.column)).toBe(true);
    expect(Math.min(problem.line, problem.column, problem.message.length, problem.remedy.length)).toBeGreaterThan(0);
  });
  return formatProblems(problems, text).startsWith("fuzz.yaml:");
}

describe("parseSpec under random edits", () => {
  const template = readSpecFile("voice-assistant.yaml");

  test.each([
    ["the template", template],
    ["the small pipeline", small],
  ])("F-001 never throws: %s, torn and patched", (_, text) => {
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => survives(apply(text, edits))),
      { numRuns: 300 },
    );
  });

  test("F-001 never throws: lines moved, doubled, lost and shifted", () => {
    const lines = small.split("\n");
    const move = fc.record({
      from: fc.nat({ max: 40 }),
      to: fc.nat({ max: 40 }),
      indent: fc.nat({ max: 6 }),
      keep: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(move, { minLength: 1, maxLength: 6 }), (moves) => {
        const now = [...lines];
        for (const { from, to, indent, keep } of moves) {
          const line = now[from % now.length] ?? "";
          if (!keep) now.splice(from % now.length, 1);
          now.splice(to % Math.max(1, now.length), 0, " ".repeat(indent) + line.trimStart());
        }
        return survives(now.join("\n"));
      }),
      { numRuns: 400 },
    );
  });

  test("F-001 never throws: any JSON, and any text", () => {
    fc.assert(fc.property(fc.json(), survives), { numRuns: 200 });
    fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 60 }), survives), { numRuns: 200 });
  });
});
