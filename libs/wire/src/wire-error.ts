/** Why something on the wire was refused, with what to do: the catalogue of `common/v1/error.proto` as a value. */
import { create, getOption } from "@bufbuild/protobuf";
import { err } from "@rspp/base/result";
import {
  type ErrorDetail,
  ErrorDetailSchema,
  ErrorReason,
  ErrorReasonSchema,
  error_rule,
} from "@rspp/gen/rspp/common/v1/error_pb";
import { limits } from "./limits.ts";

/** One field that breaks its contract. */
export interface WireViolation {
  /** Path in the names of the contract, e.g. `audio.format.channels`. */
  readonly field: string;
  /** Id of the rule, e.g. `uint32.lte`, `control.required`. */
  readonly rule: string;
  readonly message: string;
  readonly remedy: string;
}

/** An entry of the closed catalogue, e.g. `schema_validation_error`. */
export type WireReason =
  | "schema_validation_error"
  | "unsupported_schema_version"
  | "unknown_event_type"
  | "message_too_large"
  | "malformed_frame"
  | "session_ref_unknown"
  | "chain_broken";

export interface WireError {
  readonly reason: WireReason;
  readonly violations: readonly WireViolation[];
  /** Named facts, never payload text. */
  readonly metadata: Readonly<Record<string, string>>;
  /** What to do. */
  readonly remedy: string;
}

const reasonNumbers: Readonly<Record<WireReason, ErrorReason>> = {
  schema_validation_error: ErrorReason.SCHEMA_VALIDATION_ERROR,
  unsupported_schema_version: ErrorReason.UNSUPPORTED_SCHEMA_VERSION,
  unknown_event_type: ErrorReason.UNKNOWN_EVENT_TYPE,
  message_too_large: ErrorReason.MESSAGE_TOO_LARGE,
  malformed_frame: ErrorReason.MALFORMED_FRAME,
  session_ref_unknown: ErrorReason.SESSION_REF_UNKNOWN,
  chain_broken: ErrorReason.CHAIN_BROKEN,
};

const remedies = new Map<ErrorReason, string>(
  ErrorReasonSchema.values
    .filter((value) => value.number !== 0)
    .map((value) => [value.number, getOption(value, error_rule).remedy]),
);

/** An error of the catalogue; its remedy is the catalogue's unless a narrower one is given. */
export function wireError(
  reason: WireReason,
  metadata: Readonly<Record<string, string>> = {},
  violations: readonly WireViolation[] = [],
  remedy: string = remedies.get(reasonNumbers[reason]) ?? "",
): WireError {
  const more = violations.length - limits.WIRE_VIOLATIONS_MAX;
  return {
    reason,
    violations: more > 0 ? violations.slice(0, limits.WIRE_VIOLATIONS_MAX) : violations,
    metadata: more > 0 ? { ...metadata, violations_left_out: String(more) } : metadata,
    remedy,
  };
}

/** A `schema_validation_error` about one field. */
export function fieldError(field: string, rule: string, message: string, remedy: string): WireError {
  return wireError("schema_validation_error", {}, [{ field, rule, message, remedy }]);
}

/** The refusal of one field, as a result. */
export function refuseField(
  field: string,
  rule: string,
  message: string,
  remedy: string,
): { readonly ok: false; readonly error: WireError } {
  return err(fieldError(field, rule, message, remedy));
}

/** A name from outside, cut and stripped of control characters, fit for an error. */
export function echo(text: string): string {
  const cut = text.length > limits.WIRE_ECHO_CHARS_MAX ? `${text.slice(0, limits.WIRE_ECHO_CHARS_MAX)}…` : text;
  return cut.replace(/\p{C}/gu, "?");
}

/** The error as it travels in status details and error events. `domain` is the service that refused. */
export function toErrorDetail(error: WireError, domain: string): ErrorDetail {
  return create(ErrorDetailSchema, {
    reason: reasonNumbers[error.reason],
    domain,
    metadata: Object.fromEntries(
      Object.entries(error.metadata)
        .slice(0, 16)
        .map(([name, value]) => [name.slice(0, 64), value.slice(0, 256)]),
    ),
    violations: error.violations.map((v) => ({
      field: v.field.slice(0, 256),
      rule: v.rule.slice(0, 128),
      message: `${v.message}; ${v.remedy}`.slice(0, 512),
    })),
    remedy: error.remedy.slice(0, 512),
  });
}

/** One line for people: reason, fields, remedy. */
export function describeError(error: WireError): string {
  const fields = error.violations.map((v) => `${v.field}: ${v.message} (${v.rule}); ${v.remedy}`);
  const facts = Object.entries(error.metadata).map(([name, value]) => `${name}=${value}`);
  return `${error.reason}: ${[...fields, ...facts].join("; ")}. ${error.remedy}`;
}
