/** From what a service refused with to what a person reads: reason, fields, remedy, exit status. */
import { rpcErrorOf } from "@rspp/rpc/clients";
import { errorRule, type RpcError } from "@rspp/rpc/errors";
import { StoreError } from "@rspp/store/store-error";
import { CommandError, EXIT_FAILED, EXIT_INPUT, EXIT_UNREACHABLE } from "../errors.ts";
import { msWords } from "../output/words.ts";
import { grpcCodeOf } from "./grpc-code.ts";

export type PeerName = "registry" | "runtime" | "replay";

/** Refusals of what was asked; the rest is a platform that could not do it now. */
const inputCodes: ReadonlySet<string> = new Set([
  "INVALID_ARGUMENT",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "OUT_OF_RANGE",
  "UNAUTHENTICATED",
  "PERMISSION_DENIED",
  "UNIMPLEMENTED",
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
  const { name } = errorRule(error.reason);
  const { domain, violations, metadata, retryAfterMs } = error.detail;
  const isInput = inputCodes.has(grpcCodeOf(error.reason)) || name === "version_immutable";
  const told = narrower(name, metadata, peer);
  const wait = retryAfterMs > 0 ? `; it may be repeated after ${msWords(retryAfterMs)}` : "";
  return new CommandError({
    status: isInput ? EXIT_INPUT : EXIT_FAILED,
    reason: name,
    what: `${domain || peer}: ${name}${told.what === "" ? "" : `: ${told.what}`}${wait}`,
    fields: [
      ...violations.map(({ field, message }) => ({ field, message })),
      ...(told.what === "" ? Object.entries(metadata).map(([field, message]) => ({ field, message })) : []),
    ],
    remedy: told.remedy || error.detail.remedy,
    metadata,
  });
}

/** What a reason means to somebody at a terminal, where more can be said than the catalogue does. */
function narrower(
  name: string,
  facts: Readonly<Record<string, string>>,
  peer: PeerName,
): { what: string; remedy: string } {
  if (name === "not_found" && facts.pipeline !== undefined) {
    const version = facts.version === undefined || facts.version === "newest" ? "" : `@${facts.version}`;
    const what = `no pipeline ${facts.pipeline}${version} is published`;
    return { what, remedy: "`rspp pipelines` lists what is published; publish it with `rspp publish SPEC`" };
  }
  if (name === "session_not_found") {
    const elsewhere = peer === "runtime" ? " and the runtime each runs on; name that one with --runtime URL" : "";
    return {
      what: facts.session === undefined ? "" : `nobody knows session ${facts.session} here`,
      remedy: `\`rspp sessions\` lists the sessions${elsewhere}`,
    };
  }
  if (name === "session_ended")
    return {
      what: facts.session === undefined ? "" : `session ${facts.session} is over`,
      remedy: "`rspp timeline SESSION` tells what happened in it; `rspp talk` opens a new one",
    };
  if (name === "capacity_exhausted" && facts.problem === "none_ready")
    return {
      what: "no runtime is ready to take a session",
      remedy: "start a platform with `rspp up`; `rspp doctor` shows what answers",
    };
  if (name === "version_immutable")
    return {
      what: `${facts.pipeline}@${facts.version} stands there with other content (sha256 ${facts.existing_sha256?.slice(0, 12)}, offered ${facts.offered_sha256?.slice(0, 12)})`,
      remedy: "leave --as out to publish the next version",
    };
  return { what: "", remedy: "" };
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
