/** The fields of an envelope that are rarely set, and those that usually follow from others, in the short form. */
import { create } from "@bufbuild/protobuf";
import type { Envelope } from "@rspp/gen/rspp/event/v1/event_pb";
import { type MediaTime, MediaTimeSchema } from "@rspp/gen/rspp/event/v1/media_time_pb";
import { type LinkEventDetails, LinkEventDetailsSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";
import type { Binding } from "./binding.ts";
import { handlingNames, payloadClassNames } from "./names.ts";
import { PAYLOAD_CLASS, type PayloadKind, turnIdOf } from "./wire-event.ts";

export interface ShortDetails {
  /** Microseconds since the binding's base; 0 where the wall time is among the rare fields. */
  elapsedUs: number;
  /** 0 where the event id is among the rare fields. */
  eventNumber: number;
  /** Null where there is no media time, or it is among the rare fields. */
  mediaSample: number | null;
  /** Null when nothing rare is set. */
  rare: LinkEventDetails | null;
}

const allow = handlingNames.number("allow") ?? 0;
const uint32Max = 0xffff_ffff;

/** What of `e` does not follow from its binding. */
export function detailsFor(binding: Binding, e: Envelope, prefix: string): ShortDetails {
  const rare = create(LinkEventDetailsSchema);
  let used = copyLabels(rare, e);
  const eventNumber = numberOf(e.eventId, prefix);
  if (eventNumber === 0) {
    rare.eventId = e.eventId;
    used = true;
  }
  const elapsedMs = e.wallMs - BigInt(binding.baseWallMs);
  const near = elapsedMs >= 0n && elapsedMs <= elapsedMsMax;
  if (!near) {
    rare.wallMs = e.wallMs;
    used = true;
  }
  if (e.turnId !== turnIdOf(e.turnNumber)) {
    rare.turnId = e.turnId;
    used = true;
  }
  if (e.monotonicNs !== 0n) {
    rare.monotonicNs = e.monotonicNs;
    used = true;
  }
  if (e.payloadHandling !== allow) {
    rare.payloadHandling = e.payloadHandling;
    used = true;
  }
  if (e.payloadClass !== usualClass(e)) {
    rare.payloadClass = e.payloadClass;
    used = true;
  }
  const mediaSample = sampleOf(e.mediaTime, binding);
  if (e.mediaTime !== undefined && mediaSample === null) {
    setMediaTime(rare, e.mediaTime);
    used = true;
  }
  return { elapsedUs: near ? Number(elapsedMs) * 1000 : 0, eventNumber, mediaSample, rare: used ? rare : null };
}

/** A century; what is further has left exact arithmetic in microseconds. */
const elapsedMsMax = 3_155_760_000_000n;

const labels = [
  "nodeId",
  "edgeId",
  "causalParentId",
  "idempotencyKey",
  "providerInvocationId",
  "syncId",
  "syncDomain",
  "discontinuityId",
  "mergeGroupId",
] as const satisfies readonly (keyof Envelope & keyof LinkEventDetails)[];

function copyLabels(rare: LinkEventDetails, e: Envelope): boolean {
  let used = false;
  for (const name of labels) {
    if (e[name] === "") continue;
    rare[name] = e[name];
    used = true;
  }
  if (e.runtimeSequence !== 0n) {
    rare.runtimeSequence = e.runtimeSequence;
    used = true;
  }
  if (e.mergedFromEventIds.length > 0) {
    rare.mergedFromEventIds = e.mergedFromEventIds;
    used = true;
  }
  if (e.lateAfterCancel) {
    rare.lateAfterCancel = true;
    used = true;
  }
  if (Object.keys(e.extensions).length > 0) {
    rare.extensions = e.extensions;
    used = true;
  }
  return used;
}

/** The number of an id the sender made; 0 for any other id. One number has one writing: no leading zero. */
function numberOf(eventId: string, prefix: string): number {
  if (!eventId.startsWith(prefix)) return 0;
  const digits = eventId.slice(prefix.length);
  if (!/^[1-9]\d{0,9}$/.test(digits)) return 0;
  const number = Number(digits);
  return number <= uint32Max ? number : 0;
}

function usualClass(e: Envelope): number {
  const kind = e.payload.case as PayloadKind | undefined;
  return kind === undefined ? 0 : (payloadClassNames.number(PAYLOAD_CLASS[kind]) ?? 0);
}

function sampleOf(time: MediaTime | undefined, binding: Binding): number | null {
  if (time?.position.case !== "sampleIndex" || time.sampleRateHz !== binding.constants.sampleRateHz) return null;
  return time.position.value <= BigInt(uint32Max) ? Number(time.position.value) : null;
}

function setMediaTime(rare: LinkEventDetails, time: MediaTime): void {
  if (time.position.case === "ptsUs" && time.sampleRateHz === 0) rare.ptsUs = time.position.value;
  else rare.mediaTime = time;
}

/** Lays the rare fields over an envelope that holds what follows from the binding. */
export function expandDetails(message: Envelope, rare: LinkEventDetails): void {
  if (rare.eventId !== "") message.eventId = rare.eventId;
  for (const name of labels) message[name] = rare[name];
  message.runtimeSequence = rare.runtimeSequence;
  message.mergedFromEventIds = rare.mergedFromEventIds;
  message.lateAfterCancel = rare.lateAfterCancel;
  message.extensions = rare.extensions;
  if (rare.payloadClass !== 0) message.payloadClass = rare.payloadClass;
  if (rare.payloadHandling !== 0) message.payloadHandling = rare.payloadHandling;
  if (rare.monotonicNs !== undefined) message.monotonicNs = rare.monotonicNs;
  if (rare.wallMs !== undefined) message.wallMs = rare.wallMs;
  if (rare.turnId !== "") message.turnId = rare.turnId;
  if (rare.mediaTime !== undefined) message.mediaTime = rare.mediaTime;
  else if (rare.ptsUs !== undefined) {
    message.mediaTime = create(MediaTimeSchema, { position: { case: "ptsUs", value: rare.ptsUs } });
  }
}
