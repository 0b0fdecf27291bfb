/** The one envelope (kernel.md §13): plain events <-> validated messages of the contract, by schema version. */
import { create } from "@bufbuild/protobuf";
import { err, ok, type Result } from "@rspp/base/result";
import { Scope } from "@rspp/gen/rspp/common/v1/lane_pb";
import { type Envelope, EnvelopeSchema, ExtensionSchema } from "@rspp/gen/rspp/event/v1/event_pb";
import { LANE_NAMES } from "@rspp/kernel/event";
import { handlingNames, laneNames, payloadClassNames } from "./names.ts";
import { isCount, mediaTimeFromWire, mediaTimeToWire, safeNumber } from "./numbers.ts";
import { payloadFromWire, payloadToWire } from "./payload.ts";
import { factsFromExtension, factsToExtension, RESERVED_NAMESPACE, SIGNAL_FACTS_NAMESPACE } from "./signal-facts.ts";
import { validate } from "./validate.ts";
import { readableBy } from "./version-window.ts";
import { refuseField, type WireError, wireError } from "./wire-error.ts";
import {
  type EventConstants,
  type EventInit,
  type HandlingName,
  PAYLOAD_CLASS,
  PAYLOAD_LANE,
  type PayloadClassName,
  turnIdOf,
  type WireEvent,
  type WireExtension,
  type WireMediaTime,
} from "./wire-event.ts";

/** The newest version of the event schema that this build knows, which it writes; it reads the one before it too. */
export const SCHEMA_VERSION_MAX = 1;

/** Null when a build of `newest` reads the version, else what to do (F-021, NF-032). */
export function checkSchemaVersion(version: number, newest = SCHEMA_VERSION_MAX): WireError | null {
  const { min, max } = readableBy(newest);
  if (version >= min && version <= max) return null;
  const metadata = { found: String(version), supported_min: String(min), supported_max: String(max) };
  const remedy =
    version > max
      ? `Upgrade this receiver to a build that reads schema_version ${version}, or have the sender write ${max}.`
      : `Have the sender write schema_version ${min} to ${max}.`;
  return wireError("unsupported_schema_version", metadata, [], remedy);
}

/**
 * An event in full from a session's constants and what varies. Refuses what breaks the contract, naming the field; what
 * it returns is valid. Bytes of the payload are shared, not copied.
 */
export function toEnvelope(constants: EventConstants, init: EventInit): Result<Envelope, WireError> {
  const problem = checkInit(constants, init);
  if (problem !== null) return err(problem);
  const turn = init.turn ?? 0;
  const payload = payloadToWire(init.payload, turn);
  if (!payload.ok) return payload;
  const facts = factsToExtension(payload.value.facts);
  if (!facts.ok) return facts;
  const kind = init.payload.kind;
  const message = create(EnvelopeSchema, {
    schemaVersion: SCHEMA_VERSION_MAX,
    lane: laneNames.number(init.lane ?? PAYLOAD_LANE[kind]) ?? 0,
    scope: turn === 0 ? Scope.SESSION : Scope.TURN,
    runtimeSequence: BigInt(init.runtimeSequence ?? 0),
    transportSequence: BigInt(init.transportSequence ?? 0),
    authorityEpoch: BigInt(constants.epoch),
    turnNumber: turn,
    fenceGeneration: init.generation ?? 0,
    payload: payload.value.payload,
    tenantId: constants.tenant,
    sessionId: constants.session,
    turnId: init.turnId ?? turnIdOf(turn),
    pipelineVersion: constants.pipelineVersion,
    eventId: init.eventId,
    monotonicNs: BigInt(init.monoNs ?? 0),
    wallMs: BigInt(init.wallMs ?? 0),
    payloadClass: payloadClassNames.number(init.payloadClass ?? PAYLOAD_CLASS[kind]) ?? 0,
    payloadHandling: handlingNames.number(init.handling ?? "allow") ?? 0,
    lateAfterCancel: init.lateAfterCancel ?? false,
    extensions: extensionsToWire(init.extensions ?? {}, facts.value),
  });
  setLabels(message, init);
  return validate(EnvelopeSchema, message);
}

/** What would otherwise throw on its way into a 64-bit field, or be lost. */
function checkInit(constants: EventConstants, init: EventInit): WireError | null {
  const numbers: readonly (readonly [string, number])[] = [
    ["authority_epoch", constants.epoch],
    ["runtime_sequence", init.runtimeSequence ?? 0],
    ["transport_sequence", init.transportSequence ?? 0],
    ["monotonic_ns", init.monoNs ?? 0],
    ["wall_ms", init.wallMs ?? 0],
    ["media_time", init.mediaTime === undefined || init.mediaTime === null ? 0 : mediaNumber(init.mediaTime)],
  ];
  for (const [field, value] of numbers) {
    if (!isCount(value)) {
      const refusal = refuseField(field, "uint64.safe", "must be a whole number from 0 to 2^53 - 1", `mend ${field}`);
      return refusal.error;
    }
  }
  for (const namespace of Object.keys(init.extensions ?? {})) {
    if (namespace.startsWith(RESERVED_NAMESPACE)) return reservedNamespace(namespace);
  }
  return null;
}

function mediaNumber(time: WireMediaTime): number {
  return time.kind === "pts" ? time.us : time.index;
}

function reservedNamespace(namespace: string): WireError {
  return refuseField(
    `extensions["${namespace.slice(0, 64)}"]`,
    "extension.reserved",
    `namespaces that begin with ${RESERVED_NAMESPACE} are the platform's own`,
    "use a namespace of your own, e.g. acme.crm",
  ).error;
}

