import { randomUUID } from "node:crypto";
import { existsSync, readFileSync, readlinkSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { inUse } from "./pg-failure.ts";
import { osCode, StoreError } from "./store-error.ts";

const pollMs = 10;
/** For an orphan to finish its shutdown before it is told again, and again before it is ended. */
const orphanWaitMs = 10_000;

export interface Postmaster {
  readonly pid: number;
  readonly ready: boolean;
}

/** What `postmaster.pid` of the cluster says; undefined when there is none or it is half written. */
export function readPostmaster(clusterDir: string): Postmaster | undefined {
  try {
    const lines = readFileSync(join(clusterDir, "postmaster.pid"), "utf8").split("\n");
    const pid = Number(lines[0]);
    return Number.isSafeInteger(pid) && pid > 0 ? { pid, ready: lines[7]?.trim() === "ready" } : undefined;
  } catch {
    return undefined;
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return osCode(error) === "EPERM";
  }
}

/** Whether that process is a server of this cluster, and not a stranger who was given the same number since. */
export function isServerOf(pid: number, clusterDir: string): boolean {
  if (!isAlive(pid)) return false;
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(clusterDir);
  } catch (error) {
    // Another user's process cannot be looked into; without /proc the number alone must do.
    if (osCode(error) !== "EACCES") return !existsSync("/proc/self");
    return commandOf(pid) === "postgres";
  }
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return "";
  }
}

/** Field 22 of /proc/<pid>/stat: with it a process number is not mistaken for its predecessor's. Empty without /proc. */
function startTicks(pid: number): string {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    return text.slice(text.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return "";
  }
}

interface Owner {
  readonly pid: number;
  readonly startTicks: string;
  readonly token: string;
}

const claimsMax = 20;

function readOwner(path: string): Owner | undefined {
  try {
    const { pid, startTicks: ticks, token } = JSON.parse(readFileSync(path, "utf8"));
    return { pid: Number(pid), startTicks: String(ticks), token: String(token) };
  } catch {
    return undefined; // none, or one that is being written
  }
}

/**
 * One process at a time runs the server of `pgRoot`: the claim says which, so that its successor can tell a live owner
 * from a dead one. Returns what gives the claim up again.
 *
 * @throws StoreError `in_use` while its owner lives, this very process included.
 */
export async function claimOwner(pgRoot: string): Promise<() => void> {
  const path = join(pgRoot, "owner.json");
  const mine: Owner = { pid: process.pid, startTicks: startTicks(process.pid), token: randomUUID() };
  for (let attempt = 1; attempt <= claimsMax; attempt++) {
    try {
      writeFileSync(path, JSON.stringify(mine), { mode: 0o600, flag: "wx" });
      return () => {
        if (readOwner(path)?.token === mine.token) rmSync(path, { force: true });
      };
    } catch (error) {
      if (osCode(error) !== "EEXIST") throw error;
    }
    const found = readOwner(path);
    if (found !== undefined && isAlive(found.pid) && startTicks(found.pid) === found.startTicks) {
      throw inUse(`process ${found.pid} runs its database`);
    }
    if (found !== undefined || attempt > claimsMax / 2) takeAside(path, found?.token);
    else await pause(pollMs);
  }
  throw inUse("several platforms start in it at the same time");
}

/** Removes a dead owner's claim, and puts back what somebody else put in its place meanwhile. */
function takeAside(path: string, token: string | undefined): void {
  const aside = `${path}.${randomUUID()}`;
  try {
    renameSync(path, aside);
    const taken = readFileSync(aside, "utf8");
    if (readOwner(aside)?.token !== token) writeFileSync(path, taken, { mode: 0o600, flag: "wx" });
  } catch (error) {
    if (osCode(error) !== "ENOENT" && osCode(error) !== "EEXIST") throw error;
  }
  rmSync(aside, { force: true });
}

/**
 * Makes way for a new server, under the claim: waits for a dead predecessor's server that is still shutting down, or ends
 * it; removes a lock file that nobody stands behind.
 */
export async function clearTheWay(clusterDir: string, waitMs: number = orphanWaitMs): Promise<void> {
  const found = readPostmaster(clusterDir);
  if (found === undefined) return;
  if (isServerOf(found.pid, clusterDir)) await endOrphan(found.pid, clusterDir, waitMs);
  if (readPostmaster(clusterDir)?.pid === found.pid) rmSync(join(clusterDir, "postmaster.pid"), { force: true });
}

async function endOrphan(pid: number, clusterDir: string, waitMs: number): Promise<void> {
  for (const signal of ["SIGINT", "SIGQUIT", "SIGKILL"] as const) {
    try {
      process.kill(pid, signal);
    } catch {
      // Gone meanwhile, or not ours to end: the wait tells.
    }
    if (await eventually(() => !isServerOf(pid, clusterDir), waitMs)) return;
  }
  throw new StoreError(
    "in_use",
    `An abandoned database server, process ${pid}, does not end`,
    `End it: kill -9 ${pid}`,
  );
}

/** Looks every 10 ms until `holds` or the time is over; whether it held. */
export async function eventually(holds: () => boolean, withinMs: number): Promise<boolean> {
  const until = performance.now() + withinMs;
  while (!holds()) {
    if (performance.now() >= until) return false;
    await pause(pollMs);
  }
  return true;
}
