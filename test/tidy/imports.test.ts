import { describe, expect, test } from "vitest";
import { edgeProblems, importsOf, roomOf } from "./imports.ts";
import { codeFiles, readText, repositoryFiles } from "./repository.ts";

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

function declaredIn(dir: string): Set<string> {
  const path = `${dir}/package.json`;
  if (!repositoryFiles().includes(path)) return new Set();
  const manifest: Manifest = JSON.parse(readText(path) ?? "{}");
  return new Set(Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies }));
}

test("every import follows the table of rooms", () => {
  const problems = codeFiles().flatMap((path) => {
    const room = roomOf(path);
    return room === undefined ? [] : edgeProblems(path, readText(path) ?? "", declaredIn(room.dir));
  });
  expect(problems).toEqual([]);
});

describe("the import checker", () => {
  test("sees every form of import, and none in strings or comments", () => {
    const source = [
      'import { a } from "@rspp/a/x";',
      'import type { b } from "@rspp/b/x";',
      'import "side";',
      "export * from './re';",
      'const c = await import("dyn");',
      'type D = import("typed").D;',
      "import {\n  e,\n  type f,\n} from 'multi';",
      'const r = require("req");',
      '// import { no } from "comment";',
      "const s = 'import { no } from \"string\"';",
    ].join("\n");
    const found = importsOf(source);
    expect(found.map((x) => x.specifier).sort()).toEqual(
      ["./re", "@rspp/a/x", "@rspp/b/x", "dyn", "multi", "req", "side", "typed"].sort(),
    );
    expect(found.find((x) => x.specifier === "multi")?.line).toBe(10);
    expect(found.filter((x) => x.typeOnly).map((x) => x.specifier)).toEqual(["@rspp/b/x"]);
  });

  const declared = new Set(["@rspp/base", "@rspp/kernel", "@rspp/runtime", "yaml"]);
  test.each([
    [
      "libs/base/src/x.ts",
      'import { a } from "@rspp/kernel/a";',
      "libs/base must not import @rspp/kernel; it may import nothing",
    ],
    ["libs/kernel/src/x.ts", 'import { a } from "@rspp/gen/a";', "libs/kernel must not import @rspp/gen"],
    ["libs/protocol/src/x.ts", 'import { a } from "@rspp/kernel/a";', "libs/protocol must not import @rspp/kernel"],
    ["libs/kernel/src/x.ts", 'import fs from "node:fs";', "kernel imports no node:fs"],
    ["libs/kernel/src/x.ts", 'import { a } from "yaml";', "kernel imports no package"],
    ["libs/ports/src/x.ts", 'import { a } from "@rspp/kernel/a";', "types only"],
    ["libs/spec/src/x.ts", 'import { a } from "left-pad";', "left-pad is not in libs/spec/package.json"],
    ["libs/wire/src/x.ts", 'import { a } from "@rspp/runtime/a";', "libs/wire must not import @rspp/runtime"],
    ["libs/audio/src/x.ts", 'import { a } from "@rspp/cli/a";', "libs/audio must not import @rspp/cli"],
    ["libs/kernel/src/x.ts", 'import { a } from "../../base/src/a.ts";', "climbs out of libs/kernel"],
    ["libs/kernel/src/x.ts", 'import { a } from "@rspp/kernel/a";', "this room itself"],
    ["libs/newroom/src/x.ts", "", "has no line in the table"],
    [
      "services/runtime/src/x.ts",
      'import { a } from "@rspp/registry/a";',
      "services/runtime must not import @rspp/registry",
    ],
    ["services/runtime/src/x.ts", 'import { a } from "../../registry/src/a.ts";', "climbs out of services/runtime"],
  ])("refuses in %s: %s", (path, source, message) => {
    expect(edgeProblems(path, source, declared).join("\n")).toContain(message);
  });

  test.each([
    ["libs/kernel/src/x.ts", 'import { a } from "@rspp/base/a";'],
    ["libs/kernel/src/deep/x.ts", 'import { a } from "../a.ts";'],
    ["libs/kernel/src/x.test.ts", 'import { test } from "vitest"; import fs from "node:fs";'],
    ["libs/ports/src/x.ts", 'import type { a } from "@rspp/kernel/a";'],
    ["libs/spec/src/x.ts", 'import { a } from "yaml"; import fs from "node:fs";'],
    ["services/runtime/src/x.ts", 'import { a } from "@rspp/kernel/a";'],
    ["cli/src/x.ts", 'import { a } from "@rspp/runtime/a";'],
    ["test/sim/x.ts", 'import { a } from "@rspp/anything/a";'],
  ])("allows in %s: %s", (path, source) => {
    expect(edgeProblems(path, source, declared)).toEqual([]);
  });
});
