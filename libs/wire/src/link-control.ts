/** Control events and session messages in the link's two classes (kernel.md §6): overtaking and positioned. */
import { create } from "@bufbuild/protobuf";
import { err, ok, type Result } from "@rspp/base/result";
import { type Envelope, EnvelopeSchema } from "@rspp/gen/rspp/event/v1/event_pb";
import {
  type LinkEventDetails,
  LinkEventDetailsSchema,
  LinkEventSchema,
  type OvertakingControl,
  OvertakingControlSchema,
  type PositionedControl,
  PositionedControlSchema,
} from "@rspp/gen/rspp/runtime/v1/link_pb";
import type { Cutoff } from "@rspp/protocol/link-types";
import { type Binding, expand, type LinkSender, shorten } from "./binding.ts";
import { cutoffToWire } from "./cutoff.ts";
import { validate } from "./validate.ts";
import { refuseField, type WireError } from "./wire-error.ts";

type OvertakingPayload = OvertakingControl["payload"];
type PositionedPayload = PositionedControl["payload"];

/** What acts at once without being an event: a fence, a floor. */
export type OvertakingMessage = Extract<OvertakingPayload, { case: "fence" | "floor" }>;
/** What keeps its place without being an event: opening, acknowledgements, delivery reports, what is to be told. */
export type PositionedMessage = Extract<
  PositionedPayload,
  { case: "open" | "opened" | "fenceAck" | "floorAck" | "delivery" | "observe" | "handover" }
>;

/** What the link machine carries and never reads: an event in full, or a message of the session. */
export type LinkPayload =
  | { readonly kind: "event"; readonly envelope: Envelope }
  | { readonly kind: "overtaking"; readonly message: OvertakingMessage }
  | { readonly kind: "positioned"; readonly message: PositionedMessage };

interface Shortened {
  details: LinkEventDetails | undefined;
  turnNumber: number;
  fenceGeneration: number;
  elapsedUs: number;
  idempotencyKey: string;
  payload: Envelope["payload"];
}

/** What of an event is not bound; control messages have no event number, and their key has a field of its own. */
function shortened(
  binding: Binding,
  sender: LinkSender,
  envelope: Envelope,
  sequence: number,
): Result<Shortened, WireError> {
  const short = shorten(binding, sender, envelope, { sequence, sentAudioUs: 0, sentBytes: 0 });
  if (!short.ok) return short;
  const { turnNumber, fenceGeneration, elapsedUs, eventNumber, mediaSample } = short.value;
  const details = short.value.details ?? create(LinkEventDetailsSchema);
  if (eventNumber !== 0) details.eventId = envelope.eventId;
  if (mediaSample !== undefined && envelope.mediaTime !== undefined) details.mediaTime = envelope.mediaTime;
  details.idempotencyKey = "";
  return ok({
    details,
    turnNumber,
    fenceGeneration,
    elapsedUs,
    idempotencyKey: envelope.idempotencyKey,
    payload: envelope.payload,
  });
}

function wrongClass(what: string): { readonly ok: false; readonly error: WireError } {
  return refuseField(
    "payload",
    "link.control_class",
    `${what} does not travel in this class`,
    "send it in its own class",
  );
}

/** Encodes what overtakes. An event must be a control signal; its class is the link machine's business. */
export function overtakingToWire(
  binding: Binding,
  sender: LinkSender,
  frame: { seq: number; cutoff: Cutoff; payload: LinkPayload },
): Result<OvertakingControl, WireError> {
  const message = create(OvertakingControlSchema, {
    sessionRef: binding.ref,
    sequence: frame.seq,
    cutoffs: [cutoffToWire(frame.cutoff)],
  });
  const { payload } = frame;
  if (payload.kind === "positioned") return wrongClass(payload.message.case);
  if (payload.kind === "overtaking") message.payload = payload.message;
  else {
    const short = shortened(binding, sender, payload.envelope, frame.seq);
    if (!short.ok) return short;
    const { payload: control, ...rest } = short.value;
    if (control.case !== "control") return wrongClass(control.case ?? "nothing");
    Object.assign(message, rest);
    message.payload = control;
    // Short for a valid envelope; how it cuts is the machine's.
    return ok(message);
  }
  return validate(OvertakingControlSchema, message);
}

/** Encodes what keeps its place: a control signal, text, an error, or a message of the session. */
export function positionedToWire(
  binding: Binding,
  sender: LinkSender,
  frame: { seq: number; lastMediaSeq: number; payload: LinkPayload },
): Result<PositionedControl, WireError> {
  const message = create(PositionedControlSchema, {
    sessionRef: binding.ref,
    sequence: frame.seq,
    lastMediaSequence: frame.lastMediaSeq,
  });
  const { payload } = frame;
  if (payload.kind === "overtaking") return wrongClass(payload.message.case);
  if (payload.kind === "positioned") message.payload = payload.message;
  else {
    const short = shortened(binding, sender, payload.envelope, frame.seq);
    if (!short.ok) return short;
    const { payload: event, ...rest } = short.value;
    if (event.case !== "control" && event.case !== "text" && event.case !== "error") {
      return wrongClass(event.case ?? "nothing");
    }
    // Its lane is not told: text is data, the rest is control.
    if (event.case === "error" && payload.envelope.lane !== 1) return wrongClass("an error of another lane");
    Object.assign(message, rest);
    message.payload = event;
    // Short for a valid envelope.
    return ok(message);
  }
  return validate(PositionedControlSchema, message);
}

/** Reads what was held against its rules with the frame it came in. */
export function overtakingFromWire(
  binding: Binding,
  sender: LinkSender,
  message: OvertakingControl,
): Result<LinkPayload, WireError> {
  const { payload } = message;
  if (payload.case === "control") return expandControl(binding, sender, message, payload);
  return payload.case === undefined ? wrongClass("nothing") : ok({ kind: "overtaking", message: payload });
}

/** Reads what was held against its rules with the frame it came in. */
export function positionedFromWire(
  binding: Binding,
  sender: LinkSender,
  message: PositionedControl,
): Result<LinkPayload, WireError> {
  const { payload } = message;
  switch (payload.case) {
    case "control":
    case "text":
    case "error":
      return expandControl(binding, sender, message, payload);
    case undefined:
      return wrongClass("nothing");
    default:
      return ok({ kind: "positioned", message: payload });
  }
}

function expandControl(
  binding: Binding,
  sender: LinkSender,
  m: OvertakingControl | PositionedControl,
  payload: Extract<Envelope["payload"], { case: "control" | "text" | "error" }>,
): Result<LinkPayload, WireError> {
  const event = create(LinkEventSchema, {
    sessionRef: m.sessionRef,
    lane: payload.case === "text" ? 2 : 1,
    sequence: m.sequence,
    turnNumber: m.turnNumber,
    fenceGeneration: m.fenceGeneration,
    elapsedUs: m.elapsedUs,
    payload,
  });
  if (m.details !== undefined) event.details = m.details;
  const expanded = expand(binding, sender, event);
  if (!expanded.ok) return err(expanded.error);
  const envelope = expanded.value;
  if (m.idempotencyKey !== "") envelope.idempotencyKey = m.idempotencyKey;
  const valid = validate(EnvelopeSchema, envelope);
  return valid.ok ? ok({ kind: "event", envelope }) : valid;
}
