import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { accountHere, type ServerAccount } from "./pg-account.ts";
import { findPackage, type PgBinaries, readyBinaries } from "./pg-binaries.ts";
import {
  type Cluster,
  checkSpace,
  clusterArgument,
  dbUser,
  makeRoot,
  openCluster,
  outputCharsMax,
  serverEnv,
  settingArguments,
} from "./pg-cluster.ts";
import { classifyOutput, classifySpawn } from "./pg-failure.ts";
import { claimOwner, clearTheWay, eventually, isServerOf, readPostmaster } from "./pg-lock.ts";
import { StoreError } from "./store-error.ts";

export interface ServerOptions {
  /** The platform's data directory; the server lives in its `postgres/`. */
  readonly dataDir: string;
  /** TCP port on 127.0.0.1, for other programs. None by default: the server listens on a socket in its directory. */
  readonly port?: number;
  /** Lines of the server's log, as they come. */
  readonly onLog?: (line: string) => void;
  /** Default 60 s: recovery after a crash may take a while. */
  readonly startTimeoutMs?: number;
  readonly freeBytes?: (dir: string) => Promise<number>;
  /** Where a predecessor's socket was reached, so that its address stays the same. */
  readonly socketDir?: string;
}

export interface PgServer {
  /** For libpq and node-postgres alike; holds the password, so it is not to be printed. */
  readonly url: string;
  readonly dataDir: string;
  readonly socketDir: string;
  /** From call to the first connection that would be taken, milliseconds. */
  readonly readyMs: number;
  /** True when this start made the database. */
  readonly created: boolean;
  /** Process id of the server. */
  pid(): number;
  /** Settles when the server is gone for whatever reason; never rejects. */
  readonly gone: Promise<StoreError>;
  /** Fast shutdown: open transactions are rolled back, everything committed is kept. Idempotent. */
  stop(): Promise<void>;
}

/**
 * Runs the server and ends it (fast shutdown) once our end of standard input is closed, which the kernel does for us
 * however we die: no orphan is left. Both shells watch, so that losing either changes nothing.
 */
export const guardScript = `
exec 3<&0
"$@" 3<&- </dev/null &
pg=$!
( read -r _ <&3; kill -INT "$pg" ) >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait "$pg"
code=$?
kill "$watcher" 2>/dev/null
exit "$code"
`;

const stopWaitMs = 20_000;
const startTimeoutMs = 60_000;
const defaultPort = 5432;
/** A socket's address takes 108 bytes (104 on macOS), its own name and the closing zero included. */
const socketDirBytesMax = 84;

/**
 * Starts the embedded PostgreSQL of `dataDir`, creating it at first use, and takes up what a crashed predecessor left.
 *
 * @throws StoreError with what to do: `in_use`, `permission`, `unsupported`, `storage_full`, `version_mismatch`,
 * `port_in_use`, `corrupt`, `unavailable`.
 */
export async function startServer(options: ServerOptions): Promise<PgServer> {
  const startedAt = performance.now();
  const pgRoot = join(resolve(options.dataDir), "postgres");
  const clusterDir = join(pgRoot, "data");
  const binaries = findPackage();
  await makeRoot(pgRoot);
  await checkSpace(pgRoot, options.freeBytes);
  const account = accountHere(clusterDir);
  const ready = await readyBinaries(binaries, pgRoot, account);
  const release = await claimOwner(pgRoot);
  try {
    return await startClaimed({ pgRoot, binaries: ready, account, options, release, startedAt });
  } catch (error) {
    release();
    throw error;
  }
}

interface Claimed {
  readonly pgRoot: string;
  readonly binaries: PgBinaries;
  readonly account: ServerAccount;
  readonly options: ServerOptions;
  readonly release: () => void;
  readonly startedAt: number;
}

async function startClaimed({ pgRoot, binaries, account, options, release, startedAt }: Claimed): Promise<PgServer> {
  const cluster = await openCluster(pgRoot, binaries, account);
  await clearTheWay(cluster.dir);
  const server = launch(cluster, binaries, account, options);
  await untilReady(server, cluster, options.startTimeoutMs ?? startTimeoutMs);
  const pid = readPostmaster(cluster.dir)?.pid ?? 0;
  const socket = shortSocketDir(cluster.dir, options.socketDir);
  const address = `host=${encodeURIComponent(socket.dir)}&port=${options.port ?? defaultPort}`;
  const gone = server.gone.then((error) => {
    release();
    return error;
  });
  return {
    url: `postgresql://${dbUser}:${cluster.password}@/postgres?${address}`,
    dataDir: options.dataDir,
    socketDir: socket.dir,
    readyMs: performance.now() - startedAt,
    created: cluster.created,
    pid: () => pid,
    gone,
    stop: async () => {
      await stopServer(server, pid, cluster.dir);
      await gone;
      socket.remove();
    },
  };
}

