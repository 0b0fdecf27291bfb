import { StoreError } from "./store-error.ts";

export const pageSizeMax = 1_000;

export function checkLimit(limit: number): void {
  if (!Number.isInteger(limit) || limit < 1 || limit > pageSizeMax) {
    throw new StoreError("invalid", `A page has 1 to ${pageSizeMax} items, not ${limit}`, "Ask for fewer and page on");
  }
}

/** Where a list goes on, opaque to callers. */
export function pageToken(position: readonly (string | number)[]): string {
  return Buffer.from(JSON.stringify(position)).toString("base64url");
}

/** @throws StoreError `invalid` for whatever {@link pageToken} did not make in this `shape`. */
export function pagePosition<const S extends readonly ("string" | "number")[]>(
  token: string,
  shape: S,
): { -readonly [K in keyof S]: S[K] extends "number" ? number : string } {
  try {
    const found: unknown = JSON.parse(Buffer.from(token, "base64url").toString("utf8"));
    if (Array.isArray(found) && found.length === shape.length && shape.every((type, i) => isOf(found[i], type))) {
      return found as { -readonly [K in keyof S]: S[K] extends "number" ? number : string };
    }
  } catch {
    // Not JSON: refused below.
  }
  throw new StoreError("invalid", "The page token is not one of this list", "Begin again without a token");
}

function isOf(value: unknown, type: "string" | "number"): boolean {
  return type === "number" ? Number.isSafeInteger(value) : typeof value === "string";
}
