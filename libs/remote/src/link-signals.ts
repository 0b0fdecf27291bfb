/** What the two ends of a session say to one another in signals of their own, under the namespace `link.`. */
import { create } from "@bufbuild/protobuf";
import { Lane, Scope } from "@rspp/gen/rspp/common/v1/lane_pb";
import { ControlSchema, ControlSignal } from "@rspp/gen/rspp/event/v1/control_pb";
import { SignalEmitter, SignalScope } from "@rspp/gen/rspp/event/v1/control_rule_pb";
import { type Envelope, EnvelopeSchema, PayloadClass, PayloadHandling } from "@rspp/gen/rspp/event/v1/event_pb";
import type { SessionNote } from "@rspp/ports/session-opener";
import { SCHEMA_VERSION_MAX } from "@rspp/wire/envelope";
import type { LinkCodec, LinkItem } from "./link-codec.ts";

/** Fields the link itself speaks in; no client may. */
export const LINK_NAMESPACE = "link.";
const OBSERVE = `${LINK_NAMESPACE}observe`;
const RECONNECT = `${LINK_NAMESPACE}reconnect_ms`;

/** Asks the runtime for what observers at the adapter want; nothing ends it. */
export function observeItem(codec: LinkCodec, kinds: readonly SessionNote["kind"][]): LinkItem {
  return signalItem(codec, OBSERVE, kinds.length === 0 ? "none" : kinds.join(" "));
}

/** Tells the adapter how long the session waits for a caller who is cut off. */
export function reconnectItem(codec: LinkCodec, ms: number): LinkItem {
  return signalItem(codec, RECONNECT, String(Math.max(0, Math.round(ms))));
}

const kinds: readonly SessionNote["kind"][] = ["metrics", "debug", "error"];

/** The kinds an adapter wants; null for another event. */
export function observedOf(envelope: Envelope): SessionNote["kind"][] | null {
  const names = fieldOf(envelope, OBSERVE)?.split(" ");
  return names === undefined ? null : kinds.filter((kind) => names.includes(kind));
}

/** Milliseconds; null for another event. */
export function reconnectOf(envelope: Envelope): number | null {
  const ms = Number(fieldOf(envelope, RECONNECT) ?? Number.NaN);
  return Number.isSafeInteger(ms) && ms >= 0 ? ms : null;
}

function fieldOf({ payload }: Envelope, name: string): string | undefined {
  if (payload.case !== "control" || payload.value.signal !== ControlSignal.TRANSPORT_SIGNAL) return undefined;
  return Object.hasOwn(payload.value.transportFields, name) ? payload.value.transportFields[name] : undefined;
}

function signalItem(codec: LinkCodec, name: string, value: string): LinkItem {
  const { constants } = codec;
  const control = create(ControlSchema, {
    signal: ControlSignal.TRANSPORT_SIGNAL,
    emitter: SignalEmitter.ADAPTER,
    scope: SignalScope.SESSION,
    transportFields: { [name]: value },
  });
  const envelope = create(EnvelopeSchema, {
    schemaVersion: SCHEMA_VERSION_MAX,
    lane: Lane.CONTROL,
    scope: Scope.SESSION,
    authorityEpoch: codec.epoch,
    tenantId: constants.tenant,
    sessionId: constants.session,
    pipelineVersion: constants.pipelineVersion,
    eventId: name,
    wallMs: BigInt(codec.wallMs()),
    payloadClass: PayloadClass.METADATA,
    payloadHandling: PayloadHandling.ALLOW,
    payload: { case: "control", value: control },
  });
  return {
    kind: "control",
    payload: { kind: "event", envelope },
    how: { class: "positioned", afterMedia: false },
  };
}
