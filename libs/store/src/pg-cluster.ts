import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { chmod, chown, mkdir, readdir, readFile, rename, rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ServerAccount } from "./pg-account.ts";
import type { PgBinaries } from "./pg-binaries.ts";
import { classifyOutput, classifySpawn, diskFull, versionMismatch } from "./pg-failure.ts";
import { isAlive } from "./pg-lock.ts";
import { messageOf, osCode, StoreError } from "./store-error.ts";

/** A new cluster takes 40 MB, its write-ahead log grows by 16 MB at a time. */
const freeBytesMin = 96 * 1024 * 1024;
const initTimeoutMs = 120_000;
export const outputCharsMax = 16_384;
export const dbUser = "rspp";
const passwordFile = "rspp.password";

/**
 * The server's settings: small, for a few services on one machine. Everything that makes a commit durable stays at
 * PostgreSQL's own (safe) defaults.
 */
const settings: Readonly<Record<string, string>> = {
  shared_buffers: "32MB",
  max_connections: "100",
  max_wal_size: "256MB",
  listen_addresses: "",
  unix_socket_directories: ".",
  password_encryption: "scram-sha-256",
  timezone: "UTC",
  log_timezone: "UTC",
  lc_messages: "C",
  jit: "off",
  // The log is for operators: it names what went wrong, and holds no rows and no statements (NF-011).
  log_error_verbosity: "terse",
  log_min_error_statement: "panic",
};

/** Given at every start, so that an old database takes up new settings. */
export const settingArguments: readonly string[] = Object.entries(settings).flatMap(([k, v]) => ["-c", `${k}=${v}`]);

/** In containers and behind private directories the absolute path may be closed to the server's user; this never is. */
export function clusterArgument(): string {
  return existsSync("/proc/self/cwd") ? "/proc/self/cwd" : process.cwd();
}

export interface Cluster {
  readonly dir: string;
  readonly password: string;
  /** True when this start made it. */
  readonly created: boolean;
}

/** @throws StoreError `storage_full` when less than 96 MB are free. */
export async function checkSpace(
  dir: string,
  freeBytes: (dir: string) => Promise<number> = freeBytesOf,
): Promise<void> {
  const free = await freeBytes(dir);
  if (free < freeBytesMin) throw diskFull(`${Math.floor(free / 1048576)} MB free in ${dir}, 96 MB needed`);
}

async function freeBytesOf(dir: string): Promise<number> {
  const stats = await statfs(dir);
  return stats.bavail * stats.bsize;
}

/** The directory that holds everything of the server; open to pass for the server's user, not to read. */
export async function makeRoot(pgRoot: string): Promise<void> {
  try {
    await mkdir(pgRoot, { recursive: true });
    await chmod(pgRoot, 0o711);
  } catch (error) {
    if (osCode(error) === "ENOSPC") throw diskFull(pgRoot, error);
    throw new StoreError(
      "permission",
      `The data directory cannot be used (${messageOf(error)})`,
      "Choose a data directory that this user may write, or give it to this user",
      error,
    );
  }
}

/** The cluster in `<pgRoot>/data`, made at first use. An interrupted first start leaves nothing half made. */
export async function openCluster(pgRoot: string, binaries: PgBinaries, account: ServerAccount): Promise<Cluster> {
  const dir = join(pgRoot, "data");
  const created = !existsSync(dir);
  if (created) {
    await sweepStaging(pgRoot);
    await createCluster(pgRoot, dir, binaries, account);
  }
  const found = readVersion(dir);
  if (found !== binaries.major) throw versionMismatch(found, binaries.major);
  return { dir, password: (await readFile(join(dir, passwordFile), "utf8")).trim(), created };
}

function readVersion(dir: string): string {
  try {
    return readFileSync(join(dir, "PG_VERSION"), "utf8").trim();
  } catch (error) {
    throw new StoreError(
      "corrupt",
      `${dir} is not a PostgreSQL data directory (${messageOf(error)})`,
      "Restore it from a backup, or move it away to start with an empty database",
      error,
    );
  }
}

async function sweepStaging(pgRoot: string): Promise<void> {
  for (const name of await readdir(pgRoot)) {
    const [, pid] = /^(?:data\.new-|password\.)(\d+)-/.exec(name) ?? [];
    if (pid !== undefined && !isAlive(Number(pid))) await rm(join(pgRoot, name), { recursive: true, force: true });
  }
}

async function createCluster(pgRoot: string, dir: string, binaries: PgBinaries, account: ServerAccount): Promise<void> {
  const suffix = `${process.pid}-${randomBytes(4).toString("hex")}`;
  const staging = `${dir}.new-${suffix}`;
  const passwordName = `password.${suffix}`;
  const passwordPath = join(pgRoot, passwordName);
  const password = randomBytes(24).toString("base64url");
  try {
    await mkdir(staging, { mode: 0o700 });
    await writeFile(passwordPath, password, { mode: 0o600, flag: "wx" });
    if (account.switchTo) {
      await chown(staging, account.uid, account.gid);
      await chown(passwordPath, account.uid, account.gid);
    }
    await runInitdb(staging, `../${passwordName}`, binaries, account);
    await rename(passwordPath, join(staging, passwordFile));
    await rename(staging, dir);
  } catch (error) {
    // Two first starts at once: whoever renamed first has made the cluster for both.
    if (osCode(error) === "ENOTEMPTY" || osCode(error) === "EEXIST") return;
    if (osCode(error) === "ENOSPC") throw diskFull(pgRoot, error);
    throw error;
  } finally {
    await rm(passwordPath, { force: true });
    await rm(staging, { recursive: true, force: true });
  }
}

function runInitdb(cwd: string, pwfile: string, binaries: PgBinaries, account: ServerAccount): Promise<void> {
  const initdb = join(binaries.nativeDir, "bin", "initdb");
  const args = [
    `--pgdata=${process.platform === "linux" ? clusterArgument() : cwd}`,
    `--username=${dbUser}`,
    `--pwfile=${pwfile}`,
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    ...(process.platform === "linux" ? ["--sync-method=syncfs"] : []),
  ];
  if (account.named) return run("creating the database", initdb, args, cwd, account);
  // initdb insists on a name; inside a user namespace of its own this user has one. The server itself needs none.
  const namespace = ["--user", "--map-user=65534", initdb, ...args];
  return run("creating the database under a user without a name", "unshare", namespace, cwd, account).catch(() =>
    run("creating the database", initdb, args, cwd, account),
  );
}

/** Environment of the server's processes: nothing of ours, in whose variables secrets may stand. */
export function serverEnv(): Record<string, string> {
  return { PATH: process.env.PATH ?? "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" };
}

function run(what: string, command: string, args: string[], cwd: string, account: ServerAccount): Promise<void> {
  const ids = account.switchTo ? { uid: account.uid, gid: account.gid } : {};
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd,
      ...ids,
      env: serverEnv(),
      stdio: ["ignore", "pipe", "pipe"],
      timeout: initTimeoutMs,
    });
    let output = "";
    const keep = (chunk: Buffer): void => {
      output = (output + chunk.toString("utf8")).slice(-outputCharsMax);
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    child.on("error", (error) => reject(classifySpawn(command, error)));
    child.on("close", (code) => (code === 0 ? resolve() : reject(classifyOutput(what, output))));
  });
}
