import { describe, expect, test } from "vitest";
import features from "../features.json" with { type: "json" };
import { featureProblems } from "./features.ts";
import { readText, repositoryFiles } from "./repository.ts";

const readListed = (path: string): string | undefined =>
  repositoryFiles().includes(path) ? readText(path) : undefined;

test("every feature in features.json names tests that exist", () => {
  expect(featureProblems(features, readListed)).toEqual([]);
});

describe("the features checker", () => {
  const readSample = (path: string): string | undefined =>
    path === "libs/a/src/a.test.ts" ? 'test("F-001 works", f)' : undefined;

  test.each([
    [{ "F-1": ["libs/a/src/a.test.ts::F-001 works"] }, "F-1: a feature id looks like"],
    [{ "F-001": [] }, "at least one"],
    [{ "F-001": "libs/a/src/a.test.ts::F-001 works" }, "at least one"],
    [{ "F-001": ["libs/a/src/a.test.ts"] }, 'is not "path::test title"'],
    [{ "F-001": ["libs/a/src/a.ts::F-001 works"] }, "is no test file"],
    [{ "F-001": ["libs/b/src/b.test.ts::F-001 works"] }, "there is no file libs/b/src/b.test.ts"],
    [{ "F-001": ["libs/a/src/a.test.ts::F-001 flies"] }, 'has no test titled "F-001 flies"'],
    [[], "one object"],
  ])("flags %j", (map, problem) => {
    expect(featureProblems(map, readSample).join("\n")).toContain(problem);
  });

  test("allows an entry whose test is there", () => {
    expect(featureProblems({ "F-001": ["libs/a/src/a.test.ts::F-001 works"] }, readSample)).toEqual([]);
  });
});