interface Launched {
  readonly child: ChildProcess;
  readonly gone: Promise<StoreError>;
  output: string;
  failed: StoreError | undefined;
}

function launch(cluster: Cluster, binaries: PgBinaries, account: ServerAccount, options: ServerOptions): Launched {
  const postgres = join(binaries.nativeDir, "bin", "postgres");
  const where = process.platform === "linux" ? clusterArgument() : cluster.dir;
  const tcp = options.port === undefined ? [] : ["-c", "listen_addresses=127.0.0.1", "-p", String(options.port)];
  const child = spawn(
    "/bin/sh",
    ["-c", guardScript, "rspp-postgres", postgres, "-D", where, ...settingArguments, ...tcp],
    {
      cwd: cluster.dir,
      ...(account.switchTo ? { uid: account.uid, gid: account.gid } : {}),
      env: serverEnv(),
      // A group of its own: Ctrl-C in a terminal must reach us alone, who end the server last.
      detached: true,
      stdio: ["pipe", "ignore", "pipe"],
    },
  );
  const launched: Launched = { child, gone: untilGone(child, () => launched), output: "", failed: undefined };
  child.stderr?.on("data", (chunk: Buffer) => {
    const text = chunk.toString("utf8");
    launched.output = (launched.output + text).slice(-outputCharsMax);
    if (options.onLog) for (const line of text.split("\n")) if (line !== "") options.onLog(line);
  });
  child.stdin?.on("error", () => undefined); // the guard may be gone first
  return launched;
}

function untilGone(child: ChildProcess, launched: () => Launched): Promise<StoreError> {
  return new Promise((settle) => {
    const end = (error: StoreError): void => {
      launched().failed ??= error;
      settle(error);
    };
    child.on("error", (error) => end(classifySpawn("/bin/sh", error)));
    child.on("close", () => end(classifyOutput("running", launched().output)));
  });
}

async function untilReady(server: Launched, cluster: Cluster, withinMs: number): Promise<void> {
  const isReady = (): boolean => readPostmaster(cluster.dir)?.ready === true;
  await eventually(() => isReady() || server.failed !== undefined, withinMs);
  if (isReady() && server.failed === undefined) return;
  server.child.stdin?.end();
  if (server.failed === undefined) {
    throw new StoreError(
      "unavailable",
      `The database was not ready within ${withinMs} ms`,
      "It may be recovering from a crash on a slow disk: start again, or allow it more time",
    );
  }
  throw server.failed.code === "unavailable" ? classifyOutput("starting", server.output) : server.failed;
}

/** The guard ends the server once our end of its input is closed; a server that does not end is told more plainly. */
async function stopServer(server: Launched, pid: number, clusterDir: string): Promise<void> {
  server.child.stdin?.end();
  for (const signal of ["SIGQUIT", "SIGKILL"] as const) {
    if (await settledWithin(server.gone, stopWaitMs)) return;
    if (isServerOf(pid, clusterDir)) process.kill(pid, signal);
  }
  await server.gone;
}

async function settledWithin(gone: Promise<unknown>, withinMs: number): Promise<boolean> {
  const timer = new AbortController();
  const late = pause(withinMs, false, { signal: timer.signal }).catch(() => false);
  const settled = await Promise.race([gone.then(() => true), late]);
  timer.abort();
  return settled;
}

/** The socket's directory under a name short enough: a private link when the data directory lies deep. */
function shortSocketDir(clusterDir: string, before: string | undefined): { dir: string; remove: () => void } {
  if (Buffer.byteLength(clusterDir) <= socketDirBytesMax) return { dir: clusterDir, remove: () => undefined };
  const dir = before ?? join(mkdtempSync(join(tmpdir(), "rspp-")), "s");
  if (before === undefined) symlinkSync(clusterDir, dir);
  return { dir, remove: () => rmSync(dirname(dir), { recursive: true, force: true }) };
}
