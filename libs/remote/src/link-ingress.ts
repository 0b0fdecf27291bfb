/** The adapter's messages on a link: TransportIngress to link messages and back, one for one. */
import { create } from "@bufbuild/protobuf";
import { err, ok, type Result } from "@rspp/base/result";
import type { Envelope } from "@rspp/gen/rspp/event/v1/event_pb";
import {
  type DeliveryReport,
  DeliveryReportSchema,
  DeliveryStep,
  type FenceAck,
  FenceAckSchema,
} from "@rspp/gen/rspp/runtime/v1/link_pb";
import type { TransportIngress } from "@rspp/ports/transport";
import { CUTS_NOTHING } from "@rspp/wire/cutoff";
import { eventOfValid, toEnvelope } from "@rspp/wire/envelope";
import type { PositionedMessage } from "@rspp/wire/link-control";
import { fieldError, type WireError } from "@rspp/wire/wire-error";
import type { WireControl } from "@rspp/wire/wire-event";
import { isUint32, isWhole, type LinkCodec, type LinkItem, microsecondsOf, outside, ownBytes } from "./link-codec.ts";
import { isCancel, numberAfter, wordOf } from "./link-words.ts";

type Of<K extends TransportIngress["kind"]> = Extract<TransportIngress, { kind: K }>;
type Fields = Readonly<Record<string, string | number>>;

/** The caller's frames are named by their number in the adapter's lane, which may have holes; the link's has none. */
const AUDIO_ID = "a-";
const CONTROL_ID = "c-";

const steps: Readonly<Record<Of<"delivery">["state"], DeliveryStep>> = {
  accepted: DeliveryStep.ACCEPTED,
  started: DeliveryStep.STARTED,
  progress: DeliveryStep.PROGRESS,
  completed: DeliveryStep.COMPLETED,
  cancelled: DeliveryStep.CANCELLED,
  lost: DeliveryStep.LOST,
};
const states = new Map(Object.entries(steps).map(([state, step]) => [step, state as Of<"delivery">["state"]]));

/**
 * A message of the adapter as the link takes it. `fenceSequence` finds the control sequence of the fence an acknowledgement
 * answers; 0 when unknown. Refuses what the contract cannot say, naming the field.
 */
export function ingressToLink(
  codec: LinkCodec,
  message: TransportIngress,
  fenceSequence: (turn: number, generation: number) => number,
): Result<LinkItem, WireError> {
  switch (message.kind) {
    case "audio":
      return audioToLink(codec, message);
    case "control":
      return controlToLink(codec, message);
    case "delivery":
      return deliveryToLink(message);
    case "fence_ack":
      return fenceAckToLink(message, fenceSequence(message.turn, message.generation));
  }
}

function audioToLink(codec: LinkCodec, message: Of<"audio">): Result<LinkItem, WireError> {
  const { sequence, mediaUs, durationUs, format, bytes, idempotencyKey = "" } = message;
  if (!isWhole(sequence, Number.MAX_SAFE_INTEGER) || sequence < 1) return outside("transport_sequence", "uint64.gte");
  const eventId = AUDIO_ID + sequence;
  const envelope = codec.audio({
    eventId,
    turn: 0,
    generation: 0,
    mediaUs,
    durationUs,
    format,
    bytes,
    end: false,
    idempotencyKey,
  });
  return envelope.ok ? ok({ kind: "media", envelope: envelope.value, urgent: sequence === 1 }) : envelope;
}

function controlToLink(codec: LinkCodec, message: Of<"control">): Result<LinkItem, WireError> {
  const { signal, sequence, controlClass, lastMediaSequence, turn = 0, idempotencyKey = "" } = message;
  const given = { ...message.fields };
  let reason = message.reason ?? "";
  if (isCancel(signal)) {
    // What the kernel takes when they are left out; the contract wants them said.
    given.scope ??= turn === 0 ? "session" : "turn";
    if (reason === "") reason = "user_cancel";
  }
  const scope = isCancel(signal) ? String(given.scope) : turn === 0 ? "session" : "turn";
  const fields: Fields = lastMediaSequence === undefined ? given : { ...given, lastMediaSequence };
  const payload: WireControl = {
    kind: "control",
    signal,
    emitter: "adapter",
    scope,
    reason,
    reasonDetail: "",
    fields,
  };
  const eventId = CONTROL_ID + sequence;
  const made = toEnvelope(codec.constants, { eventId, turn, wallMs: codec.wallMs(), idempotencyKey, payload });
  if (!made.ok) return made;
  const how =
    controlClass === "overtaking"
      ? ({ class: "overtaking", cutoff: CUTS_NOTHING } as const)
      : ({ class: "positioned", afterMedia: lastMediaSequence !== 0 } as const);
  return ok({ kind: "control", payload: { kind: "event", envelope: made.value }, how });
}

function deliveryToLink(message: Of<"delivery">): Result<LinkItem, WireError> {
  const { turn, generation, state, playedUs, epoch } = message;
  const problem = outputProblem(turn, generation, playedUs, epoch);
  if (problem !== null) return problem;
  return positioned({
    case: "delivery",
    value: create(DeliveryReportSchema, {
      turnNumber: turn,
      fenceGeneration: generation,
      step: steps[state],
      playedUs: BigInt(playedUs),
      authorityEpoch: BigInt(epoch),
    }),
  });
}

