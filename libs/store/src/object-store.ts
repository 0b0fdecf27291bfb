import { StoreError } from "./store-error.ts";

/** One object as the store knows it. */
export interface ObjectInfo {
  readonly key: string;
  readonly bytes: number;
  /** Of the content, hexadecimal. */
  readonly sha256: string;
}

/** Bounds every implementation keeps. */
export const objectLimits = {
  keyCharsMax: 512,
  segmentCharsMax: 200,
  objectBytesMax: 64 * 1024 * 1024,
  listMax: 1_000,
} as const;

/** Segments of path characters; no empty, `.` or `..` segment, so that no key leads out of a directory. */
const keyPattern = /^(?!.*(?:^|\/)\.{1,2}(?:\/|$))[A-Za-z0-9._=@+-]+(?:\/[A-Za-z0-9._=@+-]+)*$/;

export function isObjectKey(key: string): boolean {
  if (key.length > objectLimits.keyCharsMax || !keyPattern.test(key)) return false;
  return key.split("/").every((segment) => segment.length <= objectLimits.segmentCharsMax);
}

/**
 * Whole objects under a key: written once or replaced as a whole, read whole or in part. Every call may reject with a
 * StoreError: `invalid` (key, bounds), `not_found`, `conflict`, `corrupt` (checksum), `storage_full`, `unavailable`.
 */
export interface ObjectStore {
  /** Durable when it resolves; a reader sees the old object or the new one. `ifAbsent`: `conflict` when there is one. */
  put(key: string, content: Uint8Array, options?: { readonly ifAbsent?: boolean }): Promise<ObjectInfo>;
  /** The whole object, its checksum checked. */
  get(key: string): Promise<Uint8Array>;
  /** `length` bytes from `offset`, fewer at the end. The checksum of a part cannot be checked. */
  getRange(key: string, offset: number, length: number): Promise<Uint8Array>;
  head(key: string): Promise<ObjectInfo | undefined>;
  /** Keys under `prefix` after `after`, in order of their UTF-16 code units; at most `limit` (1000). */
  list(prefix: string, options?: { readonly after?: string; readonly limit?: number }): Promise<readonly ObjectInfo[]>;
  /** Idempotent; false when there was none. */
  delete(key: string): Promise<boolean>;
}

/** @throws StoreError `invalid`. */
export function checkKey(key: string): void {
  if (isObjectKey(key)) return;
  throw new StoreError(
    "invalid",
    "The object key is not allowed",
    "Use letters, digits and . _ = @ + - in segments of 1 to 200, joined by /, 512 in all, none of them . or ..",
  );
}

/** @throws StoreError `invalid`. */
export function checkSize(bytes: number): void {
  if (bytes <= objectLimits.objectBytesMax) return;
  throw new StoreError("invalid", "The object is larger than 64 MiB", "Cut it into several");
}

/** @throws StoreError `invalid`. */
export function checkRange(offset: number, length: number): void {
  if (Number.isSafeInteger(offset) && offset >= 0 && Number.isSafeInteger(length) && length >= 0) {
    return checkSize(length);
  }
  throw new StoreError("invalid", "The range is not one", "Give whole bytes, not negative");
}
