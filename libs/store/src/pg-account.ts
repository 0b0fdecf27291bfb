import { readFileSync, statSync } from "node:fs";
import { userInfo } from "node:os";
import { dirname, resolve } from "node:path";
import { StoreError } from "./store-error.ts";

/** Under whom the server runs. `switchTo` is set when this process is root, whom PostgreSQL refuses. */
export interface ServerAccount {
  readonly uid: number;
  readonly gid: number;
  readonly switchTo: boolean;
  /** False when the user id has no entry in /etc/passwd, which initdb asks for. */
  readonly named: boolean;
}

interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

export function parsePasswd(text: string): PasswdEntry[] {
  return text.split("\n").flatMap((line) => {
    const [name = "", , uid = "", gid = ""] = line.split(":");
    return name !== "" && /^\d+$/.test(uid) && /^\d+$/.test(gid) ? [{ name, uid: Number(uid), gid: Number(gid) }] : [];
  });
}

/** Accounts a root process may hand the server to, in order. No account is created, so that none is left behind. */
const rootsChoices = ["postgres", "nobody"];

/**
 * @param clusterDir existing cluster or not; one that belongs to an unprivileged user keeps its owner.
 * @throws StoreError `permission` when the cluster belongs to somebody else, `unsupported` when root finds no account.
 */
export function chooseAccount(clusterDir: string, uid: number, gid: number, passwd: string): ServerAccount {
  const owner = statSync(clusterDir, { throwIfNoEntry: false });
  if (uid !== 0) {
    if (owner !== undefined && owner.uid !== uid) {
      throw new StoreError(
        "permission",
        `The database in ${clusterDir} belongs to user id ${owner.uid}, this process runs as ${uid}`,
        `Run as that user or as root, or hand it over: chown -R ${uid} ${clusterDir}`,
      );
    }
    return { uid, gid, switchTo: false, named: hasName() };
  }
  if (owner !== undefined && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid, switchTo: true, named: true };
  const entries = parsePasswd(passwd);
  const found = rootsChoices.flatMap((name) => entries.filter((entry) => entry.name === name && entry.uid !== 0))[0];
  if (found === undefined) {
    throw new StoreError(
      "unsupported",
      "PostgreSQL refuses to run as root, and there is no account `postgres` or `nobody` to run it under",
      "Add one of them to /etc/passwd, start the platform as an ordinary user, or set DATABASE_URL",
    );
  }
  return { uid: found.uid, gid: found.gid, switchTo: true, named: true };
}

export function accountHere(clusterDir: string): ServerAccount {
  const uid = process.getuid?.() ?? -1;
  if (uid === -1) {
    throw new StoreError("unsupported", "The embedded PostgreSQL is not run on Windows", "Set DATABASE_URL");
  }
  return chooseAccount(clusterDir, uid, process.getgid?.() ?? uid, readPasswd());
}

function readPasswd(): string {
  try {
    return readFileSync("/etc/passwd", "utf8");
  } catch {
    return "";
  }
}

function hasName(): boolean {
  try {
    return userInfo().username !== "";
  } catch {
    return false; // libuv finds no entry for this user id, as in a container with an arbitrary one
  }
}

/** Whether that account may pass every directory from the root down to `path`; a look at mode bits, not at ACLs. */
export function mayPass(path: string, account: ServerAccount): boolean {
  for (let at = resolve(path); ; at = dirname(at)) {
    const stat = statSync(at);
    if (stat.isDirectory()) {
      const bit = stat.uid === account.uid ? 0o100 : stat.gid === account.gid ? 0o010 : 0o001;
      if ((stat.mode & bit) === 0) return false;
    }
    if (at === dirname(at)) return true;
  }
}
