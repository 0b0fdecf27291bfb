/** What the runtime says to this caller, as events of the contract (kernel.md §13). */
import { create, getOption } from "@bufbuild/protobuf";
import type { Result } from "@rspp/base/result";
import { Lane, Scope } from "@rspp/gen/rspp/common/v1/lane_pb";
import { ControlSignalSchema } from "@rspp/gen/rspp/event/v1/control_pb";
import { control_signal_rule } from "@rspp/gen/rspp/event/v1/control_rule_pb";
import { DebugSchema } from "@rspp/gen/rspp/event/v1/debug_pb";
import { ErrorSchema } from "@rspp/gen/rspp/event/v1/error_pb";
import { type Envelope, PayloadClass, PayloadHandling } from "@rspp/gen/rspp/event/v1/event_pb";
import type { Clock } from "@rspp/ports/clock";
import type { SessionNote } from "@rspp/ports/session-opener";
import type { TransportEgress } from "@rspp/ports/transport";
import type { Media } from "@rspp/transport/audio-out";
import { formatToWire } from "@rspp/transport/formats";
import { SCHEMA_VERSION_MAX, toEnvelope } from "@rspp/wire/envelope";
import { signalInit } from "@rspp/wire/kernel-event";
import { emitterNames, signalNames } from "@rspp/wire/names";
import { mediaTimeToWire } from "@rspp/wire/numbers";
import type { WireError } from "@rspp/wire/wire-error";
import { type EventConstants, mediaTimeAt, turnIdOf } from "@rspp/wire/wire-event";
import { type FramedBytes, MediaFrames } from "./media-frame.ts";
import type { Refusal } from "./refusal.ts";

type Text = Extract<TransportEgress, { kind: "text" }>;
type ControlMessage = Extract<TransportEgress, { kind: "control" }>;

/** Who says a signal; the port does not name the emitter, the closed set's first is the usual one. */
const emitters = new Map<string, string>(
  ControlSignalSchema.values
    .filter((value) => value.number !== 0)
    .map((value) => [
      signalNames.name(value.number),
      emitterNames.name(getOption(value, control_signal_rule).emitters[0] ?? 0),
    ]),
);

export interface EventWriter {
  control(message: Omit<ControlMessage, "kind" | "epoch">): Result<Envelope, WireError>;
  text(message: Text): Result<Envelope, WireError>;
  note(note: SessionNote): Result<Envelope, WireError>;
  /** Fields of audio are known to be sound, and there are fifty a second: not validated again. */
  media(media: Media): Envelope;
  /** The same as the frame of that sequence, in bytes. */
  frame(sequence: number, media: Media): FramedBytes;
  error(refused: Refusal): Envelope;
}

