/** Which build a gate judged: the commit, and what was changed on top of it. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { usageError } from "../errors.ts";
import { sha256Of } from "./artefact.ts";

export interface Build {
  /** The commit, with a hash of the changes where there are any. */
  readonly id: string;
  readonly changed: boolean;
  readonly version: string;
}

/** Root of the checkout that this command stands in. */
export const checkout = fileURLToPath(new URL("../../..", import.meta.url)).replace(/\/$/, "");

/** @throws CommandError outside of a checkout: what was judged could not be named. */
export function buildOf(root: string): Build {
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  const git = (...args: string[]): string =>
    execFileSync("git", args, { cwd: root, encoding: "utf8", maxBuffer: 1 << 28, stdio: ["ignore", "pipe", "ignore"] });
  try {
    const commit = git("rev-parse", "HEAD").trim();
    const changes = git("diff", "HEAD", "--binary");
    return {
      id: changes === "" ? commit : `${commit}+${sha256Of(changes).slice(0, 16)}`,
      changed: changes !== "",
      version,
    };
  } catch {
    throw usageError(
      "this is no git checkout with a commit",
      "run it in a checkout of RSPP, so that the build has a name",
    );
  }
}
