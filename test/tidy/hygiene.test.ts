import { describe, expect, test } from "vitest";
import { hygieneProblems } from "./hygiene.ts";
import { readText, repositoryFiles } from "./repository.ts";

test("the repository is clean", () => {
  expect(repositoryFiles().flatMap((path) => hygieneProblems(path, readText(path) ?? ""))).toEqual([]);
});

describe("the hygiene checker", () => {
  // Planted samples are put together here, so that this file is clean itself.
  const registryHost = ["registry", "example", "org"].join(".");
  const machinePath = ["", "work", "x"].join("/");
  test.each([
    ["a.test.ts", 'test.only("x", f);', "singled out"],
    ["a.test.ts", 'describe.skip("x", f);', "singled out"],
    ["a.test.ts", 'test.todo("x");', "singled out"],
    ["a.test.ts", "test.skip.each([1])", "singled out"],
    ["libs/a/src/a.ts", "export default 1;", "no default exports"],
    ["libs/a/src/a.ts", "export { a as default };", "no default exports"],
    ["package-lock.json", `"resolved": "https://${registryHost}/a.tgz"`, "no registry host"],
    [".npmrc", `registry=https://${registryHost}/`, "no registry host"],
    ["libs/a/src/a.ts", `const u = "https://${registryHost}/";`, "no registry host"],
    ["docs/a.md", `see ${machinePath}`, "no path of one machine"],
    ["libs/a/src/a.ts", `const p = "${machinePath}";`, "no path of one machine"],
  ])("flags in %s: %s", (path, text, rule) => {
    const problems = hygieneProblems(path, `\n${text}\n`);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(`${path}:2: `);
    expect(problems[0]).toContain(rule);
  });

  test.each([
    ["vitest.config.ts", "export default 1;"],
    ["libs/a/src/a.ts", 'const s = "export default";'],
    ["libs/a/src/a.ts", "registry.nodes.get(1); test.only(1);"],
    ["a.test.ts", "test.skipIf(true)(1); // test.only("],
    ["docs/a.md", "a/work/b and the service registry. Then"],
  ])("allows in %s: %s", (path, text) => {
    expect(hygieneProblems(path, text)).toEqual([]);
  });
});
