/** From what a service refused with to what a person reads: reason, fields, remedy, exit status. */
import { Code } from "@connectrpc/connect";
import { rpcErrorOf } from "@rspp/rpc/clients";
import { errorRule, type RpcError } from "@rspp/rpc/errors";
import { StoreError } from "@rspp/store/store-error";
import { CommandError, EXIT_FAILED, EXIT_INPUT, EXIT_UNREACHABLE } from "../errors.ts";

export type PeerName = "registry" | "runtime" | "replay";

/** Refusals of what was asked; the rest is a platform that could not do it now. */
const inputCodes: ReadonlySet<Code> = new Set([
  Code.InvalidArgument,
  Code.NotFound,
  Code.AlreadyExists,
  Code.OutOfRange,
  Code.Unauthenticated,
  Code.PermissionDenied,
  Code.Unimplemented,
]);

/** Of codes that came without a detail: those of a call that reached nobody who could answer. */
const unreachedCodes: ReadonlySet<string> = new Set([
  "Unavailable",
  "DeadlineExceeded",
  "Unknown",
  "Internal",
  "Unimplemented",
]);

export function serviceFailure(failure: unknown, peer: PeerName, url: string): CommandError {
  const secret = secretFailure(failure);
  if (secret !== null) return secret;
  const error = rpcErrorOf(failure, peer);
  const unreached = unreachedBy(error);
  if (unreached !== null) return unreachable(peer, url, unreached);
  const { name, code } = errorRule(error.reason);
  const { domain, violations, metadata, remedy } = error.detail;
  const shownFacts = Object.entries(metadata).map(([key, value]) => `${key} ${value}`);
  const facts = shownFacts.length === 0 ? "" : ` (${shownFacts.join(", ")})`;
  const isInput = inputCodes.has(code) || name === "version_immutable";
  return new CommandError({
    status: isInput ? EXIT_INPUT : EXIT_FAILED,
    reason: name,
    what: `${domain} refused: ${name}${facts}`,
    fields: violations.map(({ field, message }) => ({ field, message })),
    remedy,
    metadata,
  });
}

function unreachedBy({ detail }: RpcError): string | null {
  const code = detail.metadata.grpc_code;
  return code !== undefined && unreachedCodes.has(code) ? code : null;
}

export function unreachable(peer: PeerName, url: string, code = "Unavailable"): CommandError {
  const silent = code === "Unavailable" || code === "DeadlineExceeded";
  const what = silent
    ? `the ${peer} cannot be reached at ${url}`
    : `what answers at ${url} is no ${peer} of this platform`;
  const remedy = `start a platform with \`rspp up\`, or name its address with --${peer} URL or RSPP_${peer.toUpperCase()}; \`rspp doctor\` shows what answers`;
  return new CommandError({ status: EXIT_UNREACHABLE, reason: "unreachable", what, remedy, metadata: { url } });
}

/** The token could not be read: nothing was sent. */
function secretFailure(failure: unknown): CommandError | null {
  for (let at: unknown = failure; at instanceof Error; at = at.cause) {
    if (at instanceof StoreError)
      return new CommandError({
        status: EXIT_INPUT,
        reason: at.code,
        what: `--token: ${withoutRemedy(at)}`,
        remedy: at.remedy,
      });
  }
  return null;
}

function withoutRemedy({ message, remedy }: StoreError): string {
  return message.endsWith(remedy) ? message.slice(0, -remedy.length).replace(/[. ]+$/, "") : message;
}
