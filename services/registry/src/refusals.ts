import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { fieldError } from "@rspp/host/store-failure";
import { type RpcError, rpcError } from "@rspp/rpc/errors";
import type { RouteRefusal } from "./routes.ts";
import type { PublishRefusal } from "./versions.ts";
import { violationOf } from "./wire.ts";

export const domain = "registry";
const retryAfterMs = 1_000;

export function publishError(refusal: PublishRefusal): RpcError {
  if (refusal.kind === "invalid") {
    const error = rpcError(ErrorReason.PIPELINE_INVALID, { domain });
    // With the place in the source, which a FieldProblem has not.
    error.detail.violations = refusal.findings.slice(0, 64).map(violationOf);
    return error;
  }
  const { existing, offeredDigest, remedy } = refusal;
  return rpcError(ErrorReason.VERSION_IMMUTABLE, {
    domain,
    metadata: {
      pipeline: existing.name,
      version: String(existing.version),
      existing_sha256: existing.digest,
      offered_sha256: offeredDigest,
    },
    remedy,
  });
}

export function routeError(refusal: RouteRefusal): RpcError {
  switch (refusal.kind) {
    case "pipeline_not_found":
      return pipelineNotFound(refusal.name, refusal.version);
    case "variables_invalid":
      return fieldError(domain, { field: `variables.${refusal.name}`, rule: "variables", message: refusal.reason });
    case "key_reused":
      return rpcError(ErrorReason.ALREADY_EXISTS, {
        domain,
        metadata: { field: "idempotency_key" },
        remedy: "The key was used for another request: make a new one.",
      });
    case "session_exists":
      return rpcError(ErrorReason.ALREADY_EXISTS, {
        domain,
        metadata: { field: "session_id" },
        remedy: "Choose another session id, or leave it out.",
      });
    case "route_expired":
      return rpcError(ErrorReason.TOKEN_EXPIRED, {
        domain,
        remedy: "The route of this idempotency key ran out: ask for another under a new key.",
      });
    case "no_instance":
      return rpcError(ErrorReason.CAPACITY_EXHAUSTED, { domain, metadata: { problem: refusal.reason }, retryAfterMs });
  }
}

export function pipelineNotFound(name: string, version: number): RpcError {
  const metadata = { pipeline: name, version: version === 0 ? "newest" : String(version) };
  return rpcError(ErrorReason.NOT_FOUND, { domain, metadata });
}
