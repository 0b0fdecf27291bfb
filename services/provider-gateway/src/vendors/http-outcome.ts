/** What an HTTP answer of a vendor is to the gateway; the same for every vendor. */
import type { OutcomeKind } from "@rspp/ports/provider";

/** Kind and detail of an outcome. */
export type Ended = readonly [OutcomeKind, string];

const safety = /content_filter|content_policy|safety|prohibited/i;
const quota = /insufficient_quota|billing|credit|quota_exceeded|spend_limit/i;

/**
 * @param code the vendor's own word for it, e.g. `insufficient_quota`; "" where it gives none. It is matched, never told.
 * @param retryAfter the header's value; told where it is a number of seconds.
 */
export function outcomeOfStatus(status: number, code = "", retryAfter: string | null = null): Ended {
  const detail = `HTTP ${status}`;
  if (status === 401 || status === 403 || /api_key_invalid|authentication|permission/i.test(code))
    return ["unauthorized", `${detail}: the key was refused`];
  if (status === 402 || (status === 429 && quota.test(code))) return ["overload", `quota: ${detail}`];
  if (status === 429) {
    const seconds = /^\d{1,5}$/.test(retryAfter ?? "") ? `, again after ${retryAfter} s` : "";
    return ["overload", `rate_limited: ${detail}${seconds}`];
  }
  if (status === 503 || status === 529) return ["overload", detail];
  if (status === 408 || status === 504) return ["timeout", detail];
  if (status < 500 && safety.test(code)) return ["safety_block", detail];
  return ["error", detail];
}
