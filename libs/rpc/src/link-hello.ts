/** The first message of each connection of a pair, both ways. */
import { create } from "@bufbuild/protobuf";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import {
  type LinkControlFrame,
  LinkControlFrameSchema,
  type LinkHello,
  LinkHelloSchema,
  LinkLimitsSchema,
} from "@rspp/gen/rspp/runtime/v1/link_pb";
import { limits as protocolLimits } from "@rspp/protocol/limits";
import { validate } from "@rspp/wire/validate";
import { fromWireError, rpcError } from "./errors.ts";
import { limits } from "./limits.ts";

export const LINK_PROTOCOL_VERSION = 1;

export interface HelloInit {
  readonly linkId: string;
  readonly incarnation: number;
  readonly peerId: string;
  readonly build: string;
}

export function makeHello(init: HelloInit): LinkHello {
  const { incarnation, ...rest } = init;
  return create(LinkHelloSchema, {
    ...rest,
    protocolVersion: LINK_PROTOCOL_VERSION,
    incarnation: BigInt(incarnation),
  });
}

/**
 * Checks the first message of a connection.
 * @throws RpcError `out_of_order` without a hello, `unsupported_schema_version` for another protocol.
 */
export function readHello(hello: LinkHello | undefined, domain: string): HelloInit {
  if (hello === undefined) {
    throw rpcError(ErrorReason.OUT_OF_ORDER, { domain, metadata: { expected: "hello" } });
  }
  const valid = validate(LinkHelloSchema, hello);
  if (!valid.ok) {
    const { error } = valid;
    const violations = error.violations.map((one) => ({ ...one, field: `hello.${one.field}` }));
    throw fromWireError({ ...error, violations }, domain);
  }
  if (hello.protocolVersion !== LINK_PROTOCOL_VERSION) {
    throw rpcError(ErrorReason.UNSUPPORTED_SCHEMA_VERSION, {
      domain,
      metadata: { min: String(LINK_PROTOCOL_VERSION), max: String(LINK_PROTOCOL_VERSION) },
    });
  }
  if (hello.incarnation > BigInt(Number.MAX_SAFE_INTEGER)) {
    const violations = [{ field: "hello.incarnation", rule: "uint64.safe", message: "is at most 2^53 - 1" }];
    throw rpcError(ErrorReason.SCHEMA_VALIDATION_ERROR, { domain, violations });
  }
  const { linkId, peerId, build } = hello;
  return { linkId, peerId, build, incarnation: Number(hello.incarnation) };
}

/** The bounds this end keeps, told right after its hello. */
export function limitsFrame(sessionsMax: number): LinkControlFrame {
  const value = create(LinkLimitsSchema, {
    maxSessions: sessionsMax,
    maxMessageBytes: limits.STREAM_MESSAGE_BYTES_MAX,
    unknownRefEvents: protocolLimits.LINK_UNKNOWN_REF_ITEMS_MAX,
    keepaliveMs: limits.LINK_PING_AFTER_MS,
  });
  return create(LinkControlFrameSchema, { frame: { case: "limits", value } });
}

/** A message after the first says no hello again. */
export function checkLater(hello: LinkHello | undefined, domain: string): void {
  if (hello === undefined) return;
  throw rpcError(ErrorReason.OUT_OF_ORDER, { domain, metadata: { unexpected: "hello" } });
}

/** What any message holds, the first one too. */
export function checkItems(field: "frames" | "events", items: readonly unknown[], domain: string): void {
  if (items.length <= limits.LINK_FRAMES_PER_MESSAGE_MAX) return;
  const message = `has at most ${limits.LINK_FRAMES_PER_MESSAGE_MAX} items`;
  const violations = [{ field, rule: "repeated.max_items", message }];
  throw rpcError(ErrorReason.SCHEMA_VALIDATION_ERROR, { domain, violations });
}
