/**
 * One file with all of the control plane's database (F-166): lines of JSON, compressed; a head, each table's rows as text, and
 * a last line with the SHA-256 of all before it. Nothing of it needs the server's own tools, or its version.
 */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createGzip } from "node:zlib";
import { diskFull } from "./pg-failure.ts";
import { osCode, StoreError } from "./store-error.ts";

export const backupFormat = "rspp-backup/1";

export interface BackupHead {
  readonly format: string;
  readonly createdWallMs: number;
  /** Of the database it was taken of; a restored one has a higher one. */
  readonly incarnation: number;
  readonly migrations: readonly { readonly id: number; readonly name: string; readonly checksum: string }[];
}

export interface BackupColumn {
  readonly name: string;
  readonly type: string;
}

export type BackupLine =
  | { readonly kind: "head"; readonly head: BackupHead }
  | { readonly kind: "table"; readonly table: string; readonly columns: readonly BackupColumn[] }
  | { readonly kind: "row"; readonly values: readonly (string | null)[] }
  | { readonly kind: "end"; readonly rows: number; readonly sha256: string };

/** Appears whole or not at all. Only its owner may read it: it holds what tenants own. @returns the digest. */
export async function writeBackupFile(path: string, lines: AsyncIterable<BackupLine>): Promise<string> {
  const hash = createHash("sha256");
  let sha256 = "";
  async function* text() {
    let rows = 0;
    for await (const line of lines) {
      if (line.kind === "row") rows++;
      const bytes = `${JSON.stringify(line)}\n`;
      hash.update(bytes);
      yield bytes;
    }
    sha256 = hash.digest("hex");
    yield `${JSON.stringify({ kind: "end", rows, sha256 } satisfies BackupLine)}\n`;
  }
  const unfinished = `${path}.unfinished`;
  try {
    await pipeline(Readable.from(text()), createGzip({ level: 4 }), createWriteStream(unfinished, { mode: 0o600 }));
    const file = await open(unfinished, "r+");
    await file.sync();
    await file.close();
    await rename(unfinished, path);
    return sha256;
  } catch (error) {
    await rm(unfinished, { force: true });
    if (osCode(error) === "ENOSPC") throw diskFull(path, error);
    if (osCode(error) === "ENOENT" || osCode(error) === "EACCES") {
      throw new StoreError(
        "permission",
        `${path} cannot be written`,
        "Name a file in a directory that is there",
        error,
      );
    }
    throw error;
  }
}

/** Line by line; what is altered, cut off or no backup ends in a StoreError `corrupt`, at the latest behind the last line. */
export async function* readBackupFile(path: string): AsyncGenerator<BackupLine, void> {
  const hash = createHash("sha256");
  let ended = false;
  let rows = 0;
  try {
    const source = createReadStream(path);
    const plain = createGunzip();
    source.on("error", (error) => plain.destroy(error));
    for await (const text of createInterface({ input: source.pipe(plain), crlfDelay: Number.POSITIVE_INFINITY })) {
      const line = JSON.parse(text) as BackupLine;
      if (ended) throw damaged(path);
      if (line.kind === "end") {
        ended = true;
        if (line.sha256 !== hash.digest("hex") || line.rows !== rows) throw damaged(path);
      } else {
        hash.update(`${text}\n`);
        if (line.kind === "row") rows++;
      }
      yield line;
    }
  } catch (error) {
    if (error instanceof StoreError) throw error;
    if (osCode(error) === "ENOENT") {
      throw new StoreError(
        "invalid",
        `There is no file ${path}`,
        "Name the file that `rspp store backup` wrote",
        error,
      );
    }
    throw damaged(path, error);
  }
  if (!ended) throw damaged(path);
}

/** Reads all of it once, before anything is done with it. @throws StoreError `corrupt`, `invalid`. */
export async function checkBackupFile(path: string): Promise<{ readonly head: BackupHead; readonly rows: number }> {
  let head: BackupHead | undefined;
  let rows = 0;
  for await (const line of readBackupFile(path)) {
    if (line.kind === "head") head = line.head;
    if (line.kind === "end") rows = line.rows;
  }
  if (head === undefined) throw damaged(path);
  if (head.format !== backupFormat) {
    throw new StoreError("version_mismatch", `The backup is of form ${head.format}`, `Use a build that reads it`);
  }
  return { head, rows };
}

function damaged(path: string, cause?: unknown): StoreError {
  return new StoreError(
    "corrupt",
    `${path} is damaged, cut off, or no backup`,
    "Take another copy of it, or an older backup",
    cause,
  );
}
