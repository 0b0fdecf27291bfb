/** Why a client or one of its frames is refused: the catalogue's entry, in the form that travels, and the close code. */
import type { ErrorDetail } from "@rspp/gen/rspp/common/v1/error_pb";
import { fieldProblem, mayPass, type Problem, problemDetail } from "@rspp/transport/problem";
import { toErrorDetail, type WireError } from "@rspp/wire/wire-error";

const DOMAIN = "transport-websocket";

/** Close codes of `docs/websocket-protocol.md`; those from 4000 are this protocol's own. */
export const closeCodes = {
  /** The session is over. */
  done: 1000,
  goingAway: 1001,
  wrongKind: 1003,
  tooLarge: 1009,
  internal: 1011,
  tryLater: 1013,
  badFrame: 4400,
  token: 4401,
  notAllowed: 4403,
  noSession: 4404,
  deadline: 4408,
  replaced: 4409,
  tooOld: 4410,
  slow: 4413,
  stalled: 4414,
} as const;

export type CloseCode = (typeof closeCodes)[keyof typeof closeCodes];

export interface Refusal {
  detail: ErrorDetail;
  code: CloseCode;
}

/** A refusal of the catalogue: `reason` in lower case; the catalogue's remedy unless a narrower one is given. */
export function refusal(reason: string, code: CloseCode, more: Omit<Problem, "reason"> = {}): Refusal {
  return refusalOf({ reason, ...more }, code);
}

/** Bad frames are the usual case. */
export function refusalOf(problem: Problem, code: CloseCode = closeCodes.badFrame): Refusal {
  return { detail: problemDetail(problem, DOMAIN), code };
}

/** Why a session was not opened. */
export function openRefusal(problem: Problem): Refusal {
  const token = problem.reason === "token_expired" || problem.reason === "token_invalid";
  const code = mayPass(problem) ? closeCodes.tryLater : closeCodes.notAllowed;
  return refusalOf(problem, token ? closeCodes.token : code);
}

/** A refusal that names one field. */
export function fieldRefusal(field: string, rule: string, message: string, remedy: string): Refusal {
  return refusalOf(fieldProblem(field, rule, message, remedy));
}

export function wireRefusal(error: WireError, code: CloseCode = closeCodes.badFrame): Refusal {
  return { detail: toErrorDetail(error, DOMAIN), code };
}
