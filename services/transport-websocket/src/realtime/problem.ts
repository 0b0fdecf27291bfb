/** What is refused, in the words of the Realtime protocol (`error` events), and the close code where it ends the connection. */
import { mayPass, type Problem } from "@rspp/transport/problem";
import { type CloseCode, closeCodes } from "../refusal.ts";

/** The `error` object of an error event. */
export interface RealtimeProblem {
  readonly type: "invalid_request_error" | "server_error";
  readonly code: string;
  /** What is wrong, and what to do. */
  readonly message: string;
  /** Field of the client's event, e.g. `session.audio.input.format`. */
  readonly param?: string;
}

export function invalid(code: string, message: string, param?: string): RealtimeProblem {
  return { type: "invalid_request_error", code, message, ...(param === undefined ? {} : { param }) };
}

export interface RealtimeRefusal {
  readonly problem: RealtimeProblem;
  readonly code: CloseCode;
}

/** Why no session is opened for a key. */
export function openRefusal(problem: Problem): RealtimeRefusal {
  const { reason, remedy = "", violations = [] } = problem;
  const [first] = violations;
  const what = first === undefined ? remedy : `${first.field}: ${first.message}`;
  const message = `${reason}: ${what || "Ask the registry for a new route."}`;
  if (reason === "token_invalid" || reason === "token_expired") {
    return { problem: invalid("invalid_api_key", message), code: closeCodes.token };
  }
  if (!mayPass(problem)) return { problem: invalid(reason, message), code: closeCodes.notAllowed };
  return { problem: { type: "server_error", code: reason, message }, code: closeCodes.tryLater };
}

/** What a line refused of the caller's audio. */
export function audioProblem({ reason, remedy = "", violations = [] }: Problem): RealtimeProblem {
  return invalid(reason, violations[0]?.message ?? remedy, "audio");
}
