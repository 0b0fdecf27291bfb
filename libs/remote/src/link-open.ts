/** Opening a session on a link, and going on with one: the first messages of a binding, and what is wrong with them. */
import { create, fromBinary, type JsonObject, type JsonValue, type MessageInitShape } from "@bufbuild/protobuf";
import { err, ok, type Result } from "@rspp/base/result";
import type { ErrorDetail, ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { Lane } from "@rspp/gen/rspp/common/v1/lane_pb";
import { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import { type Grant, GrantSchema, type SignedGrant } from "@rspp/gen/rspp/lease/v1/lease_pb";
import {
  type HandoverSession,
  HandoverSessionSchema,
  type OpenSession,
  OpenSessionSchema,
  type ReattachResult,
  ReattachResultSchema,
  type ReattachSession,
  ReattachSessionSchema,
  SessionOpenedSchema,
  type TakeoverResult,
  TakeoverResultSchema,
  type TakeoverSession,
  TakeoverSessionSchema,
  TakeoverState,
} from "@rspp/gen/rspp/runtime/v1/link_pb";
import type { AudioFormat } from "@rspp/ports/provider";
import { errorRule, rpcError } from "@rspp/rpc/errors";
import type { SessionConstants } from "@rspp/rpc/link-api";
import type { PositionedMessage } from "@rspp/wire/link-control";
import { formatFromWire, formatToWire } from "@rspp/wire/payload";
import { validate } from "@rspp/wire/validate";
import type { LinkItem } from "./link-codec.ts";
import { limits } from "./link-limits.ts";
import type { HandoverAsk, TakenOver } from "./link-session-types.ts";

export interface OpenInit {
  readonly token: string;
  readonly grant: SignedGrant;
  readonly variables: Readonly<Record<string, string>>;
  readonly outputFormat: AudioFormat;
  /** W3C trace context; of its spans the session's become children. */
  readonly traceparent?: string;
  readonly reattach?: ReattachInit;
  readonly takeover?: MessageInitShape<typeof TakeoverSessionSchema>;
}

/** Where the adapter's side of a session stands that lost its pair. */
export interface ReattachInit {
  readonly knownEpoch: number;
  /** 0: none. */
  readonly openTurn: number;
  readonly openGeneration: number;
  readonly openPlayedUs: number;
  /** Numbers of the last control message and audio frame that were to be sent. */
  readonly sentControl: number;
  readonly sentAudio: number;
  readonly resendAvailableMs: number;
}

export function openItem(init: OpenInit): LinkItem {
  const format = formatToWire(init.outputFormat);
  const variables = structOf(init.variables);
  const value = create(OpenSessionSchema, {
    token: new TextEncoder().encode(init.token),
    grant: init.grant,
    traceparent: init.traceparent ?? "",
    ...(variables === null ? {} : { variables }),
    ...(format.ok ? { outputFormat: format.value } : {}),
    ...(init.reattach === undefined ? {} : { reattach: reattachOf(init.reattach) }),
    ...(init.takeover === undefined ? {} : { takeover: create(TakeoverSessionSchema, init.takeover) }),
  });
  return positioned({ case: "open", value });
}

function reattachOf(r: ReattachInit): ReattachSession {
  return create(ReattachSessionSchema, {
    knownEpoch: BigInt(r.knownEpoch),
    openTurnNumber: r.openTurn,
    openTurnGeneration: r.openGeneration,
    openTurnPlayedUs: BigInt(r.openPlayedUs),
    sent: marks(r.sentControl, r.sentAudio),
    resendAvailableMs: Math.min(30_000, Math.round(r.resendAvailableMs)),
  });
}

export interface Reattached {
  /** Number of the last control message acted on, all before it included. */
  readonly control: number;
  /** Number of the last audio frame taken. */
  readonly audio: number;
  readonly turnContinues: boolean;
}

/** @param reconnectMs how long the session waits for a caller or a pair; undefined: not said. */
export function openedItem(
  grant: SignedGrant,
  reattached: Reattached | null,
  reconnectMs?: number,
  taken?: TakenOver,
): LinkItem {
  const value = create(SessionOpenedSchema, { grant });
  if (taken !== undefined) value.takeover = takenToWire(taken);
  if (reconnectMs !== undefined) {
    value.reconnectMs = Math.min(limits.LINK_RECONNECT_SAID_MS_MAX, Math.max(0, Math.round(reconnectMs)));
  }
  if (reattached !== null) {
    const { control, audio, turnContinues } = reattached;
    value.reattached = create(ReattachResultSchema, { durable: marks(control, audio), turnContinues });
  }
  return positioned({ case: "opened", value });
}

const takenStates = {
  found: TakeoverState.FOUND,
  missing: TakeoverState.MISSING,
  unreachable: TakeoverState.UNREACHABLE,
} as const;

function takenToWire({ state, stateVersion, audioThrough, controlThrough, closedTurn }: TakenOver) {
  const marks = { audioThrough: BigInt(audioThrough), controlThrough: BigInt(controlThrough) };
  const numbers = { stateVersion: BigInt(stateVersion), ...marks };
  return create(TakeoverResultSchema, { state: takenStates[state], closedTurnNumber: closedTurn, ...numbers });
}

export function takenOf(result: TakeoverResult): TakenOver {
  const { state, stateVersion, audioThrough, controlThrough, closedTurnNumber } = result;
  const found = state === TakeoverState.FOUND ? "found" : state === TakeoverState.MISSING ? "missing" : "unreachable";
  const marks = { audioThrough: Number(audioThrough), controlThrough: Number(controlThrough) };
  return { state: found, closedTurn: closedTurnNumber, stateVersion: Number(stateVersion), ...marks };
}

const handoverReasons = { draining: Reason.DRAINING, migration: Reason.MIGRATION } as const;

export function handoverItem({ reason, target, stateVersion, deadlineMs }: HandoverAsk): LinkItem {
  const about = { reason: handoverReasons[reason], targetInstance: target, stateVersion: BigInt(stateVersion) };
  const ms = Math.min(limits.LINK_RECONNECT_SAID_MS_MAX, Math.max(0, Math.round(deadlineMs)));
  return positioned({ case: "handover", value: create(HandoverSessionSchema, { ...about, deadlineMs: ms }) });
}

export function handoverOf({ reason, targetInstance, stateVersion, deadlineMs }: HandoverSession): HandoverAsk {
  const why = reason === Reason.DRAINING ? "draining" : "migration";
  return { reason: why, target: targetInstance, stateVersion: Number(stateVersion), deadlineMs };
}

export function reattachedOf(result: ReattachResult): Reattached {
  const mark = (lane: Lane): number => Number(result.durable.find((m) => m.lane === lane)?.sequence ?? 0n);
  return { control: mark(Lane.CONTROL), audio: mark(Lane.DATA), turnContinues: result.turnContinues };
}

function marks(control: number, audio: number) {
  return [
    { lane: Lane.CONTROL, sequence: BigInt(control) },
    { lane: Lane.DATA, sequence: BigInt(audio) },
  ];
}

function positioned(message: PositionedMessage): LinkItem {
  return {
    kind: "control",
    payload: { kind: "positioned", message },
    how: { class: "positioned", afterMedia: false },
  };
}

function structOf(variables: Readonly<Record<string, string>>): JsonObject | null {
  const entries = Object.entries(variables);
  return entries.length === 0 ? null : Object.fromEntries(entries.map(([name, json]) => [name, jsonOf(json)]));
}

function jsonOf(json: string): JsonValue {
  try {
    return JSON.parse(json);
  } catch {
    return json;
  }
}

/** What is wrong with an opening, as the adapter is told it. */
export function openProblem(
  reason: ErrorReason,
  domain: string,
  field: string,
  message: string,
  remedy: string = errorRule(reason).remedy,
): ErrorDetail {
  return rpcError(reason, { domain, violations: [{ field, rule: "session.open", message }], remedy }).detail;
}

/** What an opening asks for; the grant must be there and readable. */
export interface OpenAsk {
  readonly token: string;
  readonly signed: SignedGrant;
  readonly grant: Grant;
  readonly variables: Readonly<Record<string, string>>;
  readonly outputFormat: AudioFormat | null;
  /** "" for none. */
  readonly traceparent: string;
  readonly reattach: ReattachSession | null;
  readonly takeover: TakeoverSession | null;
}

export function readOpen(message: OpenSession): Result<OpenAsk, { field: string; message: string }> {
  const signed = message.grant;
  if (signed === undefined) return err({ field: "open.grant", message: "is missing" });
  const grant = readGrant(signed);
  if (grant === null) return err({ field: "open.grant.grant", message: "is no Grant of the contract" });
  return ok({
    token: Buffer.from(message.token).toString("utf8"),
    signed,
    grant,
    variables: Object.fromEntries(
      Object.entries(message.variables ?? {}).map(([name, value]) => [name, JSON.stringify(value)]),
    ),
    outputFormat: message.outputFormat === undefined ? null : (formatFromWire(message.outputFormat) as AudioFormat),
    traceparent: message.traceparent,
    reattach: message.reattach ?? null,
    takeover: message.takeover ?? null,
  });
}

/** What a grant says, signature unchecked; null when its bytes are no grant. */
export function readGrant(signed: SignedGrant): Grant | null {
  try {
    const grant = fromBinary(GrantSchema, signed.grant);
    return validate(GrantSchema, grant).ok ? grant : null;
  } catch {
    return null;
  }
}

/** The first constant of the binding that the grant contradicts. */
export function grantMismatch(grant: Grant, bound: SessionConstants): { field: string; message: string } | null {
  if (grant.session?.tenantId !== bound.tenant) {
    return { field: "open.grant.session.tenant_id", message: "is not the bound session's" };
  }
  if (grant.session.sessionId !== bound.session) {
    return { field: "open.grant.session.session_id", message: "is not the bound session's" };
  }
  return null;
}
