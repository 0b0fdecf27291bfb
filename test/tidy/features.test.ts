import { describe, expect, test } from "vitest";
import features from "../features.json" with { type: "json" };
import { featureProblems, titlePattern } from "./features.ts";
import { readText, repositoryFiles } from "./repository.ts";

const readListed = (path: string): string | undefined =>
  repositoryFiles().includes(path) ? readText(path) : undefined;

test("every feature in features.json names tests that exist", () => {
  expect(featureProblems(features, readListed)).toEqual([]);
});

describe("the features checker", () => {
  const readSample = (path: string): string | undefined =>
    path === "libs/a/src/a.test.ts"
      ? `// test("F-001 is planned", f)\n/* test("F-001 was") */ test("F-001 works", f); test(\`F-001 \${n} of %i\`, f)`
      : undefined;

  test.each([
    [{ "F-1": ["libs/a/src/a.test.ts::F-001 works"] }, "F-1: a feature id looks like"],
    [{ "F-001": [] }, "at least one"],
    [{ "F-001": "libs/a/src/a.test.ts::F-001 works" }, "at least one"],
    [{ "F-001": ["libs/a/src/a.test.ts"] }, 'is not "path::test title"'],
    [{ "F-001": ["libs/a/src/a.ts::F-001 works"] }, "is no test file"],
    [{ "F-001": ["libs/b/src/b.test.ts::F-001 works"] }, "there is no file libs/b/src/b.test.ts"],
    [{ "F-001": ["libs/a/src/a.test.ts::F-001 flies"] }, 'has no test titled "F-001 flies"'],
    [{ "F-001": ["libs/a/src/a.test.ts::F-001 is planned"] }, 'has no test titled "F-001 is planned"'],
    [{ "F-001": ["libs/a/src/a.test.ts::F-001 was"] }, "has no test titled"],
    [{ "F-001": ["libs/a/src/a.test.ts::F-001"] }, "has no test titled"],
    [[], "one object"],
  ])("flags %j", (map, problem) => {
    expect(featureProblems(map, readSample).join("\n")).toContain(problem);
  });

  test("allows an entry whose test is there", () => {
    const proofs = ["libs/a/src/a.test.ts::F-001 works", `libs/a/src/a.test.ts::F-001 \${n} of %i`];
    expect(featureProblems({ "F-001": proofs }, readSample)).toEqual([]);
  });

  test.each([
    ["version %i fails (100%%)", "version 999 fails (100%)", true],
    ["version %i fails", "version 999 fails later", false],
    [`\${name} while \${up ? "a" : "b"} F-035`, "T7 cancel while a F-035", true],
    [`\${name} F-035`, "F-035 $x", false],
    ["$name.first is heard", "Ann is heard", true],
    ["a.c costs 100%", "abc costs 100%", false],
  ])("finds by %j what is reported as %j: %j", (title, reported, found) => {
    expect(titlePattern(title).test(reported)).toBe(found);
  });
});
