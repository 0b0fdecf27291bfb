/** Frames of the native protocol as bytes or JSON, chosen by subprotocol (F-030); never throws on what comes from outside. */
import { fromBinary, fromJson, toBinary, toJsonString } from "@bufbuild/protobuf";
import { err, type Result } from "@rspp/base/result";
import {
  type ClientFrame,
  ClientFrameSchema,
  type ServerFrame,
  ServerFrameSchema,
} from "@rspp/gen/rspp/transport/v1/websocket_pb";
import { type ParsedJson, parseBoundedJson } from "@rspp/wire/json";
import { validate } from "@rspp/wire/validate";
import { echo, refuseField, type WireError, wireError } from "@rspp/wire/wire-error";
import { limits } from "./limits.ts";

export type FrameEncoding = "binary" | "json";

/** Subprotocols by preference of the server; a client offers one or both. */
export const SUBPROTOCOLS: Readonly<Record<string, FrameEncoding>> = {
  "rspp.v1.proto": "binary",
  "rspp.v1.json": "json",
};

const known: ReadonlySet<string> = new Set(ClientFrameSchema.fields.flatMap((field) => [field.name, field.jsonName]));
const names: string = ClientFrameSchema.fields.map((field) => field.name).join(", ");

/** Decodes and validates one frame of the client; every refusal names the field and what to do. */
export function decodeClientFrame(data: Uint8Array, encoding: FrameEncoding): Result<ClientFrame, WireError> {
  if (data.byteLength > limits.FRAME_BYTES_MAX) {
    const metadata = { bytes: String(data.byteLength), bytes_max: String(limits.FRAME_BYTES_MAX) };
    return err(wireError("message_too_large", metadata));
  }
  const frame = encoding === "binary" ? fromBytes(data) : fromText(data);
  if (!frame.ok) return frame;
  if (frame.value.message.case === undefined && frame.value.$unknown?.[0] !== undefined) {
    return unknownFrame(`field ${frame.value.$unknown[0].no}`);
  }
  return validate(ClientFrameSchema, frame.value);
}

export function encodeServerFrame(frame: ServerFrame, encoding: FrameEncoding): Uint8Array | string {
  return encoding === "binary" ? toBinary(ServerFrameSchema, frame) : toJsonString(ServerFrameSchema, frame);
}

/** A frame as it is kept for a client that may come back: bytes, which cost a collector far less than the message. */
export function recordFrame(sequence: number, message: ServerFrame["message"]): Uint8Array {
  const frame: ServerFrame = { $typeName: "rspp.transport.v1.ServerFrame", sequence: BigInt(sequence), message };
  return toBinary(ServerFrameSchema, frame);
}

/** A kept frame for a connection of that encoding. */
export function recordedFrame(record: Uint8Array, encoding: FrameEncoding): Uint8Array | string {
  return encoding === "binary" ? record : toJsonString(ServerFrameSchema, fromBinary(ServerFrameSchema, record));
}

function fromBytes(data: Uint8Array): Result<ClientFrame, WireError> {
  try {
    return { ok: true, value: fromBinary(ClientFrameSchema, data) };
  } catch {
    return err(wireError("malformed_frame", { encoding: "binary", bytes: String(data.byteLength) }));
  }
}

function fromText(data: Uint8Array): Result<ClientFrame, WireError> {
  const parsed = parseBoundedJson(new TextDecoder().decode(data));
  if (!parsed.ok) return parsed;
  const strange = Object.keys(parsed.value).find((key) => !known.has(key));
  if (strange !== undefined) return unknownFrame(echo(strange));
  return fromParsed(parsed.value);
}

function fromParsed(value: ParsedJson): Result<ClientFrame, WireError> {
  try {
    return { ok: true, value: fromJson(ClientFrameSchema, value) };
  } catch (error) {
    return jsonProblem(error);
  }
}

/** The decoder's message begins with the field; what follows may quote the value, which stays here. */
function jsonProblem(error: unknown): { readonly ok: false; readonly error: WireError } {
  const message = error instanceof Error ? error.message : "";
  const strange = /key "([^"]{1,64})" is unknown/.exec(message)?.[1];
  if (strange !== undefined) {
    return refuseField(echo(strange), "json.unknown_field", "is not a field of this frame", "leave it out");
  }
  const field = /cannot decode (?:field|message) ([\w.]+)/.exec(message)?.[1];
  if (field === undefined) return err(wireError("malformed_frame", { encoding: "json" }));
  const short = field.replace(/^rspp\.transport\.v1\./, "");
  return refuseField(short, "json.type", "has another type", "send the JSON form of the contract");
}

function unknownFrame(type: string): { readonly ok: false; readonly error: WireError } {
  return err(wireError("unknown_event_type", { type }, [], `Send one of ${names}.`));
}
