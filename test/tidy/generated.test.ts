import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { rootDir } from "./repository.ts";

/** Generated files below a directory, by relative path. */
function generatedIn(dir: string): Map<string, string> {
  const names = readdirSync(dir, { recursive: true, encoding: "utf8" });
  const generated = names.filter((name) => /\.(?:js|d\.ts)$/.test(name) && !/(?:^|[\\/])node_modules[\\/]/.test(name));
  return new Map(generated.sort().map((name) => [name, readFileSync(join(dir, name), "utf8")]));
}

test("gen/ is what buf generates from proto/ today", () => {
  const out = mkdtempSync(join(tmpdir(), "rspp-gen-"));
  try {
    execFileSync("npx", ["--no-install", "buf", "generate", "-o", out], { cwd: rootDir, stdio: "pipe" });
    const fresh = generatedIn(join(out, "gen"));
    const committed = generatedIn(join(rootDir, "gen"));
    expect(fresh.size).toBeGreaterThan(0);
    const names = new Set([...fresh.keys(), ...committed.keys()]);
    const stale = [...names].filter((name) => fresh.get(name) !== committed.get(name));
    expect(stale, "stale files in gen/: run `npm run gen`, and delete those that no proto makes any more").toEqual([]);
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
});
