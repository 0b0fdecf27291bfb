/** The runtime's messages on a link: TransportEgress to link messages and back, one for one. `close` is the unbind. */
import { create } from "@bufbuild/protobuf";
import { asMonoNs } from "@rspp/base/brand";
import { err, ok, type Result } from "@rspp/base/result";
import type { Envelope } from "@rspp/gen/rspp/event/v1/event_pb";
import { RaiseFenceSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";
import type { TransportEgress } from "@rspp/ports/transport";
import { signalClass } from "@rspp/wire/control";
import { CUTS_NOTHING, cutoffOfFence, fenceOfCutoff } from "@rspp/wire/cutoff";
import { eventOfValid, toEnvelope } from "@rspp/wire/envelope";
import { signalInit } from "@rspp/wire/kernel-event";
import type { OvertakingMessage } from "@rspp/wire/link-control";
import { reasonFromWire, reasonToWire } from "@rspp/wire/reason";
import { fieldError, type WireError } from "@rspp/wire/wire-error";
import { isUint32, isWhole, type LinkCodec, type LinkItem, microsecondsOf, outside, ownBytes } from "./link-codec.ts";
import { emitterOf, numberAfter, wordOf } from "./link-words.ts";

type Of<K extends TransportEgress["kind"]> = Extract<TransportEgress, { kind: K }>;
/** What travels; a close is the end of the binding. */
export type Outgoing = Exclude<TransportEgress, { kind: "close" }>;

const MEDIA_ID = "r-";
const LONG_MEDIA_ID = "m-";
/** Frames of a turn that one number can name beside the turn: 21 minutes of 20 ms. */
const PLACES = 65_536;

/**
 * A message of the runtime as the link takes it; `number` names events that are no media, and rises. Refuses what the
 * contract cannot say, naming the field.
 */
export function egressToLink(codec: LinkCodec, message: Outgoing, number: number): Result<LinkItem, WireError> {
  switch (message.kind) {
    case "media":
      return mediaToLink(codec, message);
    case "fence":
      return fenceToLink(codec, message);
    case "control":
      return controlToLink(codec, message, number);
    case "text":
      return textToLink(codec, message, number);
  }
}

/** Turn and number within the turn as one number where they fit, since only a number is short on the wire. */
function mediaId(turn: number, sequence: number): string {
  const short = turn < PLACES && sequence < PLACES && turn * PLACES + sequence > 0;
  return short ? MEDIA_ID + (turn * PLACES + sequence) : `${LONG_MEDIA_ID}${sequence}`;
}

function mediaSequence(envelope: Envelope): number | null {
  const short = numberAfter(MEDIA_ID, envelope.eventId);
  if (short === null) return numberAfter(LONG_MEDIA_ID, envelope.eventId);
  return Math.floor(short / PLACES) === envelope.turnNumber ? short % PLACES : null;
}

/** A frame, or a part of one with an id of its own. */
export function mediaToLink(
  codec: LinkCodec,
  message: Of<"media">,
  eventId: string = mediaId(message.turn, message.sequence),
): Result<LinkItem, WireError> {
  const { turn, generation, sequence, offsetUs: mediaUs, durationUs, format, bytes, end } = message;
  if (!isWhole(sequence, Number.MAX_SAFE_INTEGER)) return outside("event_id", "uint64.safe");
  const init = { eventId, turn, generation, mediaUs, durationUs, format, bytes, end, idempotencyKey: "" };
  const envelope = codec.audio(init);
  return envelope.ok ? ok({ kind: "media", envelope: envelope.value, urgent: end || sequence === 1 }) : envelope;
}

function fenceToLink(codec: LinkCodec, fence: Of<"fence">): Result<LinkItem, WireError> {
  if (!isUint32(fence.turn)) return outside("turn_number", "uint32");
  if (!isUint32(fence.generation)) return outside("fence_generation", "uint32");
  const { reason } = reasonToWire(fence.reason);
  const value = create(RaiseFenceSchema, { reason, authorityEpoch: codec.epoch });
  return ok({
    kind: "control",
    payload: { kind: "overtaking", message: { case: "fence", value } },
    how: { class: "overtaking", cutoff: cutoffOfFence(fence) },
  });
}

function controlToLink(codec: LinkCodec, message: Of<"control">, number: number): Result<LinkItem, WireError> {
  const { signal, turn, reason, fields = {} } = message;
  const emitter = emitterOf(signal);
  const event = {
    signal,
    emitter,
    seq: 0,
    turn,
    generation: 0,
    epoch: 0,
    monoNs: asMonoNs(0),
    cause: 0,
    reason,
    fields,
  };
  const init = { ...signalInit(event, codec.wallMs()), eventId: eventId(number) };
  const made = toEnvelope(codec.constants, init);
  if (!made.ok) return made;
  const payload = { kind: "event", envelope: made.value } as const;
  const how = signalClass(signal);
  if (how === "overtaking") {
    return ok({ kind: "control", payload, how: { class: "overtaking", cutoff: CUTS_NOTHING } });
  }
  return ok({ kind: "control", payload, how: { class: "positioned", afterMedia: how === "positioned" } });
}

/** Words are for display: they keep their place among the signals and wait for no media. */
function textToLink(codec: LinkCodec, message: Of<"text">, number: number): Result<LinkItem, WireError> {
  const { turn, role, text, final, segment, revision } = message;
  if (!isUint32(segment)) return outside("text.segment", "uint32");
  if (!isUint32(revision)) return outside("text.revision", "uint32");
  const body = { kind: "text", role, text, final, segment, revision } as const;
  const payload = { ...body, language: "", confidence: null, words: [] };
  const made = toEnvelope(codec.constants, { eventId: eventId(number), turn, wallMs: codec.wallMs(), payload });
  if (!made.ok) return made;
  return ok({
    kind: "control",
    payload: { kind: "event", envelope: made.value },
    how: { class: "positioned", afterMedia: false },
  });
}

/** The id of an event that is no media. */
export function eventId(number: number): string {
  return `e-${number}`;
}

/** The number behind it; 0 for another id, which is never a repeat. */
export function eventNumber(envelope: Envelope): number {
  return numberAfter("e-", envelope.eventId) ?? 0;
}

// --- read at the adapter ---

/** A frame, or a part of one. */
export function mediaFromLink(
  codec: LinkCodec,
  envelope: Envelope,
  sequence: number | null = mediaSequence(envelope),
): Result<Of<"media">, WireError> {
  const { payload, turnNumber: turn, fenceGeneration: generation } = envelope;
  if (payload.case !== "audio") {
    const kind = payload.case ?? "nothing";
    return err(fieldError("payload", "egress.kind", `a runtime sends no ${kind} as data`, "send audio"));
  }
  if (sequence === null) {
    return err(fieldError("event_number", "required", "names turn and frame", "number the frames of the turn"));
  }
  const offsetUs = microsecondsOf(envelope.mediaTime);
  if (offsetUs === null) {
    return err(fieldError("media_sample", "required", "audio has a media time", "set media_sample"));
  }
  const { durationUs, end, format } = payload.value;
  const bytes = ownBytes(payload.value.data);
  return ok({
    kind: "media",
    epoch: codec.constants.epoch,
    turn,
    generation,
    sequence,
    offsetUs,
    durationUs,
    format: codec.formatOf(format),
    bytes,
    end,
  });
}

export function fenceFromLink(
  cutoff: { turn: number; generation: number; olderTurns: boolean },
  { value }: Extract<OvertakingMessage, { case: "fence" }>,
): Of<"fence"> {
  const epoch = Number(value.authorityEpoch);
  return { kind: "fence", epoch, ...fenceOfCutoff(cutoff), reason: reasonFromWire(value.reason) };
}

/** A signal or words of the runtime. */
export function wordsFromLink(codec: LinkCodec, envelope: Envelope): Result<Of<"control"> | Of<"text">, WireError> {
  const event = eventOfValid(envelope);
  if (!event.ok) return event;
  const { payload, turn } = event.value;
  const { epoch } = codec.constants;
  if (payload.kind === "text") {
    const { text, final, segment, revision } = payload;
    const role = payload.role === "user" ? "user" : "assistant";
    return ok({ kind: "text", epoch, turn, role, text, final, segment, revision });
  }
  if (payload.kind !== "control") {
    return err(fieldError("payload", "egress.kind", `a runtime sends no ${payload.kind} here`, "send it as telemetry"));
  }
  const { signal, scope } = payload;
  const reason = wordOf(payload.reason, payload.reasonDetail);
  // An extent that does not follow from the turn was said as a field.
  const own = scope === "session" || scope === "turn" || "scope" in payload.fields ? {} : { scope };
  const fields = { ...own, ...payload.fields };
  const message: Of<"control"> = { kind: "control", epoch, signal, turn, reason };
  if (Object.keys(fields).length > 0) message.fields = fields;
  return ok(message);
}
