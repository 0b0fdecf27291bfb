/** Messages of Twilio Media Streams, both ways: https://www.twilio.com/docs/voice/media-streams/websocket-messages. */
import { err, ok, type Result } from "@rspp/base/result";
import { fieldProblem, type Problem } from "@rspp/transport/problem";
import { limits } from "../limits.ts";

export interface StartMessage {
  readonly event: "start";
  readonly streamSid: string;
  readonly callSid: string;
  readonly accountSid: string;
  readonly parameters: Readonly<Record<string, string>>;
}

export type CarrierMessage =
  | { readonly event: "connected" }
  | StartMessage
  | {
      readonly event: "media";
      readonly streamSid: string;
      readonly track: string;
      readonly chunk: number;
      readonly timestampMs: number;
      readonly payload: Uint8Array;
    }
  | { readonly event: "dtmf"; readonly streamSid: string; readonly digit: string }
  | { readonly event: "mark"; readonly streamSid: string; readonly name: string }
  | { readonly event: "stop"; readonly streamSid: string };

type Fields = Readonly<Record<string, unknown>>;
type Parsed = Result<CarrierMessage, Problem>;

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
const DIGIT = /^[0-9A-D*#]$/;
const SID_CHARS_MAX = 64;

/** One message as it came; every refusal names the field and what to do. Fields that are not known are passed over. */
export function parseCarrierMessage(text: string): Parsed {
  const message = parsedObject(text);
  if (message === null) {
    return err({ reason: "malformed_frame", remedy: "Send messages of Twilio Media Streams: one JSON object each." });
  }
  const { event, streamSid } = message;
  if (event === "connected") return connected(message);
  if (typeof event !== "string" || !Object.hasOwn(readers, event)) {
    return err({
      reason: "unknown_event_type",
      remedy: `Send one of ${["connected", ...Object.keys(readers)].join(", ")}.`,
    });
  }
  if (!isText(streamSid, SID_CHARS_MAX))
    return bad("streamSid", "is no text of 1 to 64 characters", "send the stream's SID");
  const body = message[event];
  if (!isObject(body)) return bad(event, "is not there", `send the ${event} object`);
  return readers[event as keyof typeof readers](body, streamSid);
}

const readers = { start, media, dtmf, mark, stop } as const;

function connected({ protocol }: Fields): Parsed {
  if (protocol !== undefined && protocol !== "Call") return bad("protocol", "is not Call", "connect a call's stream");
  return ok({ event: "connected" });
}

function start({ callSid, accountSid, mediaFormat, tracks, customParameters = {} }: Fields, streamSid: string): Parsed {
  if (!isText(callSid, SID_CHARS_MAX)) return bad("start.callSid", "is no text", "send the call's SID");
  if (!isObject(mediaFormat)) return bad("start.mediaFormat", "is not there", "send the stream's format");
  const { encoding, sampleRate, channels } = mediaFormat;
  if (encoding !== "audio/x-mulaw") return bad("start.mediaFormat.encoding", "is not audio/x-mulaw", "send mu-law");
  if (Number(sampleRate) !== 8_000 || Number(channels) !== 1) {
    return bad("start.mediaFormat.sampleRate", "is not 8000 Hz, one channel", "send mu-law at 8000 Hz");
  }
  if (Array.isArray(tracks) && !tracks.includes("inbound")) {
    return bad("start.tracks", "lacks the inbound track", "use <Connect><Stream>, which sends it");
  }
  if (!isObject(customParameters)) return bad("start.customParameters", "is no object", "send names and values");
  const entries = Object.entries(customParameters);
  if (entries.length > limits.PARAMETERS_MAX || entries.some(([, value]) => typeof value !== "string")) {
    return bad("start.customParameters", "are too many, or no texts", `send at most ${limits.PARAMETERS_MAX} texts`);
  }
  const parameters = Object.fromEntries(entries) as Record<string, string>;
  const account = isText(accountSid, SID_CHARS_MAX) ? accountSid : "";
  return ok({ event: "start", streamSid, callSid, accountSid: account, parameters });
}

function media({ track, chunk, timestamp, payload }: Fields, streamSid: string): Parsed {
  const number = wholeOf(chunk);
  if (number === null || number < 1) return bad("media.chunk", "is no number from 1", "number the chunks of a track");
  const timestampMs = wholeOf(timestamp);
  if (timestampMs === null) return bad("media.timestamp", "is no number of milliseconds", "send the time of its start");
  const tooLong = (limits.PAYLOAD_BYTES_MAX * 4) / 3 + 4;
  if (typeof payload !== "string" || payload.length > tooLong || !BASE64.test(payload)) {
    return bad("media.payload", "is no base64 of at most 16000 bytes", "send mu-law audio in base64");
  }
  const bytes = new Uint8Array(Buffer.from(payload, "base64"));
  if (bytes.length === 0) return bad("media.payload", "is empty", "send no message where there is no audio");
  const name = typeof track === "string" ? track : "inbound";
  return ok({ event: "media", streamSid, track: name, chunk: number, timestampMs, payload: bytes });
}

function dtmf({ digit }: Fields, streamSid: string): Parsed {
  const key = typeof digit === "string" ? digit.toUpperCase() : "";
  if (!DIGIT.test(key)) return bad("dtmf.digit", "is no key of a telephone", "send one of 0-9, A-D, *, #");
  return ok({ event: "dtmf", streamSid, digit: key });
}

function mark({ name }: Fields, streamSid: string): Parsed {
  return isText(name, 256)
    ? ok({ event: "mark", streamSid, name })
    : bad("mark.name", "is no text", "send a mark back as it came");
}

function stop(_body: Fields, streamSid: string): Parsed {
  return ok({ event: "stop", streamSid });
}

export function mediaMessage(streamSid: string, payload: Uint8Array): string {
  const encoded = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString("base64");
  return JSON.stringify({ event: "media", streamSid, media: { payload: encoded } });
}

export function markMessage(streamSid: string, name: string): string {
  return JSON.stringify({ event: "mark", streamSid, mark: { name } });
}

export function clearMessage(streamSid: string): string {
  return JSON.stringify({ event: "clear", streamSid });
}

function bad(field: string, message: string, remedy: string): Parsed {
  return err(fieldProblem(field, "media_streams", message, remedy));
}

function parsedObject(text: string): Fields | null {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isText(value: unknown, charsMax: number): value is string {
  return typeof value === "string" && value.length > 0 && value.length <= charsMax;
}

/** Numbers come as texts. */
function wholeOf(value: unknown): number | null {
  const number = typeof value === "string" && /^\d{1,12}$/.test(value) ? Number(value) : value;
  return typeof number === "number" && Number.isSafeInteger(number) && number >= 0 ? number : null;
}
