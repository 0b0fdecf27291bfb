import { type Failure, failureOfStatus, lost, malformed } from "../stt/failure.ts";

/** What of a gRPC error's text is the client's own word on the connection, not the server's on the request. */
const connectionWords = /connection|ECONN|socket|RST_STREAM|GOAWAY|name resolution|EPIPE|ENOTFOUND/i;

/** By gRPC status; what the vendor says besides is only looked at. */
export function failureOfGrpc(error: unknown): Failure {
  const { code, details, message } = (error ?? {}) as { code?: unknown; details?: unknown; message?: unknown };
  const said = `${typeof details === "string" ? details : ""} ${typeof message === "string" ? message : ""}`;
  switch (code) {
    case 7:
    case 16:
      return failureOfStatus(401);
    case 8:
      return /quota/i.test(said) && !/per (?:second|minute|hour)|rate/i.test(said)
        ? { kind: "overload", detail: "quota: the account's means are used up" }
        : { kind: "overload", detail: "rate_limited: too many requests" };
    case 4:
      return { kind: "timeout", detail: "the endpoint timed out" };
    case 14:
      return connectionWords.test(said) ? lost : { kind: "overload", detail: "the endpoint is overloaded" };
    case 1:
      return lost;
    case 13:
      if (/pars|decompress|serializ|deserializ/i.test(said)) return malformed;
      return connectionWords.test(said) ? lost : { kind: "error", detail: "the endpoint failed" };
    case 3:
    case 9:
    case 11:
      return { kind: "error", detail: "the endpoint refused the request's settings or audio" };
    case 5:
    case 12:
      return { kind: "error", detail: "the endpoint does not know the method or model" };
    default:
      return typeof code === "number" ? { kind: "error", detail: "the endpoint failed" } : lost;
  }
}
