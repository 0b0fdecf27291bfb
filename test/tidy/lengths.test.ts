import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { functionsOf } from "./functions.ts";
import ratchet from "./ratchet.json" with { type: "json" };
import { type Allowances, loosened, ratchetProblems } from "./ratchet.ts";
import { codeFiles, readText, repositoryFiles, rootDir } from "./repository.ts";

const fileLinesMax = 500;
const functionLinesMax = 70;

interface Ratchet {
  readonly files: Allowances;
  readonly functions: Allowances;
}
const allowed: Ratchet = ratchet;

const lineCount = (text: string): number => text.split("\n").length - (text.endsWith("\n") ? 1 : 0);

/** The longest function of each name in the file, by `path::name`. */
function longestByName(path: string, source: string): Record<string, number> {
  const longest: Record<string, number> = {};
  for (const { name, lines } of functionsOf(source)) {
    const key = `${path}::${name}`;
    longest[key] = Math.max(lines, longest[key] ?? 0);
  }
  return longest;
}

function ratchetAt(commit: string): Ratchet | undefined {
  try {
    const args = ["show", `${commit}:test/tidy/ratchet.json`];
    return JSON.parse(
      execFileSync("git", args, { cwd: rootDir, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }),
    );
  } catch {
    return undefined; // no git, no such commit, or the file was not there yet: nothing to compare with
  }
}

test("no file is longer than 500 lines", () => {
  // Contracts are left out: a closed set with a comment on every field stands in one file, however long.
  const files = [...codeFiles(), ...repositoryFiles().filter((path) => /\.(?:sh|py|go)$/.test(path))];
  const found = Object.fromEntries(files.map((path) => [path, lineCount(readText(path) ?? "")]));
  expect(ratchetProblems("file", fileLinesMax, found, allowed.files)).toEqual([]);
});

test("no function is longer than 70 lines", () => {
  const found: Record<string, number> = {};
  for (const path of codeFiles()) Object.assign(found, longestByName(path, readText(path) ?? ""));
  expect(ratchetProblems("function", functionLinesMax, found, allowed.functions)).toEqual([]);
});

test("the ratchet itself is never loosened", () => {
  for (const commit of ["HEAD", "HEAD~1"]) {
    const before = ratchetAt(commit);
    if (before === undefined) continue;
    expect(loosened(before.files, allowed.files)).toEqual([]);
    expect(loosened(before.functions, allowed.functions)).toEqual([]);
  }
});

describe("the ratchet", () => {
  test.each([
    [{ a: 11 }, {}, "a: 11 lines, a file has at most 10: split it"],
    [{ a: 21 }, { a: 20 }, "a: grew from 20 to 21 lines, it may only shrink"],
    [{ a: 19 }, { a: 20 }, "a: now 19 lines, lower its entry from 20"],
    [{ a: 9 }, { a: 20 }, "a: its entry in ratchet.json is no longer needed, remove it"],
    [{}, { gone: 20 }, "gone: its entry in ratchet.json is no longer needed, remove it"],
  ] as [Allowances, Allowances, string][])("found %j, allowed %j", (found, allowances, problem) => {
    expect(ratchetProblems("file", 10, found, allowances)).toEqual([problem]);
  });

  test("is content with what is short, and with what stands exactly at its entry", () => {
    expect(ratchetProblems("file", 10, { a: 10, b: 20 }, { b: 20 })).toEqual([]);
  });

  test("names entries that were raised or added", () => {
    expect(loosened({ a: 20, b: 30, c: 5 }, { a: 21, b: 29, d: 80 }).map((line) => line.split(":")[0])).toEqual([
      "a",
      "d",
    ]);
  });

  test("flags a planted long function", () => {
    const source = `export function long(): void {\n${"  f();\n".repeat(80)}}\n`;
    expect(longestByName("x.ts", source)).toEqual({ "x.ts::long": 82 });
  });
});
