import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { type RpcError, rpcError } from "@rspp/rpc/errors";
import type { StateRefusal } from "@rspp/store/state-store";
import type { LeaseRefusal } from "./lease-service.ts";

export const domain = "lease";

const reasons: Readonly<Record<LeaseRefusal, ErrorReason>> = {
  held: ErrorReason.LEASE_HELD,
  unknown_session: ErrorReason.SESSION_NOT_FOUND,
  not_holder: ErrorReason.LEASE_LOST,
  revoked: ErrorReason.LEASE_LOST,
  stale_epoch: ErrorReason.AUTHORITY_EPOCH_MISMATCH,
  reissue: ErrorReason.STORE_INCARNATION_MISMATCH,
  sessions_full: ErrorReason.CAPACITY_EXHAUSTED,
  too_many_receivers: ErrorReason.SCHEMA_VALIDATION_ERROR,
  epochs_exhausted: ErrorReason.RUNTIME_INTERNAL_ERROR,
  unexpected_epoch: ErrorReason.VERSION_CONFLICT,
  superseded: ErrorReason.AUTHORITY_EPOCH_MISMATCH,
  key_reused: ErrorReason.ALREADY_EXISTS,
};

const remedies: Partial<Record<LeaseRefusal, string>> = {
  unknown_session: "No lease was granted for this session, or it ended: ask for a grant.",
  reissue: "The store was restored: ask for a new grant.",
  superseded: "What this idempotency key was granted is over: read the lease, and ask under a new key.",
  key_reused: "The idempotency_key was used for another request: make a new one.",
  unexpected_epoch: "Another epoch is in force: read the lease and decide again.",
};

/** Waiting helps only where the other holder may go. */
const heldRetryMs = 1_000;

export function leaseError(refusal: LeaseRefusal): RpcError {
  const remedy = remedies[refusal];
  return rpcError(reasons[refusal], {
    domain,
    metadata: { problem: refusal },
    ...(remedy === undefined ? {} : { remedy }),
    ...(refusal === "held" || refusal === "sessions_full" ? { retryAfterMs: heldRetryMs } : {}),
  });
}

export function stateError(refusal: StateRefusal): RpcError {
  if (refusal.kind === "version_conflict") {
    return rpcError(ErrorReason.VERSION_CONFLICT, { domain, metadata: { version: String(refusal.version) } });
  }
  const metadata = { problem: refusal.kind, floor: String(refusal.floor) };
  return rpcError(ErrorReason.AUTHORITY_EPOCH_MISMATCH, { domain, metadata });
}
