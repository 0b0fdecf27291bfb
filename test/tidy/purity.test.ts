import { describe, expect, test } from "vitest";
import { mustBePure, purityProblems } from "./purity.ts";
import { codeFiles, readText } from "./repository.ts";

test("base, kernel and protocol take nothing from the air", () => {
  const files = codeFiles().filter(mustBePure);
  expect(files.length).toBeGreaterThan(5);
  expect(files.flatMap((path) => purityProblems(path, readText(path) ?? ""))).toEqual([]);
});

describe("the purity checker", () => {
  test.each([
    ["const t = Date.now();", "no Date"],
    ["const t = new Date();", "no Date"],
    ["const t = performance.now();", "no performance"],
    ["const r = Math.random();", "no Math.random"],
    ['const r = Math["random"]();', "no Math.random"],
    ["setTimeout(f, 1);", "no timers"],
    ["setInterval(f, 1);", "no timers"],
    ["setImmediate(f);", "no timers"],
    ["queueMicrotask(f);", "no timers"],
    ['import fs from "node:fs";', "no node:*"],
    ['type S = import("node:stream").Readable;', "no node:*"],
    ["const e = process.env;", "no process"],
    ["console.log(1);", "no console"],
    ["async function f() {}", "no async"],
    ["const x = await y;", "no async"],
    ["const p: Promise<number> = q;", "no async"],
    ['import { E } from "@rspp/gen/rspp/event/v1/event_pb";', "no generated code"],
    ["const g = globalThis;", "no globalThis"],
    ["const id = crypto.randomUUID();", "no crypto"],
    ["names.sort((a, b) => a.localeCompare(b));", "no locale"],
    ["const w = new WeakRef(o);", "no WeakRef"],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a planted template
    ["const s = `at ${Date.now()}`;", "no Date"],
  ])("flags %s", (line, rule) => {
    const problems = purityProblems("libs/kernel/src/planted.ts", `// first line\n\n${line}\n`);
    expect(problems.length).toBeGreaterThan(0);
    for (const problem of problems) expect(problem).toMatch(/^libs\/kernel\/src\/planted\.ts:3: /);
    expect(problems.join("\n")).toContain(rule);
  });

  test("is not fooled by comments, strings, templates, regular expressions or longer names", () => {
    const source = [
      "// Date.now() and setTimeout are the shell's; await nothing",
      "/* process.env, Math.random() */",
      'const a = "console.log(Date)";',
      "const b = `performance`;",
      "const c = /Promise|async/;",
      "const updateDate = row.performance + a.process.length + Dates;",
    ].join("\n");
    expect(purityProblems("libs/kernel/src/x.ts", source)).toEqual([]);
  });

  test("applies to shipped code of the three pure rooms", () => {
    expect(["libs/base/src/a.ts", "libs/kernel/src/b/c.ts", "libs/protocol/src/d.ts"].every(mustBePure)).toBe(true);
    expect(["libs/kernel/src/a.test.ts", "libs/ports/src/a.ts", "cli/src/a.ts"].some(mustBePure)).toBe(false);
  });
});
