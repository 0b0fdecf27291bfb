import { describe, expect, test } from "vitest";
import features from "../features.json" with { type: "json" };
import { bareFeatures, featureProblems, proofsOf, titlePattern } from "./features.ts";
import { readText, repositoryFiles } from "./repository.ts";

const readListed = (path: string): string | undefined =>
  repositoryFiles().includes(path) ? readText(path) : undefined;

test("every feature in features.json names tests that exist", () => {
  expect(featureProblems(features, readListed)).toEqual([]);
});

/** Each of these has, as far as it has a test, its determinism level, a negative test and a measure. */
const MEASURED = [
  ...["F-001", ...ids(3, 7), "F-011", "F-012", ...ids(16, 20), "F-036", "F-037", "F-041", ...ids(44, 54)],
  ...[...ids(80, 82), "F-107", "F-109", ...ids(121, 124), "F-128", ...ids(131, 137), ...ids(143, 148), "F-155"],
  ...["NF-002", "NF-003", "NF-004", "NF-006", "NF-010", "NF-017", "NF-020", "NF-021", "NF-022"],
  ...["X-01", "X-02", "X-03", "X-04", "X-09"],
];

function ids(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, i) => `F-${String(from + i).padStart(3, "0")}`);
}

test("features of the graph, its nodes and its failures say level, negative test and measure", () => {
  expect(bareFeatures(features, MEASURED)).toEqual([]);
});

describe("the features checker", () => {
  const works = "libs/a/src/a.test.ts::F-001 works";
  const proof = (over: object) => ({
    ...{ tests: [works], determinism: "D0" as const, negative: works, measure: "one of one" },
    ...over,
  });
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
    [{ "F-001": proof({ tests: [] }) }, "at least one"],
    [
      { "F-001": proof({ negative: "libs/a/src/a.test.ts::F-001 flies" }) },
      "F-001 negative: libs/a/src/a.test.ts has no",
    ],
    [{ "F-001": proof({ negative: undefined }) }, "F-001 negative: undefined is not"],
    [{ "F-001": proof({ determinism: "D3" }) }, "determinism is one of D0"],
    [{ "F-001": proof({ measure: " " }) }, "measure says what is measured"],
    [{ "F-001": proof({ negatives: "" }) }, 'unknown field "negatives"'],
  ])("flags %j", (map, problem) => {
    expect(featureProblems(map, readSample).join("\n")).toContain(problem);
  });

  test("allows a proof with level, negative test and measure; its tests are told once each", () => {
    const whole = proof({});
    expect(featureProblems({ "F-001": whole }, readSample)).toEqual([]);
    expect(proofsOf(whole)).toEqual(["libs/a/src/a.test.ts::F-001 works"]);
    expect(bareFeatures({ "F-001": whole, "F-003": whole.tests }, ["F-001", "F-002", "F-003"])).toEqual(["F-003"]);
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