function fenceAckToLink(message: Of<"fence_ack">, fenceSequence: number): Result<LinkItem, WireError> {
  const { turn, generation, playedUs, flushed, epoch } = message;
  const problem = outputProblem(turn, generation, playedUs, epoch);
  if (problem !== null) return problem;
  if (!isUint32(flushed)) return outside("fence_ack.flushed_frames", "uint32");
  const played = { turnNumber: turn, fenceGeneration: generation, playedUs: BigInt(playedUs), flushedFrames: flushed };
  return positioned({
    case: "fenceAck",
    value: create(FenceAckSchema, {
      fenceSequence: Math.max(1, fenceSequence),
      played: [played],
      authorityEpoch: BigInt(epoch),
    }),
  });
}

/** Turn 0 is output with session scope. */
function outputProblem(turn: number, generation: number, playedUs: number, epoch: number) {
  if (!isUint32(turn)) return outside("turn_number", "uint32");
  if (!isUint32(generation)) return outside("fence_generation", "uint32");
  if (!isWhole(playedUs, Number.MAX_SAFE_INTEGER)) return outside("played_us", "uint64.safe");
  return isWhole(epoch, Number.MAX_SAFE_INTEGER) && epoch >= 1 ? null : outside("authority_epoch", "uint64.gte");
}

/** They are about output, so that no media of this direction comes before them in meaning. */
function positioned(message: PositionedMessage): Result<LinkItem, WireError> {
  return ok({
    kind: "control",
    payload: { kind: "positioned", message },
    how: { class: "positioned", afterMedia: false },
  });
}

// --- read at the runtime ---

/** A frame of the caller. */
export function audioFromLink(codec: LinkCodec, envelope: Envelope): Result<Of<"audio">, WireError> {
  const { payload } = envelope;
  if (payload.case !== "audio") {
    const kind = payload.case ?? "nothing";
    return err(fieldError("payload", "ingress.kind", `an adapter sends no ${kind} as media`, "send audio"));
  }
  const sequence = numberAfter(AUDIO_ID, envelope.eventId);
  if (sequence === null || sequence < 1) {
    return err(
      fieldError("event_number", "required", "is the frame's number in the caller's lane", "number the frames"),
    );
  }
  const mediaUs = microsecondsOf(envelope.mediaTime);
  if (mediaUs === null) {
    return err(fieldError("media_sample", "required", "audio has a media time", "set media_sample"));
  }
  const { durationUs, format } = payload.value;
  const bytes = ownBytes(payload.value.data);
  const message: Of<"audio"> = {
    kind: "audio",
    epoch: codec.constants.epoch,
    sequence,
    mediaUs,
    durationUs,
    format: codec.formatOf(format),
    bytes,
  };
  if (envelope.idempotencyKey !== "") message.idempotencyKey = envelope.idempotencyKey;
  return ok(message);
}

/** A signal of the adapter; its class is that in which it came. */
export function controlFromLink(
  codec: LinkCodec,
  envelope: Envelope,
  controlClass: "overtaking" | "positioned",
): Result<Of<"control">, WireError> {
  const event = eventOfValid(envelope);
  if (!event.ok) return event;
  const { payload, turn, idempotencyKey, eventId } = event.value;
  if (payload.kind !== "control") {
    return err(fieldError("payload", "ingress.kind", `an adapter sends no ${payload.kind}`, "send a control signal"));
  }
  if (payload.emitter !== "adapter" && payload.emitter !== "client") {
    const said = `${payload.signal} of ${payload.emitter} does not come from an adapter`;
    return err(fieldError("control.emitter", "control.emitter", said, "send what the adapter may emit"));
  }
  const sequence = numberAfter(CONTROL_ID, eventId);
  if (sequence === null || sequence < 1) {
    const said = "is c- and the number in the adapter's control lane";
    return err(fieldError("details.event_id", "required", said, "number the signals"));
  }
  const { lastMediaSequence, ...fields } = payload.fields;
  const message: Of<"control"> = {
    kind: "control",
    epoch: codec.constants.epoch,
    sequence,
    signal: payload.signal,
    controlClass,
  };
  if (typeof lastMediaSequence === "number") message.lastMediaSequence = lastMediaSequence;
  if (payload.reason !== "") message.reason = wordOf(payload.reason, payload.reasonDetail);
  if (turn !== 0) message.turn = turn;
  if (Object.keys(fields).length > 0) message.fields = fields;
  if (idempotencyKey !== "") message.idempotencyKey = idempotencyKey;
  return ok(message);
}

export function deliveryFromLink(report: DeliveryReport): Of<"delivery"> {
  return {
    kind: "delivery",
    epoch: Number(report.authorityEpoch),
    turn: report.turnNumber,
    generation: report.fenceGeneration,
    state: states.get(report.step) ?? "lost",
    playedUs: Number(report.playedUs),
  };
}

/** One message per turn; `fenceAt` is the fence of a control sequence, for one without turns. */
export function fenceAcksFromLink(
  ack: FenceAck,
  fenceAt: (sequence: number) => { turn: number; generation: number } | undefined,
): Of<"fence_ack">[] {
  const epoch = Number(ack.authorityEpoch);
  if (ack.played.length === 0) {
    const fence = fenceAt(ack.fenceSequence);
    if (fence === undefined) return [];
    return [{ kind: "fence_ack", epoch, turn: fence.turn, generation: fence.generation, playedUs: 0, flushed: 0 }];
  }
  return ack.played.map(({ turnNumber: turn, fenceGeneration: generation, playedUs, flushedFrames: flushed }) => {
    return { kind: "fence_ack", epoch, turn, generation, playedUs: Number(playedUs), flushed };
  });
}
