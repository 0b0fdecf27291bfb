/** Reasons, ids and emitters as messages of a session have them on a link. */
import { getOption } from "@bufbuild/protobuf";
import type { ErrorDetail } from "@rspp/gen/rspp/common/v1/error_pb";
import { ControlSignalSchema } from "@rspp/gen/rspp/event/v1/control_pb";
import { control_signal_rule } from "@rspp/gen/rspp/event/v1/control_rule_pb";
import type { OpenRefusal } from "@rspp/ports/session-opener";
import { emitterNames, errorReasonNames, signalNames } from "@rspp/wire/names";

/** Who says a signal of the runtime; the port names no emitter, the closed set's first is the usual one. */
const emitters = new Map<string, string>(
  ControlSignalSchema.values
    .filter((value) => value.number !== 0)
    .map((value) => [
      signalNames.name(value.number),
      emitterNames.name(getOption(value, control_signal_rule).emitters[0] ?? 0),
    ]),
);

export function emitterOf(signal: string): string {
  return emitters.get(signal) ?? "";
}

/** The word a reason was sent as: one that is not of the enum travels as its detail. */
export function wordOf(reason: string, detail: string): string {
  return detail === "" ? reason : detail;
}

const cancels: ReadonlySet<string> = new Set(["barge_in", "stop", "cancel", "cancel_requested"]);

export function isCancel(signal: string): boolean {
  return cancels.has(signal);
}

/** The number behind a prefix; null for an id of another form. */
export function numberAfter(prefix: string, id: string): number | null {
  if (!id.startsWith(prefix)) return null;
  const number = Number(id.slice(prefix.length));
  return Number.isSafeInteger(number) && number >= 0 ? number : null;
}

/** With which an adapter leaves the runtime that asked it to go on elsewhere. */
export const HANDED_OVER = "migration";

const refusals: ReadonlyMap<string, OpenRefusal["reason"]> = new Map([
  ["already_exists", "already_exists"],
  ["lease_held", "already_exists"],
  ["not_found", "not_found"],
  ["session_not_found", "not_found"],
  ["session_ended", "not_found"],
  ["permission_denied", "permission_denied"],
  ["unauthenticated", "permission_denied"],
  ["token_expired", "permission_denied"],
  ["token_invalid", "permission_denied"],
  ["capacity_exhausted", "capacity_exhausted"],
  ["quota_exceeded", "quota_exceeded"],
  ["rate_limited", "rate_limited"],
  ["draining", "draining"],
  ["recording_unavailable", "recording_unavailable"],
  ["authority_epoch_mismatch", "authority_epoch_mismatch"],
  ["lease_lost", "authority_epoch_mismatch"],
  ["lease_grant_invalid", "authority_epoch_mismatch"],
  ["store_incarnation_mismatch", "authority_epoch_mismatch"],
  ["version_conflict", "authority_epoch_mismatch"],
  ["deadline_exceeded", "dependency_unavailable"],
  ["dependency_unavailable", "dependency_unavailable"],
  ["snapshot_unavailable", "dependency_unavailable"],
  ["pipeline_invalid", "pipeline_invalid"],
  ["profile_unsupported", "pipeline_invalid"],
  ["provider_unknown", "pipeline_invalid"],
  ["provider_capability_missing", "pipeline_invalid"],
]);

/** An error of the catalogue as the few reasons an opener knows. */
export function refusalOf(detail: Pick<ErrorDetail, "reason" | "remedy">): OpenRefusal {
  const name = errorReasonNames.name(detail.reason);
  return { reason: refusals.get(name) ?? "runtime_internal_error", remedy: detail.remedy };
}

/** The enum's word with which a session ends for an error of the catalogue. */
export function endReasonOf(detail: Pick<ErrorDetail, "reason">): string {
  switch (errorReasonNames.name(detail.reason)) {
    case "capacity_exhausted":
      return "capacity";
    case "quota_exceeded":
      return "quota";
    case "rate_limited":
      return "rate_limited";
    case "draining":
      return "draining";
    case "recording_unavailable":
      return "recording_evidence_unavailable";
    case "authority_epoch_mismatch":
    case "lease_lost":
    case "lease_grant_invalid":
      return "authority_loss";
    case "deadline_exceeded":
      return "timeout";
    case "schema_validation_error":
    case "malformed_frame":
    case "out_of_order":
      return "invalid_event";
    case "runtime_internal_error":
      return "internal";
    default:
      return "policy";
  }
}