export function createEventWriter(clock: Clock, constants: () => EventConstants): EventWriter {
  let events = 0;
  const nextId = (): string => {
    events += 1;
    return `w-${events}`;
  };
  const frames = new MediaFrames();
  const bare = (): Envelope => envelopeOf(constants(), nextId(), clock);
  return {
    control(message) {
      const { signal, turn, reason, fields = {} } = message;
      const emitter = emitters.get(signal) ?? "";
      const event = { signal, emitter, seq: 0, turn, generation: 0, epoch: 0, monoNs: clock.nowNs(), cause: 0, reason };
      return toEnvelope(constants(), { ...signalInit({ ...event, fields }, clock.wallMs()), eventId: nextId() });
    },
    text(message) {
      const { turn, role, text, final, segment, revision } = message;
      const body = { kind: "text", role, text, final, segment, revision } as const;
      const payload = { ...body, language: "", confidence: null, words: [] };
      return toEnvelope(constants(), {
        eventId: nextId(),
        turn,
        wallMs: clock.wallMs(),
        monoNs: clock.nowNs(),
        payload,
      });
    },
    note(note) {
      if (note.kind === "metrics") {
        const sample = {
          name: note.name,
          kind: "gauge",
          value: note.value,
          nodeId: note.node,
          edgeId: note.edge ?? "",
          labels: {},
        } as const;
        const payload = { kind: "metrics", samples: [sample] } as const;
        return toEnvelope(constants(), { eventId: nextId(), turn: note.turn, wallMs: clock.wallMs(), payload });
      }
      const message = bare();
      message.lane = note.kind === "debug" ? Lane.TELEMETRY : Lane.CONTROL;
      const fields = note.kind === "debug" ? shortFields(note.fields) : {};
      if (note.kind === "debug") {
        const value = create(DebugSchema, { topic: "session", message: note.text.slice(0, 1_024), fields });
        message.payload = { case: "debug", value };
      } else {
        const remedy = note.detail.slice(0, 512);
        const detail = { reason: 50, domain: "runtime", remedy, metadata: { code: note.code.slice(0, 256) } };
        message.payload = { case: "error", value: create(ErrorSchema, { detail }) };
      }
      return { ok: true, value: message };
    },
    media: (media) => mediaEnvelope(bare(), media),
    frame(sequence, media) {
      events += 1;
      const stamp = { sequence, event: events, monoNs: clock.nowNs(), wallMs: clock.wallMs() };
      return frames.write(constants(), stamp, media);
    },
    error(refused) {
      const message = bare();
      message.payload = { case: "error", value: create(ErrorSchema, { detail: refused.detail }) };
      return message;
    },
  };
}

function shortFields(fields: Readonly<Record<string, string | number>>): Record<string, string> {
  const entries = Object.entries(fields).slice(0, 32);
  return Object.fromEntries(entries.map(([name, value]) => [name.slice(0, 64), String(value).slice(0, 512)]));
}

/** Every field by hand: an object made in one piece costs a tenth of one that `create` grows field by field (P2). */
function envelopeOf(constants: EventConstants, eventId: string, clock: Clock): Envelope {
  return {
    $typeName: "rspp.event.v1.Envelope",
    schemaVersion: SCHEMA_VERSION_MAX,
    lane: Lane.CONTROL,
    scope: Scope.SESSION,
    authorityEpoch: BigInt(constants.epoch),
    tenantId: constants.tenant,
    sessionId: constants.session,
    pipelineVersion: constants.pipelineVersion,
    eventId,
    monotonicNs: BigInt(clock.nowNs()),
    wallMs: BigInt(clock.wallMs()),
    payloadClass: PayloadClass.METADATA,
    payloadHandling: PayloadHandling.ALLOW,
    runtimeSequence: 0n,
    transportSequence: 0n,
    turnNumber: 0,
    fenceGeneration: 0,
    payload: { case: undefined },
    turnId: "",
    nodeId: "",
    edgeId: "",
    causalParentId: "",
    idempotencyKey: "",
    providerInvocationId: "",
    mediaTime: undefined,
    syncId: "",
    syncDomain: "",
    discontinuityId: "",
    mergeGroupId: "",
    mergedFromEventIds: [],
    lateAfterCancel: false,
    extensions: {},
  };
}

function mediaEnvelope(message: Envelope, media: Media): Envelope {
  message.lane = Lane.DATA;
  if (media.turn > 0) {
    message.scope = Scope.TURN;
    message.turnNumber = media.turn;
    message.turnId = turnIdOf(media.turn);
  }
  message.fenceGeneration = media.generation;
  message.transportSequence = BigInt(media.sequence);
  message.payloadClass = PayloadClass.RAW_AUDIO;
  message.mediaTime = mediaTimeToWire(mediaTimeAt(media.offsetUs, media.format.rateHz));
  const { bytes: data, durationUs, end } = media;
  const format = formatToWire(media.format);
  message.payload = {
    case: "audio",
    value: {
      $typeName: "rspp.event.v1.Audio",
      format: { $typeName: "rspp.event.v1.AudioFormat", ...format },
      data,
      durationUs,
      end,
    },
  };
  return message;
}
