import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const rootDir = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const rooms = ["libs", "services", "gen", "cli", "test/sim", "package.json", "tsconfig.json", "vitest.config.ts"];

/** A copy of the product in a folder of its own, to plant bugs in; the caller removes it. */
export function createCopy(): string {
  const copy = mkdtempSync(join(tmpdir(), "rspp-mutants-"));
  copySources(copy);
  return copy;
}

/** What git knows of or would add, so that no build output and no node_modules come along. */
function copySources(copy: string): void {
  const listed = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard", ...rooms], {
    cwd: rootDir,
    encoding: "utf8",
    maxBuffer: 64 << 20,
  });
  for (const path of listed.split("\0")) {
    if (path === "" || !existsSync(join(rootDir, path))) continue;
    mkdirSync(dirname(join(copy, path)), { recursive: true });
    cpSync(join(rootDir, path), join(copy, path));
  }
  linkModules(copy);
}

/** Packages from outside are the checkout's; the workspaces' own links must lead into the copy. */
function linkModules(copy: string): void {
  const modules = join(rootDir, "node_modules");
  mkdirSync(join(copy, "node_modules", "@rspp"), { recursive: true });
  for (const name of readdirSync(modules)) {
    if (name !== "@rspp") symlinkSync(join(modules, name), join(copy, "node_modules", name));
  }
  for (const room of ["libs", "services", "gen", "cli"]) {
    const dirs = existsSync(join(copy, room, "package.json"))
      ? [room]
      : readdirSync(join(copy, room)).map((name) => join(room, name));
    for (const dir of dirs) {
      const manifest = join(copy, dir, "package.json");
      if (!existsSync(manifest)) continue;
      const { name } = JSON.parse(readFileSync(manifest, "utf8")) as { name: string };
      if (name.startsWith("@rspp/")) symlinkSync(join(copy, dir), join(copy, "node_modules", name));
    }
  }
}
