import { diskFull } from "./pg-failure.ts";
import { messageOf, osCode, StoreError } from "./store-error.ts";

const unreachable = new Set(["ECONNREFUSED", "ECONNRESET", "ENOENT", "EPIPE", "ETIMEDOUT", "ENOTFOUND", "EAI_AGAIN"]);

/** What a driver's error means for callers. What the server says may quote values, so that it goes no further (NF-011). */
export function storeErrorOf(found: unknown): StoreError {
  if (found instanceof StoreError) return found;
  const error = withoutValues(found);
  const code = osCode(error);
  if (/^53[12]00$/.test(code)) return diskFull("while writing", error);
  if (code === "53300") return busy(error);
  if (code === "57014" || code === "55P03" || code === "25P04") return late(error);
  if (code === "40001" || code === "40P01" || code === "23505" || code === "23001") {
    return new StoreError("conflict", "Somebody else changed the same rows", "Read again and repeat", error);
  }
  if (/^(08|57P)/.test(code) || unreachable.has(code) || isBrokenConnection(error)) return unavailable(error);
  if (/^28/.test(code) || code === "42501") {
    return new StoreError(
      "permission",
      "The database refuses this account",
      "Check DATABASE_URL and its rights",
      error,
    );
  }
  if (/^(22|23)/.test(code)) {
    return new StoreError("invalid", `The database refuses the values (${code})`, "Check the request's fields", error);
  }
  if (code === "ERR_INVALID_URL") {
    return new StoreError(
      "invalid",
      "The database's address is not one",
      "Write postgresql://user:password@host/database",
    );
  }
  if (/^XX/.test(code)) {
    return new StoreError("corrupt", `The database found damage (${code})`, "Check the disk, restore a backup", error);
  }
  return new StoreError("internal", `The database failed (${code || "no code"})`, "This is a bug: report it", error);
}

/** A cause fit for a log at debug level: state and place, no message, no detail, no address. */
function withoutValues(error: unknown): unknown {
  const code = osCode(error);
  if (code === "") return error;
  const routine =
    typeof error === "object" && error !== null && "routine" in error ? ` in ${String(error.routine)}` : "";
  return Object.assign(new Error(`${code}${routine}`), { code });
}

/** Whether the same transaction, begun again, may well succeed. */
export function isRetriable(error: unknown): boolean {
  const code = osCode(error);
  return code === "40001" || code === "40P01";
}

export function isBrokenConnection(error: unknown): boolean {
  return /Connection terminated|Client has encountered a connection error|not queryable/.test(messageOf(error));
}

/** The driver refused to send on a connection that it knew was lost: what should have been sent has not happened. */
export function wasNeverSent(error: unknown): boolean {
  return /not queryable/.test(messageOf(error));
}

export function late(cause?: unknown): StoreError {
  return new StoreError(
    "deadline",
    "The database did not answer in time, nothing was changed",
    "Repeat with a longer deadline; if it lasts, look at the database's load",
    cause,
  );
}

export function busy(cause?: unknown): StoreError {
  return new StoreError("overloaded", "Too many requests wait for the database", "Wait a little and repeat", cause);
}

function unavailable(cause: unknown): StoreError {
  return new StoreError(
    "unavailable",
    "The database cannot be reached",
    "It may be restarting: repeat; if it lasts, check DATABASE_URL or the server's log",
    cause,
  );
}
