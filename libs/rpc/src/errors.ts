/**
 * The closed catalogue of errors (`rspp.common.v1.ErrorReason`) as a typed error, and its form on both stacks: a gRPC code
 * with one `ErrorDetail` (F-131). Nobody matches message text.
 */
import { create, getOption } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { invariant } from "@rspp/base/invariant";
import {
  type DefaultAction,
  type ErrorDetail,
  ErrorDetailSchema,
  ErrorReason,
  ErrorReasonSchema,
  error_rule,
} from "@rspp/gen/rspp/common/v1/error_pb";
import { toErrorDetail, type WireError } from "@rspp/wire/wire-error";

/** What the catalogue says about a reason. */
export interface ErrorRule {
  /** Name without prefix, in lower case, e.g. `token_expired`; fit for logs and metrics. */
  readonly name: string;
  readonly code: Code;
  readonly action: DefaultAction;
  readonly remedy: string;
  readonly retryable: boolean;
}

const rules = new Map<ErrorReason, ErrorRule>(
  ErrorReasonSchema.values
    .filter((value) => value.number !== 0)
    .map((value) => {
      const rule = getOption(value, error_rule);
      const { action, remedy, retryable } = rule;
      return [value.number, { name: nameOf(value.name), code: codeOf(rule.grpcCode), action, remedy, retryable }];
    }),
);

function nameOf(valueName: string): string {
  return valueName.replace(/^ERROR_REASON_/, "").toLowerCase();
}

/** `INVALID_ARGUMENT` as connect's code. */
function codeOf(grpcCode: string): Code {
  const name = grpcCode.toLowerCase().replaceAll("_", "");
  const found = Object.entries(Code).find(([key]) => key.toLowerCase() === name);
  invariant(found !== undefined && typeof found[1] === "number", "the catalogue names gRPC codes", grpcCode);
  return found[1];
}

/** The catalogue's entry; one that this build does not know is a defect of the peer, hence internal. */
export function errorRule(reason: ErrorReason): ErrorRule {
  const rule = rules.get(reason) ?? rules.get(ErrorReason.RUNTIME_INTERNAL_ERROR);
  invariant(rule !== undefined, "the catalogue has an entry for defects");
  return rule;
}

/** One field that breaks its contract. */
export interface FieldProblem {
  readonly field: string;
  readonly rule: string;
  readonly message: string;
}

export interface RpcErrorInit {
  /** Service that refused, e.g. `registry`. */
  readonly domain: string;
  /** Named facts, 16 at most; never payload text, never a secret. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly violations?: readonly FieldProblem[];
  /** A narrower sentence than the catalogue's. */
  readonly remedy?: string;
  readonly retryAfterMs?: number;
  /** For the log of this process; never sent. */
  readonly cause?: unknown;
}

/** An operating error of the catalogue; its message is made of the detail alone, hence safe to show to the caller. */
export class RpcError extends Error {
  override readonly name = "RpcError";
  readonly detail: ErrorDetail;

  constructor(detail: ErrorDetail, cause?: unknown) {
    super(describeDetail(detail), cause === undefined ? undefined : { cause });
    this.detail = detail;
  }

  get reason(): ErrorReason {
    return this.detail.reason;
  }

  get code(): Code {
    return errorRule(this.detail.reason).code;
  }

  /** True when the same request may succeed later. */
  get retryable(): boolean {
    return errorRule(this.detail.reason).retryable;
  }
}

/** An error of the catalogue, within the contract's bounds. */
export function rpcError(reason: ErrorReason, init: RpcErrorInit): RpcError {
  const metadata = Object.entries(init.metadata ?? {}).slice(0, 16);
  const detail = create(ErrorDetailSchema, {
    reason,
    domain: init.domain.slice(0, 64),
    metadata: Object.fromEntries(metadata.map(([name, value]) => [name.slice(0, 64), value.slice(0, 256)])),
    violations: (init.violations ?? []).slice(0, 64).map(({ field, rule, message }) => ({
      field: field.slice(0, 256),
      rule: rule.slice(0, 128),
      message: message.slice(0, 512),
    })),
    remedy: (init.remedy ?? errorRule(reason).remedy).slice(0, 512),
    retryAfterMs: Math.min(3_600_000, Math.max(0, Math.round(init.retryAfterMs ?? 0))),
  });
  return new RpcError(detail, init.cause);
}

