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
import { spokenBetween } from "@rspp/wire/version-window";
import { fromWireError, rpcError } from "./errors.ts";
import { limits } from "./limits.ts";

/** The newest that this build speaks; it speaks the one before it too, with a peer that knows no newer (NF-032). */
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

export interface PeerHello extends HelloInit {
  /** What both ends speak: the older one's newest. */
  readonly version: number;
}

/**
 * Checks the first message of a connection. Both ends tell their newest version and speak the older one's.
 * @param mine newest version of this end.
 * @throws RpcError `out_of_order` without a hello, `unsupported_schema_version` for a version two or more away.
 */
export function readHello(hello: LinkHello | undefined, domain: string, mine = LINK_PROTOCOL_VERSION): PeerHello {
  if (hello === undefined) {
    throw rpcError(ErrorReason.OUT_OF_ORDER, { domain, metadata: { expected: "hello" } });
  }
  const valid = validate(LinkHelloSchema, hello);
  if (!valid.ok) {
    const { error } = valid;
    const violations = error.violations.map((one) => ({ ...one, field: `hello.${one.field}` }));
    throw fromWireError({ ...error, violations }, domain);
  }
  const version = spokenBetween(mine, hello.protocolVersion);
  if (version === null) {
    const found = String(hello.protocolVersion);
    const metadata = { found, min: String(Math.max(1, mine - 1)), max: String(mine + 1) };
    throw rpcError(ErrorReason.UNSUPPORTED_SCHEMA_VERSION, { domain, metadata });
  }
  if (hello.incarnation > BigInt(Number.MAX_SAFE_INTEGER)) {
    const violations = [{ field: "hello.incarnation", rule: "uint64.safe", message: "is at most 2^53 - 1" }];
    throw rpcError(ErrorReason.SCHEMA_VALIDATION_ERROR, { domain, violations });
  }
  const { linkId, peerId, build } = hello;
  return { linkId, peerId, build, incarnation: Number(hello.incarnation), version };
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