function extensionsToWire(
  extensions: Readonly<Record<string, WireExtension>>,
  facts: WireExtension | null,
): Envelope["extensions"] {
  const out: Envelope["extensions"] = {};
  for (const [namespace, { contentType, data }] of Object.entries(extensions)) {
    // Plain assignment would set the prototype; a bad name must reach validation.
    Object.defineProperty(out, namespace, {
      value: create(ExtensionSchema, { contentType, data }),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  if (facts !== null) out[SIGNAL_FACTS_NAMESPACE] = create(ExtensionSchema, facts);
  return out;
}

function setLabels(message: Envelope, init: EventInit): void {
  if (init.nodeId !== undefined) message.nodeId = init.nodeId;
  if (init.edgeId !== undefined) message.edgeId = init.edgeId;
  if (init.causalParentId !== undefined) message.causalParentId = init.causalParentId;
  if (init.idempotencyKey !== undefined) message.idempotencyKey = init.idempotencyKey;
  if (init.providerInvocationId !== undefined) message.providerInvocationId = init.providerInvocationId;
  if (init.mediaTime !== undefined && init.mediaTime !== null) message.mediaTime = mediaTimeToWire(init.mediaTime);
  if (init.syncId !== undefined) message.syncId = init.syncId;
  if (init.syncDomain !== undefined) message.syncDomain = init.syncDomain;
  if (init.discontinuityId !== undefined) message.discontinuityId = init.discontinuityId;
  if (init.mergeGroupId !== undefined) message.mergeGroupId = init.mergeGroupId;
  if (init.mergedFromEventIds !== undefined) message.mergedFromEventIds = [...init.mergedFromEventIds];
}

/** Validates an envelope and decodes it by its schema version. */
export function eventOf(message: Envelope): Result<WireEvent, WireError> {
  const version = checkSchemaVersion(message.schemaVersion);
  if (version !== null) return err(version);
  const valid = validate(EnvelopeSchema, message);
  return valid.ok ? eventOfValid(message) : valid;
}

/** Decodes an envelope whose bounds were checked; control signals and numbers are checked here all the same. */
export function eventOfValid(message: Envelope): Result<WireEvent, WireError> {
  const extensions = extensionsFromWire(message);
  if (!extensions.ok) return extensions;
  const facts = factsFromExtension(message.extensions[SIGNAL_FACTS_NAMESPACE]);
  if (!facts.ok) return facts;
  const payload = payloadFromWire(message.payload, message.turnNumber, facts.value);
  if (!payload.ok) return payload;
  const numbers = numbersOf(message);
  if (!numbers.ok) return numbers;
  const lane = laneNames.name(message.lane);
  return ok({
    schemaVersion: message.schemaVersion,
    tenant: message.tenantId,
    session: message.sessionId,
    pipelineVersion: message.pipelineVersion,
    lane: LANE_NAMES.find((name) => name === lane) ?? "data",
    turn: message.turnNumber,
    turnId: message.turnId,
    generation: message.fenceGeneration,
    ...numbers.value,
    eventId: message.eventId,
    nodeId: message.nodeId,
    edgeId: message.edgeId,
    causalParentId: message.causalParentId,
    idempotencyKey: message.idempotencyKey,
    providerInvocationId: message.providerInvocationId,
    syncId: message.syncId,
    syncDomain: message.syncDomain,
    discontinuityId: message.discontinuityId,
    mergeGroupId: message.mergeGroupId,
    mergedFromEventIds: message.mergedFromEventIds,
    lateAfterCancel: message.lateAfterCancel,
    payloadClass: payloadClassNames.name(message.payloadClass) as PayloadClassName,
    handling: handlingNames.name(message.payloadHandling) as HandlingName,
    extensions: extensions.value,
    payload: payload.value,
  });
}

type Numbers = Pick<WireEvent, "epoch" | "runtimeSequence" | "transportSequence" | "monoNs" | "wallMs" | "mediaTime">;

function numbersOf(message: Envelope): Result<Numbers, WireError> {
  const epoch = safeNumber(message.authorityEpoch);
  const runtimeSequence = safeNumber(message.runtimeSequence);
  const transportSequence = safeNumber(message.transportSequence);
  const monoNs = safeNumber(message.monotonicNs);
  const wallMs = safeNumber(message.wallMs);
  if (epoch === null) return tooLarge("authority_epoch");
  if (runtimeSequence === null) return tooLarge("runtime_sequence");
  if (transportSequence === null) return tooLarge("transport_sequence");
  if (monoNs === null) return tooLarge("monotonic_ns");
  if (wallMs === null) return tooLarge("wall_ms");
  if (message.mediaTime === undefined) {
    return ok({ epoch, runtimeSequence, transportSequence, monoNs, wallMs, mediaTime: null });
  }
  const mediaTime = mediaTimeFromWire(message.mediaTime);
  if (mediaTime === null) {
    return refuseField(
      "media_time",
      "media_time.exact",
      "is past 2^53 - 1, or its rate does not fit its form",
      "send sample_index with its rate, or pts_us without one",
    );
  }
  return ok({ epoch, runtimeSequence, transportSequence, monoNs, wallMs, mediaTime });
}

function tooLarge(field: string): { readonly ok: false; readonly error: WireError } {
  return refuseField(field, "uint64.safe", "is past 2^53 - 1, the largest number compared exactly", `mend ${field}`);
}

function extensionsFromWire(message: Envelope): Result<Record<string, WireExtension>, WireError> {
  const out: Record<string, WireExtension> = {};
  for (const [namespace, { contentType, data }] of Object.entries(message.extensions)) {
    const facts = namespace === SIGNAL_FACTS_NAMESPACE && message.payload.case === "control";
    if (facts) continue;
    if (namespace.startsWith(RESERVED_NAMESPACE)) return err(reservedNamespace(namespace));
    out[namespace] = { contentType, data };
  }
  return ok(out);
}
