/** The JSON encoding of an envelope (F-030), by the mapping of protobuf; it decodes to the same event as the binary one. */
import { fromJson, type JsonValue, toJsonString } from "@bufbuild/protobuf";
import { err, ok, type Result } from "@rspp/base/result";
import { type Envelope, EnvelopeSchema } from "@rspp/gen/rspp/event/v1/event_pb";
import { limits } from "./limits.ts";
import { echo, refuseField, type WireError, wireError } from "./wire-error.ts";

/** JSON text of a valid envelope. */
export function envelopeToJson(message: Envelope): Result<string, WireError> {
  const text = toJsonString(EnvelopeSchema, message);
  return text.length > limits.WIRE_JSON_CHARS_MAX ? tooLarge(text.length) : ok(text);
}

export type ParsedJson = { readonly [key: string]: JsonValue };

/** JSON text to an object, bounded in size and depth, holding no half characters (which binary could not carry). */
export function parseBoundedJson(text: string): Result<ParsedJson, WireError> {
  if (text.length > limits.WIRE_JSON_CHARS_MAX) return tooLarge(text.length);
  let value: JsonValue;
  try {
    value = JSON.parse(text) as JsonValue;
  } catch {
    return malformed("is no JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return malformed("is no JSON object");
  const problem = jsonProblem(value, 0);
  return problem === null ? ok(value) : malformed(problem);
}

function jsonProblem(value: JsonValue, depth: number): string | null {
  if (typeof value === "string") return value.isWellFormed() ? null : "holds half a surrogate pair";
  if (typeof value !== "object" || value === null) return null;
  if (depth >= limits.WIRE_JSON_DEPTH_MAX) return `nests deeper than ${limits.WIRE_JSON_DEPTH_MAX}`;
  const items = Array.isArray(value) ? value : Object.values(value);
  for (const item of items) {
    const problem = jsonProblem(item, depth + 1);
    if (problem !== null) return problem;
  }
  if (!Array.isArray(value) && Object.keys(value).some((key) => !key.isWellFormed()))
    return "holds half a surrogate pair";
  return null;
}

const known: ReadonlySet<string> = new Set(EnvelopeSchema.fields.flatMap((field) => [field.name, field.jsonName]));
const payloadKeys: ReadonlySet<string> = new Set(
  EnvelopeSchema.oneofs.flatMap((oneof) => oneof.fields.flatMap((field) => [field.name, field.jsonName])),
);

/** The schema version of a parsed envelope, before anything else of it is read; 0 when it has none. */
export function jsonVersion(value: ParsedJson): number {
  const version = own(value, "schemaVersion") ?? own(value, "schema_version");
  const number = typeof version === "string" && /^\d{1,10}$/.test(version) ? Number(version) : version;
  return typeof number === "number" && Number.isInteger(number) ? number : 0;
}

/** The name of a payload this build does not know: the only unknown key, in an object without a known payload. */
export function jsonUnknownPayload(value: ParsedJson): string | null {
  const keys = Object.keys(value);
  if (keys.some((key) => payloadKeys.has(key))) return null;
  const strange = keys.filter((key) => !known.has(key));
  const [only] = strange;
  if (only === undefined || strange.length !== 1) return null;
  return typeof own(value, only) === "object" ? only : null;
}

/** A parsed object to the message; an unknown field is refused by name. */
export function envelopeFromParsed(value: ParsedJson): Result<Envelope, WireError> {
  for (const key of Object.keys(value)) {
    if (!known.has(key)) {
      return refuseField(
        echo(key),
        "json.unknown_field",
        "is not a field of an event",
        "leave it out, or put it into extensions",
      );
    }
  }
  try {
    return ok(fromJson(EnvelopeSchema, value));
  } catch (error) {
    return malformed(fieldOf(error));
  }
}

/** The decoder's message begins with the field; what follows quotes the value, which may be payload. */
function fieldOf(error: unknown): string {
  const message = error instanceof Error ? error.message : "";
  const match = /cannot decode (?:field|message) ([\w.]+)/.exec(message);
  return match?.[1] === undefined ? "has a field of another type" : `${match[1]} has another type`;
}

function own(value: ParsedJson, key: string): JsonValue | undefined {
  return Object.hasOwn(value, key) ? value[key] : undefined;
}

function malformed(problem: string): { readonly ok: false; readonly error: WireError } {
  return err(wireError("malformed_frame", { encoding: "json", problem }));
}

function tooLarge(chars: number): { readonly ok: false; readonly error: WireError } {
  const metadata = { chars: String(chars), chars_max: String(limits.WIRE_JSON_CHARS_MAX) };
  return err(wireError("message_too_large", metadata));
}
