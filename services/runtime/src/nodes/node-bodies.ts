/** Event bodies by handle, as the kernel has them, and by value, as foreign nodes do. */
import type { EventBody } from "@rspp/kernel/event";
import type { NodeBody } from "@rspp/ports/node-host";
import { limits } from "../limits.ts";
import { type PayloadStore, TAG_SESSION } from "../payload-store.ts";

/** The bytes are a copy: the node owns what it is given. Null where a payload is gone. */
export function toNode(body: EventBody, payloads: PayloadStore): NodeBody | null {
  switch (body.type) {
    case "audio": {
      const bytes = payloads.audio(body.payload.ref);
      if (bytes === null) return null;
      const { mediaUs, durationUs } = body;
      const { codec, rateHz, channels } = body.format;
      return { type: "audio", bytes: bytes.slice(), codec, rateHz, channels, mediaUs, durationUs };
    }
    case "text": {
      const { segment, revision, final, confidence, language } = body;
      return { type: "text", text: payloads.join(body.spans), segment, revision, final, confidence, language };
    }
    case "activity":
      return { ...body };
    case "messages": {
      // Calls and results of tools are between a model and its tools: they travel on no edge.
      const messages = body.messages.flatMap(({ role, spans }) =>
        role === "tool" ? [] : [{ role, text: payloads.join(spans) }],
      );
      return { type: "messages", messages };
    }
    case "end":
      return { type: "end" };
    case "metrics":
    case "debug":
    case "error":
      return null;
  }
}

/** The kernel refuses it, since no port declares it: counted and named there, and the same in a replay. */
const malformed: EventBody = { type: "error", code: "malformed_body" };

/** What a node says, with its payloads registered. Null where the session has no room for them. */
export function fromNode(body: NodeBody, turn: number, payloads: PayloadStore, stampNs: number): EventBody | null {
  switch (body?.type) {
    case "audio":
      return audioOf(body, turn, payloads, stampNs);
    case "text":
      return textOf(body, turn, payloads);
    case "activity": {
      const { speech, probability, mediaUs, durationUs } = body;
      const good = typeof speech === "boolean" && isShare(probability) && isCount(mediaUs) && isCount(durationUs);
      return good ? { type: "activity", speech, probability, mediaUs, durationUs } : malformed;
    }
    case "messages":
      return messagesOf(body, turn, payloads);
    case "metrics":
      return isName(body.name) && Number.isFinite(body.value)
        ? { type: "metrics", name: body.name, value: body.value }
        : malformed;
    default:
      return malformed;
  }
}

function audioOf(
  body: Extract<NodeBody, { type: "audio" }>,
  turn: number,
  payloads: PayloadStore,
  stampNs: number,
): EventBody | null {
  const { bytes, codec, rateHz, channels, mediaUs, durationUs } = body;
  const good = bytes instanceof Uint8Array && bytes.length <= limits.CHUNK_AUDIO_BYTES_MAX && isName(codec);
  if (!good || !isCount(rateHz) || !isCount(channels) || !isCount(durationUs) || !Number.isSafeInteger(mediaUs))
    return malformed;
  // Of the session: it goes when the caller's own audio of that time goes.
  const payload =
    turn === 0 ? payloads.putInputAudio(bytes, mediaUs + durationUs, stampNs) : payloads.putAudio(bytes, turn);
  if (payload === null) return null;
  const format = { codec, rateHz, channels };
  const none = { segment: -1, segmentEnd: false, segmentChars: 0, words: null };
  return { type: "audio", payload, format, durationUs, mediaUs, ...none };
}

function textOf(body: Extract<NodeBody, { type: "text" }>, turn: number, payloads: PayloadStore): EventBody | null {
  const { text, segment, revision, final, confidence, language } = body;
  if (!isText(text) || !isCount(segment) || !isCount(revision) || typeof final !== "boolean") return malformed;
  if (!isShare(confidence) || typeof language !== "string" || language.length > 35) return malformed;
  const spans = put(text, turn, payloads);
  if (spans === null) return null;
  return { type: "text", spans, chars: text.length, segment, revision, final, confidence, language };
}

function messagesOf(
  body: Extract<NodeBody, { type: "messages" }>,
  turn: number,
  payloads: PayloadStore,
): EventBody | null {
  const given = body.messages;
  if (!Array.isArray(given) || given.length > limits.NODE_MESSAGES_MAX) return malformed;
  if (!given.every(({ role, text }) => ["system", "user", "assistant"].includes(role) && isText(text)))
    return malformed;
  const messages: { role: "system" | "user" | "assistant"; spans: { ref: number; from: number; to: number }[] }[] = [];
  for (const { role, text } of given) {
    const spans = put(text, turn, payloads);
    if (spans === null) return null;
    messages.push({ role, spans });
  }
  return { type: "messages", messages };
}

function put(text: string, turn: number, payloads: PayloadStore): { ref: number; from: number; to: number }[] | null {
  const handle = payloads.putText(text, turn === 0 ? TAG_SESSION : turn);
  return handle === null ? null : [{ ref: handle.ref, from: 0, to: text.length }];
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value.length <= limits.CHUNK_TEXT_CHARS_MAX && value.isWellFormed();
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function isShare(value: unknown): boolean {
  return typeof value === "number" && value >= 0 && value <= 1;
}

function isName(value: unknown): value is string {
  return typeof value === "string" && /^[a-z][a-z0-9_.]{0,63}$/.test(value);
}
