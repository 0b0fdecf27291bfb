import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

export const rootDir: string = fileURLToPath(new URL("../..", import.meta.url));

const skippedDirs = new Set(["node_modules", ".git", ".cache", ".data", "coverage"]);
let listed: readonly string[] | undefined;

/** Paths, relative to the root with forward slashes, of every tracked file and every new one that git does not ignore. */
export function repositoryFiles(): readonly string[] {
  listed ??= (existsSync(join(rootDir, ".git")) ? filesOfGit() : filesOfDir(rootDir)).toSorted();
  return listed;
}

/** Code written by hand: TypeScript and JavaScript outside `gen/`. */
export function codeFiles(): readonly string[] {
  return repositoryFiles().filter((path) => /\.(?:ts|tsx|js|mjs)$/.test(path) && !path.startsWith("gen/"));
}

/** The text of a repository file; undefined for binary files. */
export function readText(path: string): string | undefined {
  const bytes = readFileSync(join(rootDir, path));
  return bytes.includes(0) ? undefined : bytes.toString("utf8");
}

function filesOfGit(): string[] {
  const args = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
  const names = execFileSync("git", args, { cwd: rootDir, encoding: "utf8", maxBuffer: 64 << 20 }).split("\0");
  return [...new Set(names)].filter((name) => name !== "" && isFile(join(rootDir, name)));
}

/** A checkout without git (an unpacked archive) is walked. */
function filesOfDir(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) return skippedDirs.has(entry.name) ? [] : filesOfDir(path);
    return entry.isFile() ? [relative(rootDir, path).replaceAll("\\", "/")] : [];
  });
}

/** A tracked file may have been deleted since. */
function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}
