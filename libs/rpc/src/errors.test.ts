import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorDetailSchema, ErrorReason, ErrorReasonSchema } from "@rspp/gen/rspp/common/v1/error_pb";
import { fieldError } from "@rspp/wire/wire-error";
import { describe, expect, test } from "vitest";
import {
  errorRule,
  fromConnectError,
  fromWireError,
  type RpcError,
  rpcError,
  toConnectError,
  toRpcError,
} from "./errors.ts";
import { fromGrpcStatus, toGrpcStatus } from "./grpc-status.ts";

const reasons = ErrorReasonSchema.values.map((v) => v.number as ErrorReason).filter((n) => n !== 0);

/** A detail as its bytes, without its name on the class. */
function bytes(error: RpcError): Uint8Array {
  return toBinary(ErrorDetailSchema, error.detail);
}

describe("F-131 the catalogue on both stacks", () => {
  test.each(reasons)("reason %d keeps code, facts and remedy over Connect and grpc-js", (reason) => {
    const error = rpcError(reason, {
      domain: "registry",
      metadata: { limit: "4" },
      violations: [{ field: "spec.name", rule: "string.min_len", message: "is empty" }],
      retryAfterMs: 250,
    });
    expect(error.code).toBeGreaterThan(0);
    expect(error.detail.remedy).not.toBe("");
    const connect = toConnectError(error);
    expect(connect.code).toBe(error.code);
    expect(bytes(fromConnectError(connect, "client"))).toEqual(bytes(error));
    const status = toGrpcStatus(error);
    expect(status.code).toBe(error.code);
    expect(bytes(fromGrpcStatus(status, "client"))).toEqual(bytes(error));
  });

  test("codes are those of the contract", () => {
    expect(errorRule(ErrorReason.SCHEMA_VALIDATION_ERROR).code).toBe(Code.InvalidArgument);
    expect(errorRule(ErrorReason.TOKEN_EXPIRED).code).toBe(Code.Unauthenticated);
    expect(errorRule(ErrorReason.CHAIN_BROKEN).code).toBe(Code.DataLoss);
    expect(errorRule(ErrorReason.DRAINING).retryable).toBe(true);
    expect(errorRule(ErrorReason.TOKEN_EXPIRED).name).toBe("token_expired");
  });

  test("a refusal of the wire names field and remedy", () => {
    const error = fromWireError(fieldError("a.b", "uint32.lte", "is at most 4", "lower a.b"), "registry");
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.message).toContain("a.b: is at most 4; lower a.b");
  });
});

describe("what is no operating error", () => {
  test("says nothing of itself, and is kept for the log", () => {
    const failure = new Error("postgres://rspp:hunter2@db failed");
    const error = toRpcError(failure, "lease", "i-1");
    expect(error.reason).toBe(ErrorReason.RUNTIME_INTERNAL_ERROR);
    expect(error.message).not.toContain("hunter2");
    expect(JSON.stringify(toGrpcStatus(error))).not.toContain("hunter2");
    expect(error.detail.metadata).toEqual({ incident: "i-1" });
    expect(error.cause).toBe(failure);
  });

  test("a failure without a detail is known by its code", () => {
    const cases: [Code, ErrorReason][] = [
      [Code.Unavailable, ErrorReason.DEPENDENCY_UNAVAILABLE],
      [Code.DeadlineExceeded, ErrorReason.DEADLINE_EXCEEDED],
      [Code.InvalidArgument, ErrorReason.MALFORMED_FRAME],
      [Code.Unknown, ErrorReason.RUNTIME_INTERNAL_ERROR],
    ];
    for (const [code, reason] of cases) {
      expect(toRpcError(new ConnectError("secret text", code), "x").reason).toBe(reason);
      expect(toRpcError(new ConnectError("secret text", code), "x").message).not.toContain("secret text");
      expect(fromGrpcStatus({ code: code as number, details: "secret text" }, "x").reason).toBe(reason);
    }
    expect(fromGrpcStatus({ code: 99 as never }, "x").reason).toBe(ErrorReason.RUNTIME_INTERNAL_ERROR);
  });

  test("a detail is cut to the contract's bounds", () => {
    const many = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`k${i}`, "v".repeat(1000)]));
    const { detail } = rpcError(ErrorReason.NOT_FOUND, { domain: "d".repeat(100), metadata: many, retryAfterMs: 1e12 });
    expect(Object.keys(detail.metadata).length).toBe(16);
    expect(detail.metadata.k0?.length).toBe(256);
    expect(detail.domain.length).toBe(64);
    expect(detail.retryAfterMs).toBe(3_600_000);
    expect(fromBinary(ErrorDetailSchema, toBinary(ErrorDetailSchema, detail))).toEqual(
      create(ErrorDetailSchema, detail),
    );
  });
});
