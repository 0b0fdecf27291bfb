import type { OutcomeKind } from "@rspp/ports/provider";

/** How an attempt failed; the detail is static words, never a vendor's own. */
export interface Failure {
  readonly kind: OutcomeKind;
  readonly detail: string;
}

export const lost: Failure = { kind: "disconnect", detail: "the connection to the endpoint was lost" };
export const malformed: Failure = { kind: "error", detail: "malformed answer of the endpoint" };

/** `quota`: the endpoint says that what was paid for is used up, not that there were too many requests. */
export function failureOfStatus(status: number, quota = false): Failure {
  if (status === 401 || status === 403) {
    return { kind: "unauthorized", detail: `HTTP ${status}: the endpoint refused the key` };
  }
  if (status === 402 || (status === 429 && quota)) {
    return { kind: "overload", detail: `quota: HTTP ${status}, the account's means are used up` };
  }
  if (status === 429) return { kind: "overload", detail: "rate_limited: HTTP 429, too many requests" };
  if (status === 503 || status === 529)
    return { kind: "overload", detail: `HTTP ${status}: the endpoint is overloaded` };
  if (status === 408 || status === 504) return { kind: "timeout", detail: `HTTP ${status}: the endpoint timed out` };
  if (status >= 400 && status < 500)
    return { kind: "error", detail: `HTTP ${status}: the endpoint refused the request` };
  return { kind: "error", detail: `HTTP ${status}: the endpoint failed` };
}
