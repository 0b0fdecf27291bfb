import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { fieldError } from "@rspp/host/store-failure";
import { type RpcError, rpcError } from "@rspp/rpc/errors";
import type { ChangeAsk, RollbackOutcome } from "@rspp/store/artifact-store";
import type { NoInstance, Placement, ReassignOutcome } from "@rspp/store/session-store";
import { type FrozenRefusal, moreWords, percent } from "./rollout-freeze.ts";
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
  if (refusal.kind === "rollout_frozen") return frozenError(refusal);
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

/** A rollout that gives more while the error budget is spent, or a way back that leads forward (NF-030). */
export function frozenError({ pipeline, ratio, more }: FrozenRefusal): RpcError {
  const metadata = { problem: "rollout_frozen", pipeline, error_budget_spent: String(ratio), gives: moreWords(more) };
  const remedy =
    `Rollouts are frozen: ${percent(ratio)} of the error budget of 30 days is spent. Wait until it is below 100 %, lower ` +
    "the rollout or roll back; an admin may pass it with --override-freeze REASON.";
  return rpcError(ErrorReason.OUT_OF_ORDER, { domain, metadata, remedy });
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
    case "platform_tenant":
      return fieldError(domain, { field: "tenant_id", rule: "tenant", message: "the platform itself has no sessions" });
    case "no_instance":
      return noInstance(refusal.reason);
    case "over_limit":
      return overLimit(refusal);
  }
}

/** Put off, F-049: it says why and when to come again. */
function noInstance(problem: NoInstance): RpcError {
  const metadata = { problem, outcome: "defer" };
  const remedy =
    problem === "no_region"
      ? "No instance with room is in the regions of the tenant's configuration (placement.regions): start one there, or publish one without."
      : undefined;
  return rpcError(ErrorReason.CAPACITY_EXHAUSTED, {
    domain,
    metadata,
    retryAfterMs,
    ...(remedy === undefined ? {} : { remedy }),
  });
}

function overLimit(refusal: Extract<RouteRefusal, { kind: "over_limit" }>): RpcError {
  const { limit, max, over } = refusal;
  const metadata = { limit: limit === "starts" ? "starts_per_minute" : "concurrent_max", max: String(max) };
  const reason = limit === "starts" ? ErrorReason.RATE_LIMITED : ErrorReason.QUOTA_EXCEEDED;
  if (over === "throttle") {
    return rpcError(reason, {
      domain,
      metadata: { ...metadata, outcome: "defer" },
      retryAfterMs: refusal.retryAfterMs,
    });
  }
  const remedy = `End a session of the tenant, or raise ${metadata.limit} in its configuration (rspp tenant).`;
  return rpcError(reason, { domain, metadata: { ...metadata, outcome: "reject" }, remedy });
}

export function moveError(refusal: Exclude<ReassignOutcome, { placement: Placement }>, session: string): RpcError {
  switch (refusal.kind) {
    case "not_found":
      return rpcError(ErrorReason.SESSION_NOT_FOUND, { domain, metadata: { session } });
    case "ended":
      return rpcError(ErrorReason.SESSION_ENDED, { domain, metadata: { session } });
    case "key_reused":
      return rpcError(ErrorReason.ALREADY_EXISTS, {
        domain,
        metadata: { field: "idempotency_key" },
        remedy: "The key was used for another move of this session: make a new one.",
      });
    case "not_there":
      return rpcError(ErrorReason.VERSION_CONFLICT, {
        domain,
        metadata: { session, instance: refusal.instanceId },
        remedy: "The session runs on the instance in metadata: name that one as from_instance_id.",
      });
    case "no_instance":
      return noInstance(refusal.reason);
  }
}

export function artifactNotFound(kind: string, name: string, version: number): RpcError {
  const metadata = { artifact: `${kind}/${name}`, version: version === 0 ? "in force" : String(version) };
  return rpcError(ErrorReason.NOT_FOUND, { domain, metadata });
}

export function rollbackError(
  refusal: Exclude<RollbackOutcome, { kind: "rolled_back" }>,
  ask: ChangeAsk & { version: number },
) {
  const artifact = `${ask.kind}/${ask.name}`;
  switch (refusal.kind) {
    case "not_found":
      return artifactNotFound(ask.kind, ask.name, ask.version);
    case "nothing_older":
      return rpcError(ErrorReason.NOT_FOUND, {
        domain,
        metadata: { artifact, active: String(refusal.activeVersion) },
        remedy: "No older version is left: name one, or withdraw it.",
      });
    case "deprecated":
      return rpcError(ErrorReason.OUT_OF_ORDER, {
        domain,
        metadata: { artifact, version: String(refusal.version) },
        remedy: "That version is deprecated: name another one.",
      });
  }
}

export function instanceNotFound(instance: string): RpcError {
  const remedy = "No such instance tells of itself: list those that do (rspp drain).";
  return rpcError(ErrorReason.NOT_FOUND, { domain, metadata: { instance }, remedy });
}

export function pipelineNotFound(name: string, version: number): RpcError {
  const metadata = { pipeline: name, version: version === 0 ? "newest" : String(version) };
  return rpcError(ErrorReason.NOT_FOUND, { domain, metadata });
}
