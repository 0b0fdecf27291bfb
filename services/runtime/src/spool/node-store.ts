import * as fs from "node:fs";
import * as path from "node:path";
import { err, ok, type Result } from "@rspp/base/result";
import type { SpoolStore, StoreFailure } from "./store.ts";

const lockName = "spool.lock";
const suffix = ".seg";
/** Segments hold what callers said: for their owner alone (NF-012). */
const directoryMode = 0o700;
const fileMode = 0o600;

export interface NodeStoreError {
  code: "in_use" | "io";
  detail: string;
}

/**
 * Segments as files in one folder, made when absent, which nobody but its owner may read. A writer takes the folder's lock, so that no second process mends
 * segments under the feet of the first; a dead holder's lock is taken over. A reader takes no lock and writes nothing.
 */
export function openNodeStore(
  directory: string,
  options: { readOnly?: boolean } = {},
): Result<SpoolStore, NodeStoreError> {
  const readOnly = options.readOnly === true;
  try {
    if (readOnly) fs.accessSync(directory, fs.constants.R_OK);
    else {
      const open = makePrivate(directory);
      if (open !== null) return err({ code: "io", detail: open });
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
  return ok(new SegmentFiles(directory, readOnly));
}

interface OpenFile {
  fd: number;
  size: number;
  /** Its name is not yet synced. */
  fresh: boolean;
}

class SegmentFiles implements SpoolStore {
  private readonly directory: string;
  private readonly readOnly: boolean;
  private readonly open = new Map<string, OpenFile>();
  /** The segment last read in part: whoever does so reads on. */
  private reading: { segment: string; fd: number } | null = null;
  private newest = "";

  constructor(directory: string, readOnly: boolean) {
    this.directory = directory;
    this.readOnly = readOnly;
  }

  list(): string[] {
    const names = fs.readdirSync(this.directory).filter((name) => name.endsWith(suffix));
    return names.map((name) => name.slice(0, -suffix.length)).sort();
  }

  read(segment: string): Uint8Array {
    return fs.readFileSync(this.file(segment));
  }

  readRange(segment: string, offset: number, length: number): Uint8Array {
    const known = this.reading?.segment === segment ? this.reading : this.openToRead(segment);
    if (known === null) return new Uint8Array(0);
    const bytes = new Uint8Array(length);
    let read = 0;
    while (read < length) {
      const got = fs.readSync(known.fd, bytes, read, length - read, offset + read);
      if (got === 0) break;
      read += got;
    }
    return bytes.subarray(0, read);
  }

  append(segment: string, bytes: Uint8Array): StoreFailure | null {
    if (this.readOnly) return { code: "io", detail: "the spool is open for reading only", torn: false };
    let target: OpenFile | null = null;
    let written = 0;
    try {
      target = this.openFor(segment);
      this.newest = segment;
      while (written < bytes.length) written += fs.writeSync(target.fd, bytes, written);
      target.size += bytes.length;
      return null;
    } catch (error) {
      return failureOf(error, target !== null && written > 0 && !takeBack(target.fd, target.size));
    }
  }

  sync(segment: string, done: (failure: StoreFailure | null) => void): void {
    const known = this.open.get(segment);
    if (known === undefined) return done(null);
    fs.fsync(known.fd, (error) => {
      if (error !== null) return done(failureOf(error, false));
      // The segment before the current one is complete: nothing is appended to it any more.
      if (segment !== this.newest) this.closeOne(segment);
      if (!known.fresh) return done(null);
      known.fresh = false;
      syncDirectory(this.directory, done);
    });
  }

  truncate(segment: string, bytes: number): StoreFailure | null {
    return this.change(segment, () => fs.truncateSync(this.file(segment), bytes));
  }

  remove(segment: string): StoreFailure | null {
    return this.change(segment, () => fs.rmSync(this.file(segment), { force: true }));
  }

  freeBytes(): number {
    try {
      const stat = fs.statfsSync(this.directory);
      return stat.bavail * stat.bsize;
    } catch {
      return Number.POSITIVE_INFINITY;
    }
  }

  close(): void {
    this.stopReading();
    for (const segment of [...this.open.keys()]) this.closeOne(segment);
    if (!this.readOnly) fs.rmSync(path.join(this.directory, lockName), { force: true });
  }

  private file(segment: string): string {
    return path.join(this.directory, segment + suffix);
  }

  private openFor(segment: string): OpenFile {
    const known = this.open.get(segment);
    if (known !== undefined) return known;
    const fresh = !fs.existsSync(this.file(segment));
    const fd = fs.openSync(this.file(segment), "a", fileMode);
    const opened = { fd, size: fs.fstatSync(fd).size, fresh };
    this.open.set(segment, opened);
    return opened;
  }

  /** Null when it was removed. */
  private openToRead(segment: string): { segment: string; fd: number } | null {
    this.stopReading();
    if (!fs.existsSync(this.file(segment))) return null;
    this.reading = { segment, fd: fs.openSync(this.file(segment), "r") };
    return this.reading;
  }

  private stopReading(): void {
    if (this.reading !== null) fs.closeSync(this.reading.fd);
    this.reading = null;
  }

  private closeOne(segment: string): void {
    const known = this.open.get(segment);
    if (known !== undefined) fs.closeSync(known.fd);
    this.open.delete(segment);
  }

  private change(segment: string, act: () => void): StoreFailure | null {
    if (this.readOnly) return { code: "io", detail: "the spool is open for reading only", torn: false };
    try {
      this.closeOne(segment);
      if (this.reading?.segment === segment) this.stopReading();
      act();
      return null;
    } catch (error) {
      return failureOf(error, false);
    }
  }
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

/** Makes the folder, or closes to others the one that is there; null, or why that cannot be. */
function makePrivate(directory: string): string | null {
  // Its parents are not ours alone: the modes they are made with are the process's own.
  fs.mkdirSync(path.dirname(directory), { recursive: true });
  fs.mkdirSync(directory, { recursive: true, mode: directoryMode });
  try {
    tighten(directory, directoryMode);
    for (const name of fs.readdirSync(directory)) {
      if (name.endsWith(suffix)) tighten(path.join(directory, name), fileMode);
    }
    return null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") throw error;
    return `others may read the spool in ${directory}, which is another user's: have its owner run chmod -R go= on it, or choose another folder`;
  }
}

function tighten(file: string, mode: number): void {
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  if (stat !== undefined && (stat.mode & 0o077) !== 0) fs.chmodSync(file, mode);
}

/** Null when the lock is ours now, else the process that holds it. */
function takeLock(lock: string): number | null {
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      fs.writeFileSync(lock, String(process.pid), { flag: "wx", mode: fileMode });
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
