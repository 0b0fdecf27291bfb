/** Closed set; callers decide by it, nobody matches message text (F-131). */
export type StoreErrorCode =
  /** The database or object store cannot be reached, or is starting or stopping. Nothing was changed. */
  | "unavailable"
  /** Not done within its deadline; rolled back. */
  | "deadline"
  /** The connection died during COMMIT: read back, or repeat under the same idempotency key. */
  | "outcome_unknown"
  /** Too many requests are waiting already. */
  | "overloaded"
  | "storage_full"
  | "not_found"
  /** Somebody else wrote first. */
  | "conflict"
  /** A request past the store's bounds, or malformed. */
  | "invalid"
  /** What was read is not what was written. */
  | "corrupt"
  | "permission"
  /** The data directory is held by another running platform. */
  | "in_use"
  | "port_in_use"
  | "version_mismatch"
  /** This machine cannot run the embedded server. */
  | "unsupported"
  /** A secret's reference cannot be resolved. */
  | "secret_missing"
  | "internal";

/**
 * An operating error of a store. `message` says what is wrong, `remedy` what to do about it; neither holds secrets or
 * payload. `cause` is the driver's own error, for logs at debug level only.
 */
export class StoreError extends Error {
  override readonly name = "StoreError";
  readonly code: StoreErrorCode;
  readonly remedy: string;

  constructor(code: StoreErrorCode, message: string, remedy: string, cause?: unknown) {
    super(`${message}. ${remedy}`, cause === undefined ? undefined : { cause });
    this.code = code;
    this.remedy = remedy;
  }
}

/** The operating system's code (`ENOSPC` …) of a Node error; empty when there is none. */
export function osCode(error: unknown): string {
  if (typeof error !== "object" || error === null || !("code" in error)) return "";
  return typeof error.code === "string" ? error.code : "";
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
