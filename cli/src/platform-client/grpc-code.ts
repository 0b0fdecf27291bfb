import { getOption } from "@bufbuild/protobuf";
import { type ErrorReason, ErrorReasonSchema, error_rule } from "@rspp/gen/rspp/common/v1/error_pb";

/** The gRPC code the catalogue gives a reason, e.g. `INVALID_ARGUMENT`; "" for one this build does not know. */
export function grpcCodeOf(reason: ErrorReason): string {
  const value = ErrorReasonSchema.values.find(({ number }) => number === reason);
  return value === undefined || value.number === 0 ? "" : getOption(value, error_rule).grpcCode;
}
