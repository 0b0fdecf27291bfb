import { spawn } from "node:child_process";
import { chmodSync, chownSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import pg from "pg";
import { accountHere, type ServerAccount } from "../pg-account.ts";
import { guardScript } from "../pg-server.ts";

/** The server of Debian's (or Ubuntu's) package, as an operator runs it: over TCP, with a password. */
export interface DebianServer {
  /** For DATABASE_URL; a database of its own. */
  readonly url: string;
  readonly version: string;
  close(): Promise<void>;
}

const packageName = "postgresql";
const readyWithinMs = 40_000;
const versionsDir = "/usr/lib/postgresql";

/** Where initdb and postgres of the newest installed version lie; undefined when there is none. */
export function debianBinaries(): string | undefined {
  const versions = existsSync(versionsDir) ? readdirSync(versionsDir).map(Number).filter(Number.isInteger) : [];
  const installed = versions.sort((a, b) => b - a).map((version) => join(versionsDir, String(version), "bin"));
  const onPath = (process.env.PATH ?? "").split(delimiter);
  return [...installed, ...onPath].find((dir) => ["initdb", "postgres"].every((tool) => existsSync(join(dir, tool))));
}

/**
 * Why tests on Debian's server do not run here; undefined when they do. With CI=true they run, and fail for want of the
 * server: the check of a fresh clone installs it.
 */
export function debianMissing(): string | undefined {
  if (process.env.CI === "true" || debianBinaries() !== undefined) return undefined;
  return `the package ${packageName} is not installed`;
}

/** @throws when the package is missing, or the server does not come up. */
export async function startDebianServer(): Promise<DebianServer> {
  const binaries = debianBinaries();
  if (binaries === undefined) throw new Error(`Install the package ${packageName} (apt-get install ${packageName})`);
  const home = mkdtempSync(join(tmpdir(), "rspp-debian-"));
  const account = accountHere(join(home, "data"));
  if (account.switchTo) chownSync(home, account.uid, account.gid);
  chmodSync(home, 0o700);
  const password = "a test's own";
  writeFileSync(join(home, "password"), password, { mode: 0o600 });
  if (account.switchTo) chownSync(join(home, "password"), account.uid, account.gid);
  const data = join(home, "data");
  await run(join(binaries, "initdb"), initArguments(home, data), home, account);
  const port = await freePort();
  const server = launch(binaries, data, port, account);
  const url = `postgresql://rspp:${encodeURIComponent(password)}@127.0.0.1:${port}/postgres`;
  const close = async (): Promise<void> => {
    await server.stop();
    rmSync(home, { recursive: true, force: true });
  };
  try {
    return { url, version: await untilReady(url, server.output), close };
  } catch (error) {
    await close();
    throw error;
  }
}

function initArguments(home: string, data: string): string[] {
  const own = [`--pgdata=${data}`, "--username=rspp", `--pwfile=${join(home, "password")}`, "--auth=scram-sha-256"];
  return [...own, "--encoding=UTF8", "--locale=C", "--no-sync"];
}

function idsOf({ switchTo, uid, gid }: ServerAccount): { uid?: number; gid?: number } {
  return switchTo ? { uid, gid } : {};
}

function environment(): Record<string, string> {
  return { PATH: process.env.PATH ?? "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" };
}

function run(command: string, args: readonly string[], cwd: string, account: ServerAccount): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd,
      env: environment(),
      stdio: ["ignore", "ignore", "pipe"],
      ...idsOf(account),
    });
    let errors = "";
    child.stderr.on("data", (chunk: Buffer) => (errors += chunk));
    child.once("error", reject);
    child.once("close", (code) => (code === 0 ? resolve() : reject(new Error(`${command} failed: ${errors}`))));
  });
}

function launch(binaries: string, data: string, port: number, account: ServerAccount) {
  const listen = ["-c", "listen_addresses=127.0.0.1", "-p", String(port), "-c", "unix_socket_directories="];
  const command = [join(binaries, "postgres"), "-D", data, ...listen];
  const child = spawn("/bin/sh", ["-c", guardScript, "rspp-debian", ...command], {
    cwd: data,
    env: environment(),
    detached: true,
    stdio: ["pipe", "ignore", "pipe"],
    ...idsOf(account),
  });
  let output = "";
  child.stderr.on("data", (chunk: Buffer) => (output = (output + chunk).slice(-8_192)));
  child.stdin.on("error", () => undefined);
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const stop = async (): Promise<void> => {
    child.stdin.end();
    await ended;
  };
  return { output: () => output, stop };
}

async function untilReady(url: string, output: () => string): Promise<string> {
  const untilMs = performance.now() + readyWithinMs;
  for (;;) {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 1_000 });
    client.on("error", () => undefined);
    try {
      await client.connect();
      const { rows } = await client.query<{ v: string }>("SELECT current_setting('server_version') AS v");
      return rows[0]?.v ?? "";
    } catch (error) {
      if (performance.now() > untilMs)
        throw new Error(`Debian's PostgreSQL is not ready: ${output()}`, { cause: error });
      await pause(50);
    } finally {
      await client.end().catch(() => undefined);
    }
  }
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const at = probe.address();
  await new Promise<void>((resolve) => probe.close(() => resolve()));
  if (at === null || typeof at === "string") throw new Error("no port");
  return at.port;
}
