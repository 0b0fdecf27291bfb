/** Bytes or JSON from outside to an event, and what becomes of types this build does not know (F-020, F-021, F-030). */
import { base64Encode } from "@bufbuild/protobuf/wire";
import { err, ok, type Result } from "@rspp/base/result";
import type { Envelope } from "@rspp/gen/rspp/event/v1/event_pb";
import { envelopeFromBinary, envelopeToBinary } from "./binary.ts";
import { checkSchemaVersion, eventOf } from "./envelope.ts";
import {
  envelopeFromParsed,
  envelopeToJson,
  jsonUnknownPayload,
  jsonVersion,
  type ParsedJson,
  parseBoundedJson,
} from "./json.ts";
import { echo, refuseField, type WireError, wireError } from "./wire-error.ts";
import type { PayloadKind, WireEvent } from "./wire-event.ts";

/** How events travel on a connection; negotiated per connection, the same events either way. */
export type Encoding = "binary" | "json";

/** What becomes of an event whose type this build does not know. */
export type UnknownTypeAction = "drop" | "pass" | "reject";

/** One line of audit for each unknown type met; holds no payload. */
export interface UnknownTypeAudit {
  readonly action: UnknownTypeAction;
  /** Cut to a bounded length. */
  readonly type: string;
  readonly session: string;
  readonly eventId: string;
}

export interface DecodeOptions {
  /** Default reject. */
  readonly unknownTypes?: UnknownTypeAction;
  /** Told of every unknown type, whatever the action. */
  readonly audit?: (entry: UnknownTypeAudit) => void;
  /** Emitters this peer may speak as; others are refused. Default: all the closed set allows. */
  readonly emitters?: readonly string[];
}

export type Decoded =
  | { readonly outcome: "event"; readonly event: WireEvent; readonly known: boolean }
  | { readonly outcome: "dropped"; readonly audit: UnknownTypeAudit };

/** Decodes one event. Never throws: whatever comes in, the answer is an event, a declared drop, or an error. */
export function fromEnvelope(
  input: Uint8Array | string | Envelope,
  options: DecodeOptions = {},
): Result<Decoded, WireError> {
  if (typeof input === "string") return fromJsonText(input, options);
  if (!(input instanceof Uint8Array)) return fromMessage(input, options);
  const message = envelopeFromBinary(input);
  return message.ok ? fromMessage(message.value, options) : message;
}

/** Encodes a valid envelope. */
export function encodeEnvelope(message: Envelope, encoding: Encoding): Result<Uint8Array | string, WireError> {
  return encoding === "binary" ? envelopeToBinary(message) : envelopeToJson(message);
}

function fromJsonText(text: string, options: DecodeOptions): Result<Decoded, WireError> {
  const parsed = parseBoundedJson(text);
  if (!parsed.ok) return parsed;
  // A newer version may have fields unknown here: say so before complaining about them.
  const version = checkSchemaVersion(jsonVersion(parsed.value));
  if (version !== null) return err(version);
  const type = jsonUnknownPayload(parsed.value);
  if (type !== null) return unknownJson(parsed.value, type, options);
  const message = envelopeFromParsed(parsed.value);
  return message.ok ? fromMessage(message.value, options) : message;
}

/** A payload key nobody knows becomes an opaque payload, its JSON unread. */
function unknownJson(value: ParsedJson, type: string, options: DecodeOptions): Result<Decoded, WireError> {
  const { [type]: payload, ...rest } = value;
  const data = base64Encode(new TextEncoder().encode(JSON.stringify(payload)));
  const message = envelopeFromParsed({ ...rest, opaque: { type: echo(type), contentType: "application/json", data } });
  return message.ok ? fromMessage(message.value, options) : message;
}

function fromMessage(message: Envelope, options: DecodeOptions): Result<Decoded, WireError> {
  const version = checkSchemaVersion(message.schemaVersion);
  if (version !== null) return err(version);
  const newer = message.payload.case === undefined ? unknownField(message) : null;
  const decoded = eventOf(newer === null ? message : { ...message, payload: newer });
  if (!decoded.ok) return decoded;
  const event = decoded.value;
  if (event.payload.kind === "opaque") return unknownType(event, event.payload.type, options);
  if (event.payload.kind === "control" && options.emitters?.includes(event.payload.emitter) === false) {
    return refuseField(
      "control.emitter",
      "control.emitter",
      `this peer does not speak as ${event.payload.emitter}`,
      `use one of ${options.emitters.join(", ")}`,
    );
  }
  return ok({ outcome: "event", event, known: true });
}

/** A payload of a later minor version arrives as an unknown field of the message. */
function unknownField(message: Envelope): Envelope["payload"] | null {
  const [field] = message.$unknown ?? [];
  if (field === undefined) return null;
  return {
    case: "opaque",
    value: { $typeName: "rspp.event.v1.Opaque", type: `rspp.field-${field.no}`, contentType: "", data: field.data },
  };
}

function unknownType(event: WireEvent, type: string, options: DecodeOptions): Result<Decoded, WireError> {
  const action = options.unknownTypes ?? "reject";
  const audit: UnknownTypeAudit = { action, type: echo(type), session: event.session, eventId: event.eventId };
  options.audit?.(audit);
  if (action === "pass") return ok({ outcome: "event", event, known: false });
  if (action === "drop") return ok({ outcome: "dropped", audit });
  return err(wireError("unknown_event_type", { type: audit.type, event_id: echo(event.eventId) }));
}

/** Whether a subscriber to `kinds` sees the event (F-022). */
export function isKind(event: WireEvent, kinds: ReadonlySet<PayloadKind>): boolean {
  return kinds.has(event.payload.kind);
}
