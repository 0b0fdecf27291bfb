/** Why a stream is ended: the close code of `docs/telephony.md`, and in words what to do. */
import { closeText, type Problem, problemDetail } from "@rspp/transport/problem";

export const DOMAIN = "transport-telephony";

export const closeCodes = {
  done: 1000,
  goingAway: 1001,
  wrongKind: 1003,
  internal: 1011,
  tryLater: 1013,
  badMessage: 4400,
  token: 4401,
  notAllowed: 4403,
  noSession: 4404,
  deadline: 4408,
  replaced: 4409,
  slow: 4413,
} as const;

export type CloseCode = (typeof closeCodes)[keyof typeof closeCodes];

const tokens: readonly string[] = ["token_invalid", "token_expired"];
const messages: readonly string[] = [
  "malformed_frame",
  "schema_validation_error",
  "out_of_order",
  "unknown_event_type",
];

export function closeCodeOf({ reason }: Problem, mayPass: boolean): CloseCode {
  if (tokens.includes(reason)) return closeCodes.token;
  if (messages.includes(reason)) return closeCodes.badMessage;
  if (reason === "session_not_found") return closeCodes.noSession;
  return mayPass ? closeCodes.tryLater : closeCodes.notAllowed;
}

export function closeReason(problem: Problem): string {
  return closeText(problemDetail(problem, DOMAIN));
}
