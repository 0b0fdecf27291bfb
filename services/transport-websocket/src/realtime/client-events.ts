/** The client's events as they are read: checked field by field, every refusal named (F-084). Pure. */
import { err, ok, type Result } from "@rspp/base/result";
import { parseBoundedJson } from "@rspp/wire/json";
import { echo } from "@rspp/wire/wire-error";
import { realtimeLimits as limits } from "./limits.ts";
import { invalid, type RealtimeProblem } from "./problem.ts";

export type Json = { readonly [key: string]: unknown };

export type ClientEvent =
  | { readonly type: "session.update"; readonly session: Json }
  | { readonly type: "input_audio_buffer.append"; readonly audio: Uint8Array }
  | { readonly type: "input_audio_buffer.commit" | "input_audio_buffer.clear" | "output_audio_buffer.clear" }
  | { readonly type: "conversation.item.create"; readonly item: Json }
  | { readonly type: "conversation.item.truncate"; readonly itemId: string; readonly audioEndMs: number }
  | { readonly type: "conversation.item.retrieve" | "conversation.item.delete"; readonly itemId: string }
  | { readonly type: "response.create"; readonly response: Json }
  | { readonly type: "response.cancel"; readonly responseId: string | null };

export interface ReadEvent {
  /** The client's own id of it, for the error that answers it. */
  readonly eventId: string | null;
  /** `garbage`: no event at all. */
  readonly event: Result<ClientEvent, RealtimeProblem & { readonly garbage?: true }>;
}

type Reader = (event: Json) => Result<ClientEvent, RealtimeProblem>;

const readers: Readonly<Record<string, Reader>> = {
  "session.update": (event) => withObject(event, "session", (session) => ok({ type: "session.update", session })),
  "input_audio_buffer.append": append,
  "input_audio_buffer.commit": () => ok({ type: "input_audio_buffer.commit" }),
  "input_audio_buffer.clear": () => ok({ type: "input_audio_buffer.clear" }),
  "output_audio_buffer.clear": () => ok({ type: "output_audio_buffer.clear" }),
  "conversation.item.create": (event) =>
    withObject(event, "item", (item) => ok({ type: "conversation.item.create", item })),
  "conversation.item.truncate": truncate,
  "conversation.item.retrieve": (event) =>
    withId(event, "item_id", (itemId) => ok({ type: "conversation.item.retrieve", itemId })),
  "conversation.item.delete": (event) =>
    withId(event, "item_id", (itemId) => ok({ type: "conversation.item.delete", itemId })),
  "response.create": (event) => {
    if (event.response === undefined || event.response === null) return ok({ type: "response.create", response: {} });
    return withObject(event, "response", (response) => ok({ type: "response.create", response }));
  },
  "response.cancel": (event) => {
    if (event.response_id === undefined || event.response_id === null)
      return ok({ type: "response.cancel", responseId: null });
    return withId(event, "response_id", (responseId) => ok({ type: "response.cancel", responseId }));
  },
};

/** Never throws. */
export function readClientEvent(text: string): ReadEvent {
  const parsed = parseBoundedJson(text);
  if (!parsed.ok) return garbage(null, "invalid_json", "The message is no JSON object; send one event per message.");
  const event: Json = parsed.value;
  const eventId = typeof event.event_id === "string" ? event.event_id.slice(0, limits.ID_CHARS_MAX) : null;
  if (typeof event.type !== "string")
    return garbage(eventId, "missing_required_parameter", "type is missing or no string; name the event.", "type");
  const reader = Object.hasOwn(readers, event.type) ? readers[event.type] : undefined;
  if (reader === undefined) {
    const said = `${echo(event.type)} is not an event of this endpoint; use one of ${Object.keys(readers).join(", ")}.`;
    return garbage(eventId, "invalid_value", said, "type");
  }
  return { eventId, event: reader(event) };
}

function garbage(eventId: string | null, code: string, message: string, param?: string): ReadEvent {
  return { eventId, event: err({ ...invalid(code, message, param), garbage: true }) };
}

function append(event: Json): Result<ClientEvent, RealtimeProblem> {
  const { audio } = event;
  if (typeof audio !== "string" || audio === "")
    return err(invalid("missing_required_parameter", "audio is missing; give Base64 of the input format.", "audio"));
  // Buffer passes over what is no Base64, silently.
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(audio) || audio.length % 4 !== 0)
    return err(
      invalid("invalid_value", "audio is not Base64 with padding; encode the bytes of whole samples.", "audio"),
    );
  const bytes = Buffer.from(audio, "base64");
  return ok({ type: "input_audio_buffer.append", audio: new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length) });
}

function truncate(event: Json): Result<ClientEvent, RealtimeProblem> {
  return withId(event, "item_id", (itemId) => {
    const { content_index: index, audio_end_ms: endMs } = event;
    if (index !== 0)
      return err(invalid("invalid_value", "content_index is not 0; items have one part, number 0.", "content_index"));
    if (typeof endMs !== "number" || !Number.isSafeInteger(endMs) || endMs < 0) {
      const said = "audio_end_ms is no whole number from 0; give the milliseconds that were played.";
      return err(invalid("invalid_value", said, "audio_end_ms"));
    }
    return ok({ type: "conversation.item.truncate", itemId, audioEndMs: endMs });
  });
}

function withId(
  event: Json,
  field: string,
  make: (id: string) => Result<ClientEvent, RealtimeProblem>,
): Result<ClientEvent, RealtimeProblem> {
  const id = event[field];
  if (typeof id === "string" && id !== "" && id.length <= limits.ID_CHARS_MAX) return make(id);
  const said = `${field} is missing, or no text of 1 to ${limits.ID_CHARS_MAX} characters.`;
  return err(invalid("missing_required_parameter", said, field));
}

function withObject(
  event: Json,
  field: string,
  make: (value: Json) => Result<ClientEvent, RealtimeProblem>,
): Result<ClientEvent, RealtimeProblem> {
  const value = objectOf(event[field]);
  if (value !== null) return make(value);
  return err(invalid("missing_required_parameter", `${field} is missing or no object.`, field));
}

export function objectOf(value: unknown): Json | null {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : null;
}
