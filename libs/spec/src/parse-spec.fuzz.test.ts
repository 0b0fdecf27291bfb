import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileSpec } from "./compile-spec.ts";
import { applyLayers } from "./layers.ts";
import { bundleSpec } from "./module-library.ts";
import { parseOverrides } from "./overrides.ts";
import { parseModule } from "./parse-module.ts";
import { parseSpec } from "./parse-spec.ts";
import { formatProblems, type SpecProblem } from "./problem.ts";
import { readSpecFile, small } from "./testing.ts";

/** FUZZ_RUNS sets how many of each are tried in a long run (quality.md R6). */
const runs = (usual: number): number => Number(process.env.FUZZ_RUNS ?? usual);

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
      { numRuns: runs(300) },
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
      { numRuns: runs(400) },
    );
  });

  test("F-001 never throws: any JSON, and any text", () => {
    fc.assert(fc.property(fc.json(), survives), { numRuns: runs(200) });
    fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 60 }), survives), { numRuns: runs(200) });
  });
});

const modular = `schema: rspp/pipeline/v1
name: m
version: 1
variables: {caller: {type: string, pattern: "[a-z]*", default: a}}
conversation: {greeting: "Hi {{caller}}"}
modules: [{id: answer, use: spoken-answer@1, with: {first_min_chars: 4}}]
nodes:
  - {id: caller, kind: ingress}
  - {id: keypad, kind: dtmf}
  - {id: context, kind: context}
  - {id: llm, kind: llm, provider: {candidates: [local/responder]}}
  - {id: output, kind: output}
edges: [keypad.utterance -> context.utterance, context.messages -> llm.messages, llm.text -> answer.text, answer.audio -> output.audio]
`;
const module = readFileSync(new URL("../../../pipelines/modules/spoken-answer@1.yaml", import.meta.url), "utf8");
const layer = `schema: rspp/overrides/v1
layer: tenant
name: acme
version: 1
applies_to: [m]
variables: {caller: abc}
policy: {barge_in: true}
nodes: {llm: {provider: {candidates: [a/b], settings: {x: 1}}}, keypad: {settings: {max_digits: 3}}}
`;
const edits = fc.array(edit, { minLength: 1, maxLength: 4 });

/** Every problem has a file, a place, a message and a remedy, and prints. */
function complete(problems: readonly SpecProblem[], text: string): void {
  expect(problems.length).toBeGreaterThan(0);
  for (const { file, line, column, message, remedy } of problems) {
    expect(Math.min(file.length, line, column, message.length, remedy.length)).toBeGreaterThan(0);
  }
  expect(formatProblems(problems, text)).toContain("help: ");
}

describe("modules and layers under random edits", () => {
  test("F-019 never throws: spec and module, torn and patched; what is read compiles, bundled as well", () => {
    fc.assert(
      fc.property(edits, edits, fc.boolean(), (ofSpec, ofModule, both) => {
        const text = apply(modular, ofSpec);
        const own = both ? apply(module, ofModule) : module;
        const library = { names: () => ["spoken-answer@1"], find: () => ({ file: "m.yaml", text: own }) };
        const spec = parseSpec(text, "fuzz.yaml", library);
        if (!spec.ok) return complete(spec.error, text);
        const compiled = compileSpec(spec.value);
        expect(compiled.ok).toBe(true);
        const alone = parseSpec(bundleSpec(text, spec.value.origin.library ?? []), "bundle.yaml");
        const again = alone.ok ? compileSpec(alone.value) : alone;
        if (compiled.ok && again.ok) expect(again.value.fingerprint).toBe(compiled.value.fingerprint);
      }),
      { numRuns: runs(300) },
    );
  });

  test("F-019 never throws: a module by itself", () => {
    fc.assert(
      fc.property(edits, (changes) => {
        const text = apply(module, changes);
        const read = parseModule(text, "m.yaml");
        if (!read.ok) complete(read.error, text);
      }),
      { numRuns: runs(300) },
    );
  });

  test("F-080 never throws: a layer, torn and patched, and laid over a spec", () => {
    const spec = parseSpec(`${modular}---\n${module}`, "m.yaml");
    if (!spec.ok) throw new Error("the spec holds");
    fc.assert(
      fc.property(edits, (changes) => {
        const text = apply(layer, changes);
        const read = parseOverrides(text, "layer.yaml");
        if (!read.ok) return complete(read.error, text);
        const laid = applyLayers(spec.value, [read.value]);
        const compiled = laid.ok ? compileSpec(laid.value) : laid;
        if (!compiled.ok) complete(compiled.error, text);
      }),
      { numRuns: runs(300) },
    );
  });
});