/** A method that a port does not have. */
export function noSuchRpc(domain: string): RpcError {
  const remedy =
    "Check the name and the port: reflection lists what a port serves; links and invocations have their own.";
  return rpcError(ErrorReason.NOT_FOUND, { domain, metadata: { what: "rpc" }, remedy });
}

/** A refusal of `libs/wire` as an error of `domain`. */
export function fromWireError(error: WireError, domain: string): RpcError {
  return new RpcError(toErrorDetail(error, domain));
}

/** One line for people: reason, fields, facts, remedy. */
export function describeDetail(detail: ErrorDetail): string {
  const fields = detail.violations.map((v) => `${v.field}: ${v.message} (${v.rule})`);
  const facts = Object.entries(detail.metadata).map(([name, value]) => `${name}=${value}`);
  const what = [...fields, ...facts].join("; ");
  return `${errorRule(detail.reason).name}${what === "" ? "" : `: ${what}`}. ${detail.remedy}`;
}

/** What a failure without a detail stands for, by its code; the closest entry of the catalogue. */
const reasonsByCode: ReadonlyMap<Code, ErrorReason> = new Map([
  [Code.Canceled, ErrorReason.DEADLINE_EXCEEDED],
  [Code.InvalidArgument, ErrorReason.MALFORMED_FRAME],
  [Code.DeadlineExceeded, ErrorReason.DEADLINE_EXCEEDED],
  [Code.NotFound, ErrorReason.NOT_FOUND],
  [Code.Unimplemented, ErrorReason.NOT_FOUND],
  [Code.AlreadyExists, ErrorReason.ALREADY_EXISTS],
  [Code.PermissionDenied, ErrorReason.PERMISSION_DENIED],
  [Code.ResourceExhausted, ErrorReason.MESSAGE_TOO_LARGE],
  [Code.FailedPrecondition, ErrorReason.OUT_OF_ORDER],
  [Code.Aborted, ErrorReason.VERSION_CONFLICT],
  [Code.Unavailable, ErrorReason.DEPENDENCY_UNAVAILABLE],
  [Code.Unauthenticated, ErrorReason.UNAUTHENTICATED],
]);

/** The error of a code that came without a detail. */
export function errorOfCode(code: Code, domain: string, cause?: unknown): RpcError {
  const reason = reasonsByCode.get(code) ?? ErrorReason.RUNTIME_INTERNAL_ERROR;
  return rpcError(reason, { domain, metadata: { grpc_code: Code[code] ?? "unknown" }, cause });
}

/**
 * Any failure as an error of the catalogue. What is no operating error becomes `runtime_internal_error` without a word of
 * its own; it stays in `cause` for this process's log. `incident` is repeated in log and answer.
 */
export function toRpcError(failure: unknown, domain: string, incident?: string): RpcError {
  if (failure instanceof RpcError) return failure;
  if (failure instanceof ConnectError) return fromConnectError(failure, domain);
  const metadata: Record<string, string> = incident === undefined ? {} : { incident };
  return rpcError(ErrorReason.RUNTIME_INTERNAL_ERROR, { domain, metadata, cause: failure });
}

/** The form a Connect server throws and answers with. */
export function toConnectError(error: RpcError): ConnectError {
  const { $typeName: _, $unknown: __, ...detail } = error.detail;
  return new ConnectError(error.message, error.code, undefined, [{ desc: ErrorDetailSchema, value: detail }], error);
}

/** What a client got, or what the library threw; `domain` is told where the peer gave no detail. */
export function fromConnectError(error: ConnectError, domain: string): RpcError {
  if (error.cause instanceof RpcError) return error.cause;
  const detail = error.findDetails(ErrorDetailSchema)[0];
  return detail === undefined ? errorOfCode(error.code, domain, error) : new RpcError(detail, error);
}
