/** What is wrong with something that came from outside: an entry of the catalogue, and the form in which it travels. */
import { create, getOption } from "@bufbuild/protobuf";
import {
  type ErrorDetail,
  ErrorDetailSchema,
  ErrorReason,
  ErrorReasonSchema,
  error_rule,
} from "@rspp/gen/rspp/common/v1/error_pb";

const numbers = new Map<string, ErrorReason>();
const rules = new Map<ErrorReason, { name: string; remedy: string }>();
for (const value of ErrorReasonSchema.values) {
  if (value.number === 0) continue;
  const name = value.name.slice("ERROR_REASON_".length).toLowerCase();
  numbers.set(name, value.number);
  rules.set(value.number, { name, remedy: getOption(value, error_rule).remedy });
}

export interface FieldProblem {
  field: string;
  rule: string;
  message: string;
}

export interface Problem {
  /** Name in the catalogue (`common/v1/error.proto`), in lower case. */
  readonly reason: string;
  /** What to do; default: the catalogue's. */
  readonly remedy?: string;
  readonly violations?: readonly FieldProblem[];
  /** Named facts, never payload. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Reasons that pass: the caller may try again. */
const passing: ReadonlySet<string> = new Set([
  "capacity_exhausted",
  "draining",
  "rate_limited",
  "dependency_unavailable",
  "deadline_exceeded",
]);

/** Whether the same request may succeed later, or at another instance. */
export function mayPass({ reason }: Problem): boolean {
  return passing.has(reason);
}

/** A problem of one field. */
export function fieldProblem(field: string, rule: string, message: string, remedy: string): Problem {
  const violations = [{ field, rule, message: `${message}; ${remedy}`.slice(0, 512) }];
  return { reason: "schema_validation_error", remedy, violations };
}

/** As it travels; `domain` is the service that refuses. A reason that the catalogue does not know is an internal error. */
export function problemDetail(problem: Problem, domain: string): ErrorDetail {
  const number = numbers.get(problem.reason) ?? ErrorReason.RUNTIME_INTERNAL_ERROR;
  return create(ErrorDetailSchema, {
    reason: number,
    domain,
    remedy: (problem.remedy ?? rules.get(number)?.remedy ?? "").slice(0, 512),
    violations: (problem.violations ?? []).map((v) => ({ ...v })),
    metadata: { ...problem.metadata },
  });
}

/** The reason's name, e.g. `token_expired`. */
export function detailName({ reason }: ErrorDetail): string {
  return rules.get(reason)?.name ?? "runtime_internal_error";
}

/** For a close frame, which holds 123 bytes: name, then the field or the remedy. */
export function closeText(detail: ErrorDetail): string {
  const [first] = detail.violations;
  return ascii(`${detailName(detail)}: ${first === undefined ? detail.remedy : `${first.field}: ${first.message}`}`);
}

/** Printable ASCII, 120 characters at most. */
export function ascii(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?").slice(0, 120);
}
