import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { type FieldProblem, type RpcError, rpcError } from "@rspp/rpc/errors";
import { StoreError, type StoreErrorCode } from "@rspp/store/store-error";

const reasons: Partial<Record<StoreErrorCode, ErrorReason>> = {
  unavailable: ErrorReason.DEPENDENCY_UNAVAILABLE,
  deadline: ErrorReason.DEADLINE_EXCEEDED,
  outcome_unknown: ErrorReason.DEADLINE_EXCEEDED,
  overloaded: ErrorReason.CAPACITY_EXHAUSTED,
  storage_full: ErrorReason.STORAGE_FULL,
  not_found: ErrorReason.NOT_FOUND,
  conflict: ErrorReason.VERSION_CONFLICT,
};

/** What the store rejected with, as callers may know it; everything else stays as it is and becomes an internal error. */
export function storeFailure(failure: unknown, domain: string): unknown {
  if (!(failure instanceof StoreError)) return failure;
  if (failure.code === "invalid") {
    return fieldError(domain, { field: "request", rule: "store", message: failure.message });
  }
  const reason = reasons[failure.code] ?? ErrorReason.RUNTIME_INTERNAL_ERROR;
  const { code, remedy } = failure;
  return rpcError(reason, { domain, metadata: { store: code }, remedy, retryAfterMs: 250, cause: failure });
}

/** Runs a handler's work with {@link storeFailure} for what it rejects with. */
export async function overStore<T>(domain: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (failure) {
    throw storeFailure(failure, domain);
  }
}

export function fieldError(domain: string, ...violations: readonly FieldProblem[]): RpcError {
  return rpcError(ErrorReason.SCHEMA_VALIDATION_ERROR, { domain, violations });
}
