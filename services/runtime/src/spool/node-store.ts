import * as fs from "node:fs";
import * as path from "node:path";
import { err, ok, type Result } from "@rspp/base/result";
import type { SpoolStore, StoreFailure } from "./store.ts";

const lockName = "spool.lock";
const suffix = ".seg";

export interface NodeStoreError {
  code: "in_use" | "io";
  detail: string;
}

/**
 * Segments as files in one folder, made when absent. A writer takes the folder's lock, so that no second process mends
 * segments under the feet of the first; a dead holder's lock is taken over. A reader takes no lock and writes nothing.
 */
export function openNodeStore(
  directory: string,
  options: { readOnly?: boolean } = {},
): Result<SpoolStore, NodeStoreError> {
  const readOnly = options.readOnly === true;
  try {
    if (readOnly) fs.accessSync(directory, fs.constants.R_OK);
    else fs.mkdirSync(directory, { recursive: true });
    if (!readOnly) {
      const holder = takeLock(path.join(directory, lockName));
      if (holder !== null) {
        const detail = `the spool folder ${directory} is in use by process ${holder}: stop it or choose another folder`;
        return err({ code: "in_use", detail });
      }
    }
  } catch (error) {
    const detail = `the spool folder ${directory} cannot be opened (${reasonOf(error)}): check the path and its permissions`;
    return err({ code: "io", detail });
  }
  return ok(nodeStore(directory, readOnly));
}

function nodeStore(directory: string, readOnly: boolean): SpoolStore {
  const open = new Map<string, { fd: number; size: number; fresh: boolean }>();
  let newest = "";
  const file = (segment: string): string => path.join(directory, segment + suffix);
  const openFor = (segment: string): { fd: number; size: number; fresh: boolean } => {
    const known = open.get(segment);
    if (known !== undefined) return known;
    const fresh = !fs.existsSync(file(segment));
    const fd = fs.openSync(file(segment), "a");
    const opened = { fd, size: fs.fstatSync(fd).size, fresh };
    open.set(segment, opened);
    return opened;
  };
  const closeOne = (segment: string): void => {
    const known = open.get(segment);
    if (known !== undefined) fs.closeSync(known.fd);
    open.delete(segment);
  };

  return {
    list() {
      const names = fs.readdirSync(directory).filter((name) => name.endsWith(suffix));
      return names.map((name) => name.slice(0, -suffix.length)).sort();
    },
    read: (segment) => fs.readFileSync(file(segment)),
    append(segment, bytes) {
      if (readOnly) return { code: "io", detail: "the spool is open for reading only", torn: false };
      let at: { fd: number; size: number } | null = null;
      let written = 0;
      try {
        const target = openFor(segment);
        newest = segment;
        at = target;
        while (written < bytes.length) written += fs.writeSync(target.fd, bytes, written);
        target.size += bytes.length;
        return null;
      } catch (error) {
        return failureOf(error, at !== null && written > 0 && !takeBack(at.fd, at.size));
      }
    },
    sync(segment, done) {
      const known = open.get(segment);
      if (known === undefined) return done(null);
      fs.fsync(known.fd, (error) => {
        if (error !== null) return done(failureOf(error, false));
        // The segment before the current one is complete: nothing is appended to it any more.
        if (segment !== newest) closeOne(segment);
        if (!known.fresh) return done(null);
        known.fresh = false;
        syncDirectory(directory, done);
      });
    },
    truncate(segment, bytes) {
      try {
        closeOne(segment);
        fs.truncateSync(file(segment), bytes);
        return null;
      } catch (error) {
        return failureOf(error, false);
      }
    },
    remove(segment) {
      try {
        closeOne(segment);
        fs.rmSync(file(segment), { force: true });
        return null;
      } catch (error) {
        return failureOf(error, false);
      }
    },
    freeBytes() {
      try {
        const stat = fs.statfsSync(directory);
        return stat.bavail * stat.bsize;
      } catch {
        return Number.POSITIVE_INFINITY;
      }
    },
    close() {
      for (const segment of [...open.keys()]) closeOne(segment);
      if (!readOnly) fs.rmSync(path.join(directory, lockName), { force: true });
    },
  };
}

/** A new file's name is safe only when its folder is synced too. */
function syncDirectory(directory: string, done: (failure: StoreFailure | null) => void): void {
  fs.open(directory, "r", (openError, fd) => {
    if (openError !== null) return done(failureOf(openError, false));
    fs.fsync(fd, (error) => {
      fs.close(fd, () => done(error === null ? null : failureOf(error, false)));
    });
  });
}

function takeBack(fd: number, size: number): boolean {
  try {
    fs.ftruncateSync(fd, size);
    return true;
  } catch {
    return false;
  }
}

/** Null when the lock is ours now, else the process that holds it. */
function takeLock(lock: string): number | null {
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      fs.writeFileSync(lock, String(process.pid), { flag: "wx" });
      return null;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const holder = Number.parseInt(fs.readFileSync(lock, "utf8"), 10);
    if (Number.isSafeInteger(holder) && holder !== process.pid && alive(holder)) return holder;
    fs.rmSync(lock, { force: true });
  }
  return -1;
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function failureOf(error: unknown, torn: boolean): StoreFailure {
  const code = (error as NodeJS.ErrnoException).code;
  const full = code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG";
  return { code: full ? "no_space" : "io", detail: reasonOf(error), torn };
}

function reasonOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? (error instanceof Error ? error.message : "unknown error");
}
