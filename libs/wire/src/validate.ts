/** Protovalidate behind a result: field path, rule and what to do; never throws on what comes from outside. */
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import type { Validator, Violation } from "@bufbuild/protovalidate";
import { invariant } from "@rspp/base/invariant";
import { err, ok, type Result } from "@rspp/base/result";
import { late } from "./late.ts";
import { quickCheck } from "./quick-check.ts";
import { type WireError, type WireViolation, wireError } from "./wire-error.ts";

// Planning the rules of a schema costs milliseconds; the validator keeps what it planned, by schema.
let shared: Validator | undefined;
// Most processes never meet a message that breaks its contract, and loading it takes a tenth of their start.
const protovalidate = late<typeof import("@bufbuild/protovalidate")>(() =>
  import.meta.resolve("@bufbuild/protovalidate"),
);

/** So that the first message that breaks its contract does not wait for it. */
export function loadValidator(): Promise<unknown> {
  return import("@bufbuild/protovalidate");
}

function validator(): Validator {
  shared ??= protovalidate().createValidator();
  return shared;
}

/**
 * Checks `message` against every rule of its schema.
 *
 * @throws InvariantError when a rule of the contract itself is broken: a defect of the build, never of the message.
 */
export function validate<D extends DescMessage>(
  schema: D,
  message: MessageShape<D>,
): Result<MessageShape<D>, WireError> {
  if (quickCheck(schema, message)) return ok(message);
  const result = validator().validate(schema, message);
  if (result.kind === "valid") return ok(message);
  if (result.kind === "invalid") {
    return err(wireError("schema_validation_error", { message: schema.typeName }, result.violations.map(violation)));
  }
  // An enum number outside int32 or a value of another type cannot be read by a rule: the message is at fault.
  invariant(result.error.name === "RuntimeError", "the rules of a contract compile", {
    schema: schema.typeName,
    error: result.error.message,
  });
  return err(wireError("malformed_frame", { message: schema.typeName }));
}

function violation(v: Violation): WireViolation {
  const path = pathToString(v.field);
  // A rule over several fields has no path of its own: its id names it.
  const field = path === "" ? v.ruleId : path;
  return { field, rule: v.ruleId, message: v.message, remedy: remedyOf(v.ruleId, field) };
}

function remedyOf(rule: string, field: string): string {
  const kind = rule.slice(rule.lastIndexOf(".") + 1);
  switch (kind) {
    case "required":
    case "min_len":
    case "min_items":
      return `set ${field}`;
    case "max_len":
    case "max_items":
    case "max_pairs":
      return `shorten ${field}`;
    case "defined_only":
    case "not_in":
      return `use a value of the enum for ${field}, not zero`;
    case "pattern":
      return `write ${field} in the form of the contract`;
    default:
      return `bring ${field} within the bounds of the contract`;
  }
}
