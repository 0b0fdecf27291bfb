import { createHash, randomUUID } from "node:crypto";
import { type FileHandle, link, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { checkKey, checkRange, checkSize, type ObjectInfo, type ObjectStore, objectLimits } from "./object-store.ts";
import { isAlive } from "./pg-lock.ts";
import { messageOf, osCode, StoreError } from "./store-error.ts";

// Each object is one file: content, then a footer of fixed size with magic, length and SHA-256, so that content and
// checksum can never be of two different writes. Files end in `$`, which no key holds: `a` and `a/b` may both exist.
const magic = Buffer.from("rsppobj1");
const footerBytes = magic.length + 8 + 32;
const suffix = "$";
const attemptsMax = 3;

/**
 * Objects as files below `dir`. A write goes to a temporary file, is synced, and takes its name in one step; what a dead
 * process left half written is swept away here.
 */
export async function openFileObjectStore(dir: string): Promise<ObjectStore> {
  const objects = join(dir, "objects");
  const staging = join(dir, "staging");
  await guard("", async () => {
    await mkdir(objects, { recursive: true, mode: 0o700 });
    await mkdir(staging, { recursive: true, mode: 0o700 });
    for (const name of await readdir(staging)) {
      if (!isAlive(Number(name.split("-")[0]))) await rm(join(staging, name), { force: true });
    }
  });
  const pathOf = (key: string): string => {
    checkKey(key);
    return join(objects, `${key}${suffix}`);
  };
  return {
    put: async (key, content, { ifAbsent = false } = {}) => {
      const path = pathOf(key);
      checkSize(content.length);
      return guard(key, () => put(key, path, join(staging, `${process.pid}-${randomUUID()}`), content, ifAbsent));
    },
    get: (key) => withFile(key, pathOf(key), (file, info) => readWhole(file, info)),
    getRange: async (key, offset, length) => {
      checkRange(offset, length);
      return withFile(key, pathOf(key), (file, info) =>
        readExactly(file, info, offset, Math.max(0, Math.min(length, info.bytes - offset))),
      );
    },
    head: (key) =>
      withFile(key, pathOf(key), async (_, info) => info).catch((error: unknown) => {
        if (error instanceof StoreError && error.code === "not_found") return undefined;
        throw error;
      }),
    list: (prefix, { after = "", limit = objectLimits.listMax } = {}) =>
      guard(prefix, async () => {
        const keys: string[] = [];
        const wanted = Math.min(Math.max(1, limit), objectLimits.listMax);
        await walk(objects, "", { prefix, after, wanted, keys });
        const infos = await Promise.all(keys.map((key) => infoUnlessGone(key, pathOf(key))));
        return infos.filter((info) => info !== undefined);
      }),
    delete: async (key) => {
      const path = pathOf(key);
      return guard(key, async () => {
        try {
          await rm(path);
        } catch (error) {
          if (osCode(error) === "ENOENT") return false;
          throw error;
        }
        await syncDir(dirname(path));
        return true;
      });
    },
  };
}

async function put(key: string, path: string, temporary: string, content: Uint8Array, ifAbsent: boolean) {
  const sha256 = createHash("sha256").update(content).digest();
  try {
    await writeSynced(temporary, content, sha256);
    await makeDir(dirname(path));
    await (ifAbsent ? link(temporary, path) : rename(temporary, path));
    await syncDir(dirname(path));
    return { key, bytes: content.length, sha256: sha256.toString("hex") };
  } finally {
    await rm(temporary, { force: true });
  }
}

/** A new directory is durable once the one that holds it is synced, up to the first that was there. */
async function makeDir(dir: string): Promise<void> {
  const first = await mkdir(dir, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = dir; made.length >= first.length; made = dirname(made)) await syncDir(dirname(made));
}

async function writeSynced(path: string, content: Uint8Array, sha256: Uint8Array): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    const footer = Buffer.alloc(footerBytes);
    magic.copy(footer);
    footer.writeBigUInt64BE(BigInt(content.length), magic.length);
    footer.set(sha256, magic.length + 8);
    await file.writev([content, footer].filter((part) => part.length > 0));
    if ((await file.stat()).size !== content.length + footerBytes) {
      throw Object.assign(new Error("short write"), { code: "ENOSPC" });
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

/** A name is durable once its directory is synced; some file systems refuse that and need it not. */
async function syncDir(dir: string): Promise<void> {
  const handle = await open(dir, "r");
  try {
    await handle.sync();
  } catch (error) {
    if (osCode(error) !== "EINVAL" && osCode(error) !== "ENOTSUP") throw error;
  } finally {
    await handle.close();
  }
}

function withFile<T>(key: string, path: string, read: (file: FileHandle, info: ObjectInfo) => Promise<T>): Promise<T> {
  return guard(key, async () => {
    const file = await open(path, "r");
    try {
      return await read(file, await footerOf(key, file));
    } finally {
      await file.close();
    }
  });
}

async function footerOf(key: string, file: FileHandle): Promise<ObjectInfo> {
  const { size } = await file.stat();
  const bytes = size - footerBytes;
  if (bytes < 0) throw corrupt(key, "it is too short");
  const { buffer, bytesRead } = await file.read(Buffer.alloc(footerBytes), 0, footerBytes, bytes);
  const whole = bytesRead === footerBytes && buffer.subarray(0, magic.length).equals(magic);
  if (!whole || buffer.readBigUInt64BE(magic.length) !== BigInt(bytes)) throw corrupt(key, "its end is damaged");
  return { key, bytes, sha256: buffer.subarray(magic.length + 8).toString("hex") };
}

async function readWhole(file: FileHandle, info: ObjectInfo): Promise<Uint8Array> {
  const content = await readExactly(file, info, 0, info.bytes);
  const found = createHash("sha256").update(content).digest("hex");
  if (found !== info.sha256) throw corrupt(info.key, "its checksum differs");
  return content;
}

async function readExactly(file: FileHandle, { key }: ObjectInfo, offset: number, length: number): Promise<Uint8Array> {
  if (length === 0) return new Uint8Array(0);
  const { buffer, bytesRead } = await file.read(new Uint8Array(length), 0, length, offset);
  if (bytesRead !== length) throw corrupt(key, "it ended early");
  return buffer;
}

async function infoUnlessGone(key: string, path: string): Promise<ObjectInfo | undefined> {
  try {
    return await withFile(key, path, async (_, info) => info);
  } catch (error) {
    if (error instanceof StoreError && error.code === "not_found") return undefined;
    throw error;
  }
}

interface Walk {
  readonly prefix: string;
  readonly after: string;
  readonly wanted: number;
  readonly keys: string[];
}

/** In order of keys: a directory stands where its name with the slash does. */
async function walk(dir: string, path: string, ask: Walk): Promise<void> {
  const entries = await readdir(dir, { withFileTypes: true }).catch((error: unknown) => {
    if (osCode(error) === "ENOENT") return [];
    throw error;
  });
  const sorted = entries
    .map((entry) => (entry.isDirectory() ? `${path}${entry.name}/` : `${path}${entry.name.slice(0, -suffix.length)}`))
    .sort((a, b) => (a < b ? -1 : 1));
  for (const found of sorted) {
    if (ask.keys.length >= ask.wanted) return;
    if (!found.endsWith("/")) {
      if (found.startsWith(ask.prefix) && found > ask.after) ask.keys.push(found);
    } else if (mayHold(found, ask)) {
      await walk(join(dir, found.slice(path.length)), found, ask);
    }
  }
}

function mayHold(dir: string, { prefix, after }: Walk): boolean {
  const onTheWay = dir.startsWith(prefix) || prefix.startsWith(dir);
  return onTheWay && (dir >= after || after.startsWith(dir));
}

function corrupt(key: string, what: string): StoreError {
  return new StoreError("corrupt", `The object ${key} is damaged: ${what}`, "Restore it from a backup; check the disk");
}

/** A directory on the way may vanish or appear meanwhile; otherwise says what the operating system's code means. */
async function guard<T>(key: string, body: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await body();
    } catch (error) {
      if (osCode(error) === "EINTR" && attempt < attemptsMax) continue;
      throw errorOf(key, error);
    }
  }
}

function errorOf(key: string, error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  switch (osCode(error)) {
    case "ENOENT":
      return new StoreError("not_found", `There is no object ${key}`, "List the keys below its prefix", error);
    case "EEXIST":
      return new StoreError("conflict", `There is an object ${key} already`, "Choose another key or replace it", error);
    case "ENOSPC":
    case "EDQUOT":
      return new StoreError("storage_full", "No space is left for objects", "Free some space or move them", error);
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new StoreError("permission", "The object store may not use its files", "Give them to this user", error);
    default:
      return new StoreError("unavailable", `The object store failed (${messageOf(error)})`, "Check its disk", error);
  }
}
