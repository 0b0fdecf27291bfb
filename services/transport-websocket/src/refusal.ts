/** Why a client or one of its frames is refused: the catalogue's entry, in the form that travels, and the close code. */
import { create, getOption } from "@bufbuild/protobuf";
import {
  type ErrorDetail,
  ErrorDetailSchema,
  ErrorReason,
  ErrorReasonSchema,
  error_rule,
} from "@rspp/gen/rspp/common/v1/error_pb";
import { toErrorDetail, type WireError } from "@rspp/wire/wire-error";

const DOMAIN = "transport-websocket";

const numbers = new Map<string, ErrorReason>();
const rules = new Map<ErrorReason, { name: string; remedy: string }>();
for (const value of ErrorReasonSchema.values) {
  if (value.number === 0) continue;
  const name = value.name.slice("ERROR_REASON_".length).toLowerCase();
  numbers.set(name, value.number);
  rules.set(value.number, { name, remedy: getOption(value, error_rule).remedy });
}

/** Close codes of `docs/websocket-protocol.md`; those from 4000 are this protocol's own. */
export const closeCodes = {
  /** The session is over. */
  done: 1000,
  goingAway: 1001,
  wrongKind: 1003,
  tooLarge: 1009,
  internal: 1011,
  tryLater: 1013,
  badFrame: 4400,
  token: 4401,
  notAllowed: 4403,
  noSession: 4404,
  deadline: 4408,
  replaced: 4409,
  tooOld: 4410,
  slow: 4413,
  stalled: 4414,
} as const;

export type CloseCode = (typeof closeCodes)[keyof typeof closeCodes];

export interface Refusal {
  detail: ErrorDetail;
  code: CloseCode;
}

export interface FieldProblem {
  field: string;
  rule: string;
  message: string;
}

/** A refusal of the catalogue: `reason` in lower case; the catalogue's remedy unless a narrower one is given. */
export function refusal(
  reason: string,
  code: CloseCode,
  more: { remedy?: string; violations?: readonly FieldProblem[]; metadata?: Readonly<Record<string, string>> } = {},
): Refusal {
  const number = numbers.get(reason) ?? ErrorReason.RUNTIME_INTERNAL_ERROR;
  const detail = create(ErrorDetailSchema, {
    reason: number,
    domain: DOMAIN,
    remedy: (more.remedy ?? rules.get(number)?.remedy ?? "").slice(0, 512),
    violations: (more.violations ?? []).map((v) => ({ ...v })),
    metadata: { ...more.metadata },
  });
  return { detail, code };
}

/** A refusal that names one field. */
export function fieldRefusal(field: string, rule: string, message: string, remedy: string): Refusal {
  return refusal("schema_validation_error", closeCodes.badFrame, {
    remedy,
    violations: [{ field, rule, message: `${message}; ${remedy}`.slice(0, 512) }],
  });
}

export function wireRefusal(error: WireError, code: CloseCode = closeCodes.badFrame): Refusal {
  return { detail: toErrorDetail(error, DOMAIN), code };
}

/** The reason's name, e.g. `token_expired`. */
export function refusalName(refused: Refusal): string {
  return rules.get(refused.detail.reason)?.name ?? "runtime_internal_error";
}

/** For the close frame, which holds 123 bytes: name, then the field or the remedy. */
export function closeText(refused: Refusal): string {
  const [first] = refused.detail.violations;
  return ascii(
    `${refusalName(refused)}: ${first === undefined ? refused.detail.remedy : `${first.field}: ${first.message}`}`,
  );
}

export function ascii(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?").slice(0, 120);
}
