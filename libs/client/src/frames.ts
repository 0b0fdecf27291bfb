/** Frames of the native protocol, both encodings, and their plain forms. */
import { create, fromBinary, fromJsonString, toBinary, toJsonString } from "@bufbuild/protobuf";
import { type ErrorDetail, ErrorReasonSchema } from "@rspp/gen/rspp/common/v1/error_pb";
import { Reason, ReasonSchema } from "@rspp/gen/rspp/common/v1/reason_pb";
import { AudioCodec, type AudioFormat as WireFormat } from "@rspp/gen/rspp/event/v1/audio_pb";
import { ControlSignalSchema } from "@rspp/gen/rspp/event/v1/control_pb";
import type { Envelope } from "@rspp/gen/rspp/event/v1/event_pb";
import { TextRole } from "@rspp/gen/rspp/event/v1/text_pb";
import {
  type ClientFrame,
  ClientFrameSchema,
  type ServerFrame,
  ServerFrameSchema,
} from "@rspp/gen/rspp/transport/v1/websocket_pb";
import type { AudioFormat, ErrorEvent, OutputFrame, TextEvent } from "./types.ts";

export type Encoding = "binary" | "json";

export const subprotocolOf: Readonly<Record<Encoding, string>> = { binary: "rspp.v1.proto", json: "rspp.v1.json" };

export function encodeFrame(message: ClientFrame["message"], encoding: Encoding): Uint8Array<ArrayBuffer> | string {
  const frame = create(ClientFrameSchema, { message });
  return encoding === "binary" ? toBinary(ClientFrameSchema, frame) : toJsonString(ClientFrameSchema, frame);
}

/** Null for what is no frame. A kind of frame that this build does not know has no message: newer servers may send it. */
export function decodeFrame(data: unknown, encoding: Encoding): ServerFrame | null {
  try {
    if (encoding === "json") {
      return typeof data === "string" ? fromJsonString(ServerFrameSchema, data, { ignoreUnknownFields: true }) : null;
    }
    if (data instanceof ArrayBuffer) return fromBinary(ServerFrameSchema, new Uint8Array(data));
    return data instanceof Uint8Array ? fromBinary(ServerFrameSchema, data) : null;
  } catch {
    return null;
  }
}

const codecs = {
  pcm_s16le: AudioCodec.PCM_S16LE,
  mulaw: AudioCodec.MULAW,
  alaw: AudioCodec.ALAW,
  opus: AudioCodec.OPUS,
} as const;

export function formatToWire(format: AudioFormat): WireFormat {
  const { codec, rateHz, channels } = format;
  return { $typeName: "rspp.event.v1.AudioFormat", codec: codecs[codec], sampleRateHz: rateHz, channels };
}

function formatFromWire(format: WireFormat | undefined): AudioFormat {
  const named = Object.entries(codecs).find(([, number]) => number === format?.codec);
  const codec = (named?.[0] ?? "pcm_s16le") as AudioFormat["codec"];
  return { codec, rateHz: format?.sampleRateHz ?? 0, channels: format?.channels ?? 0 };
}

/** The audio of an event, or null. */
export function outputOf(event: Envelope): OutputFrame | null {
  if (event.payload.case !== "audio") return null;
  const { format, data, durationUs, end } = event.payload.value;
  return {
    turn: event.turnNumber,
    generation: event.fenceGeneration,
    sequence: Number(event.transportSequence),
    offsetUs: mediaUs(event),
    durationUs,
    format: formatFromWire(format),
    data,
    end,
  };
}

function mediaUs({ mediaTime }: Envelope): number {
  if (mediaTime?.position.case === "sampleIndex") {
    return Math.round((Number(mediaTime.position.value) * 1e6) / Math.max(1, mediaTime.sampleRateHz));
  }
  return mediaTime?.position.case === "ptsUs" ? Number(mediaTime.position.value) : 0;
}

const roles: Readonly<Record<number, TextEvent["role"]>> = {
  [TextRole.USER]: "user",
  [TextRole.ASSISTANT]: "assistant",
  [TextRole.SYSTEM]: "system",
  [TextRole.TOOL]: "tool",
};

export function textOf(event: Envelope): TextEvent | null {
  if (event.payload.case !== "text") return null;
  const { text, segment, revision, final, role } = event.payload.value;
  return { turn: event.turnNumber, role: roles[role] ?? "", text, segment, revision, final, eventId: event.eventId };
}

const lower = (schema: { values: { number: number; name: string }[]; sharedPrefix?: string }): Map<number, string> =>
  new Map(schema.values.map((v) => [v.number, v.name.slice(schema.sharedPrefix?.length ?? 0).toLowerCase()]));

const signals = lower({ values: ControlSignalSchema.values, sharedPrefix: "CONTROL_SIGNAL_" });
const reasons = lower({ values: ReasonSchema.values, sharedPrefix: "REASON_" });
const errors = lower({ values: ErrorReasonSchema.values, sharedPrefix: "ERROR_REASON_" });

export function signalName(number: number): string {
  return signals.get(number) ?? "";
}

export function reasonName(number: number): string {
  return number === Reason.UNSPECIFIED ? "" : (reasons.get(number) ?? "");
}

export function errorOf(detail: ErrorDetail | undefined): ErrorEvent {
  const fields = (detail?.violations ?? []).map(({ field, message }) => ({ field, message }));
  return { reason: errors.get(detail?.reason ?? 0) ?? "", fields, remedy: detail?.remedy ?? "" };
}
