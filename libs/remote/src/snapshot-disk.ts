/**
 * The last good snapshots on disk, so that a process that starts during an outage has them (kernel.md §7). One file per kind:
 * a line that says what it is, then the content. Written whole and renamed; a torn or altered one is as if it were not there.
 * The time of the file is when the control plane last stood behind it.
 */
import { createHash } from "node:crypto";
import { mkdir, open, readFile, rename, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { limits } from "@rspp/protocol/limits";
import { parseSnapshotVersion, type SnapshotKind, snapshotVersion } from "@rspp/protocol/snapshot-watch-types";

export interface KeptSnapshot {
  readonly kind: SnapshotKind;
  readonly version: number;
  readonly content: Uint8Array;
  /** Wall time at which it was last known to be current, milliseconds. */
  readonly heardWallMs: number;
}

/** Whoever reads or writes here is told nothing of a disk that fails: what is kept is a courtesy. */
export interface SnapshotDisk {
  read(kind: SnapshotKind): Promise<KeptSnapshot | null>;
  write(snapshot: KeptSnapshot): Promise<void>;
  /** Still current at `heardWallMs`. */
  touch(kind: SnapshotKind, heardWallMs: number): Promise<void>;
}

const HEADER_BYTES_MAX = 256;

/** @param directory made when it is first written to. */
export function openSnapshotDisk(directory: string): SnapshotDisk {
  const pathOf = (kind: SnapshotKind): string => join(directory, `${kind}.snapshot`);
  let turn: Promise<unknown> = Promise.resolve();
  /** One after the other: two writes of a kind never share a file. */
  const inTurn = (work: () => Promise<void>): Promise<void> => {
    const done = turn.then(work, work);
    turn = done.catch(() => undefined);
    return done.catch(() => undefined);
  };
  return {
    read: (kind) => readKept(pathOf(kind), kind).catch(() => null),
    write: (snapshot) => inTurn(() => writeKept(directory, pathOf(snapshot.kind), snapshot)),
    touch: (kind, heardWallMs) => inTurn(() => utimes(pathOf(kind), heardWallMs / 1_000, heardWallMs / 1_000)),
  };
}

async function readKept(path: string, kind: SnapshotKind): Promise<KeptSnapshot | null> {
  const { mtimeMs, size } = await stat(path);
  if (size > limits.SNAPSHOT_BYTES_MAX + HEADER_BYTES_MAX) return null;
  const bytes = await readFile(path);
  const end = bytes.indexOf(0x0a);
  if (end < 0 || end > HEADER_BYTES_MAX) return null;
  const [name = "", sha256 = ""] = bytes.subarray(0, end).toString("latin1").split(" ");
  const version = parseSnapshotVersion(name);
  const content = new Uint8Array(bytes.subarray(end + 1));
  if (version?.kind !== kind || sha256 !== digestOf(name, content)) return null;
  return { kind, version: version.version, content, heardWallMs: mtimeMs };
}

async function writeKept(directory: string, path: string, snapshot: KeptSnapshot): Promise<void> {
  const { kind, version, content, heardWallMs } = snapshot;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const name = snapshotVersion(kind, version);
  const file = await open(`${path}.new`, "w", 0o600);
  try {
    await file.write(`${name} ${digestOf(name, content)}\n`);
    await file.write(content);
    await file.utimes(heardWallMs / 1_000, heardWallMs / 1_000);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}

function digestOf(name: string, content: Uint8Array): string {
  return createHash("sha256").update(`${name}\n`).update(content).digest("hex");
}
