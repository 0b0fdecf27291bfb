import { failureOfStatus, SpeechFailure } from "../speech/failure.ts";

const statusOfCode: Readonly<Record<string, number>> = {
  invalid_api_key: 401,
  missing_permissions: 401,
  unauthorized: 401,
  quota_exceeded: 402,
  rate_limit_exceeded: 429,
  too_many_concurrent_requests: 429,
  system_busy: 503,
  content_violation: 400,
  internal_error: 500,
};

/** Of `detail.status` in an HTTP answer, or `error` in a message of the socket. */
export function failureOfCode(status: number, code: string): SpeechFailure {
  if (code === "content_violation" || code === "content_against_policy")
    return new SpeechFailure("safety_block", `HTTP ${status}`);
  if (code === "input_timeout_exceeded") return new SpeechFailure("timeout", "the vendor waited too long for text");
  return failureOfStatus(statusOfCode[code] ?? status);
}

/** `{"detail":{"status":…}}`; "" where it is none. */
export function codeOfBody(body: string): string {
  try {
    const { detail } = JSON.parse(body) as { detail?: { status?: unknown; code?: unknown } };
    return String(detail?.status ?? detail?.code ?? "");
  } catch {
    return "";
  }
}
