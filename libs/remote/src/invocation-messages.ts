/** Messages of `rspp.provider.v1` <-> the values of the provider port. */
import { create, type JsonObject, type JsonValue, type MessageInitShape } from "@bufbuild/protobuf";
import { err, ok } from "@rspp/base/result";
import type { Audio, AudioFormat as AudioFormatMessage } from "@rspp/gen/rspp/event/v1/audio_pb";
import { Modality as WireModality } from "@rspp/gen/rspp/pipeline/v1/provider_binding_pb";
import {
  type InputChunk,
  type InputChunkSchema,
  type OutputChunk,
  OutputChunkSchema,
  type InvocationOpen as WireOpen,
  type InvocationOutcome as WireOutcome,
} from "@rspp/gen/rspp/provider/v1/invocation_pb";
import {
  type InvokeRequest,
  InvokeRequestSchema,
  type InvokeResponse,
} from "@rspp/gen/rspp/provider/v1/provider_service_pb";
import type {
  AudioFormat,
  InvocationChunk,
  InvocationInput,
  InvocationOpen,
  InvocationOutcome,
  Modality,
  OutcomeKind,
  SettingValue,
  WordTiming,
} from "@rspp/ports/provider";
import { codecNames, outcomeNames } from "@rspp/wire/names";
import type { InvocationOrigin } from "./invocation-api.ts";
import { capsFromWire, capsToWire } from "./invocation-caps.ts";
import {
  conversationBytes,
  conversationFromWire,
  conversationToWire,
  type Fit,
  type SizedOutput,
  toolCallToWire,
} from "./invocation-conversation.ts";
import { invocationLimits as limits } from "./invocation-limits.ts";

type InputInit = MessageInitShape<typeof InputChunkSchema>["input"];

const modalities: Readonly<Record<Modality, WireModality>> = {
  stt: WireModality.STT,
  llm: WireModality.LLM,
  tts: WireModality.TTS,
  tool: WireModality.TOOL,
};

export function modalityToWire(modality: Modality): WireModality {
  return modalities[modality];
}

/** Undefined for what the port does not know, e.g. voice activity. */
export function modalityFromWire(modality: WireModality): Modality | undefined {
  const found = Object.entries(modalities).find(([, wire]) => wire === modality);
  return found?.[0] as Modality | undefined;
}

// --- open ---

export function openToWire(request: InvocationOpen, origin: InvocationOrigin): Fit<InvokeRequest> {
  const settings = settingsToWire(request.settings);
  if (!settings.ok) return settings;
  const value = {
    invocationId: request.invocationId,
    session: { tenantId: request.tenantId || origin.tenantId, sessionId: request.sessionId },
    authorityEpoch: BigInt(request.epoch),
    turnNumber: request.turn,
    fenceGeneration: request.generation,
    nodeId: origin.nodeId,
    attempt: origin.attempt,
    modality: modalityToWire(request.modality),
    candidate: { provider: request.provider, settings: settings.value },
    firstOutputTimeoutMs: Math.round(request.attemptTimeoutMs),
    idempotencyKey: request.idempotencyKey,
    ...(request.caps === undefined ? {} : { budget: capsToWire(request.caps) }),
  };
  return ok(create(InvokeRequestSchema, { message: { case: "open", value } }));
}

function settingsToWire(settings: Readonly<Record<string, SettingValue>>): Fit<JsonObject> {
  const out: JsonObject = {};
  if (Object.keys(settings).length > limits.SETTINGS_MAX) return err(`more than ${limits.SETTINGS_MAX} settings`);
  for (const [name, value] of Object.entries(settings)) {
    const list = Array.isArray(value) && value.every((item) => typeof item === "string");
    const scalar = typeof value === "string" || typeof value === "boolean" || Number.isFinite(value);
    if (!list && !scalar) return err(`setting \`${name}\` must be a string, number, boolean or list of strings`);
    out[name] = value as JsonValue;
  }
  return ok(out);
}

/** An open message that its contract allows. */
export function openFromWire(open: WireOpen): Fit<InvocationOpen> {
  const modality = modalityFromWire(open.modality);
  if (modality === undefined) return err("open.modality: this gateway serves stt, llm, tts and tool");
  const { provider = "", model = "", secretRef = "", settings = {} } = open.candidate ?? {};
  // A model or key of the candidate is the setting of that name; a setting of its own wins.
  const all: Record<string, JsonValue> = { ...(model ? { model } : {}), ...(secretRef ? { api_key: secretRef } : {}) };
  return ok({
    invocationId: open.invocationId,
    modality,
    provider,
    // What is no setting is refused by the gateway, by name.
    settings: { ...all, ...settings } as Record<string, SettingValue>,
    attemptTimeoutMs: open.firstOutputTimeoutMs,
    idempotencyKey: open.idempotencyKey,
    tenantId: open.session?.tenantId ?? "",
    sessionId: open.session?.sessionId ?? "",
    ...capsFromWire(open.budget),
    epoch: Number(open.authorityEpoch),
    turn: open.turnNumber,
    generation: open.fenceGeneration,
  });
}

// --- input ---

export interface SizedInput {
  readonly input: NonNullable<InputInit>;
  /** For credit. */
  readonly bytes: number;
}

/** One input as messages; audio too long for one is cut between samples. */
export function inputToWire(input: InvocationInput): Fit<readonly SizedInput[]> {
  switch (input.kind) {
    case "audio":
      return audioToWire(input);
    case "text": {
      const { text, segment } = input;
      if (text.length > limits.TEXT_CHARS_MAX)
        return err(`a clause is longer than ${limits.TEXT_CHARS_MAX} characters`);
      return ok([{ input: { case: "text", value: { text, segment } }, bytes: Buffer.byteLength(text) }]);
    }
    case "messages": {
      const conversation = conversationToWire(input);
      if (!conversation.ok) return conversation;
      const { messages, bytes } = conversation.value;
      if (messages.length === 0 || messages.length > 1_024) return err("a conversation has 1 to 1024 messages");
      if (messages.some(({ text }) => text.length > 65_536)) return err("a message is longer than 65536 characters");
      if (bytes > limits.CONVERSATION_BYTES_MAX) {
        return err(`a conversation is longer than ${limits.CONVERSATION_BYTES_MAX} bytes`);
      }
      return ok([{ input: { case: "conversation", value: conversation.value }, bytes }]);
    }
  }
}

type AudioInput = Extract<InvocationInput, { kind: "audio" }>;

function audioToWire({ bytes, format, durationUs }: AudioInput): Fit<readonly SizedInput[]> {
  const codec = codecNames.number(format.codec);
  if (codec === undefined) return err("audio: the codec is none of pcm_s16le, mulaw, alaw, opus");
  const shape = { codec, sampleRateHz: format.rateHz, channels: format.channels };
  const sampleBytes = format.codec === "pcm_s16le" ? 2 : 1;
  const frameBytes = sampleBytes * format.channels;
  const lastingBytes = (format.rateHz * frameBytes * limits.AUDIO_CHUNK_MS_MAX) / 1_000;
  // An Opus packet is small and cannot be cut.
  const most =
    format.codec === "opus" ? limits.AUDIO_CHUNK_BYTES_MAX : Math.min(limits.AUDIO_CHUNK_BYTES_MAX, lastingBytes);
  const pieceBytes = Math.max(frameBytes, Math.floor(most / frameBytes) * frameBytes);
  if (format.codec === "opus" && bytes.length > pieceBytes)
    return err(`an Opus packet is longer than ${pieceBytes} bytes`);
  const pieces: SizedInput[] = [];
  for (let from = 0; from === 0 || from < bytes.length; from += pieceBytes) {
    // Copied: it may wait for credit, and the caller's bytes are the caller's. `slice` of a Buffer would not copy.
    const data = new Uint8Array(bytes.subarray(from, from + pieceBytes));
    const share = bytes.length === 0 ? 1 : data.length / bytes.length;
    const value = { format: shape, data, durationUs: Math.round(durationUs * share) };
    pieces.push({ input: { case: "audio", value }, bytes: data.length });
  }
  return ok(pieces);
}

/** Bytes that count for credit. */
export function inputBytes({ input }: InputChunk): number {
  if (input.case === "audio") return input.value.data.length;
  if (input.case === "text") return Buffer.byteLength(input.value.text);
  return input.value === undefined ? 0 : conversationBytes(input.value.messages);
}

/** Near the size of a request on the wire. */
export function requestBytes({ message }: InvokeRequest): number {
  if (message.case === "input") return inputBytes(message.value) + 64;
  return message.case === "open" ? settingsBytes(message.value.candidate?.settings) + 512 : 32;
}

/** Near the size of a response on the wire. */
export function responseBytes({ message }: InvokeResponse): number {
  if (message.case === "output") return outputBytes(message.value) + message.value.words.length * 24 + 64;
  return message.case === "accepted" ? 2_048 : 512;
}

/** Lists are counted; objects no setting may be. */
function settingsBytes(settings: JsonObject | undefined): number {
  let bytes = 0;
  for (const [name, value] of Object.entries(settings ?? {})) {
    bytes += name.length * 3 + 16;
    for (const one of Array.isArray(value) ? value : [value]) bytes += typeof one === "string" ? one.length * 3 : 16;
  }
  return bytes;
}

/** An input that its contract allows, for a provider of `modality`. */
export function inputFromWire({ input }: InputChunk, modality: Modality): Fit<InvocationInput> {
  const wanted = { stt: "audio", tts: "text", tool: "text", llm: "conversation" }[modality];
  if (input.case !== wanted) return err(`input: ${modality} takes ${wanted}`);
  switch (input.case) {
    case "audio":
      return ok({ kind: "audio", ...audioFromWire(input.value) });
    case "text":
      return ok({ kind: "text", text: input.value.text, segment: input.value.segment });
    case "conversation":
      return conversationFromWire(input.value);
    default:
      return err("input: not set");
  }
}

/** The bytes are the caller's own: those of a message are part of what the connection read. */
function audioFromWire(audio: Audio): { bytes: Uint8Array; format: AudioFormat; durationUs: number } {
  return { bytes: new Uint8Array(audio.data), format: formatFromWire(audio.format), durationUs: audio.durationUs };
}

function formatFromWire(format: AudioFormatMessage | undefined): AudioFormat {
  return {
    codec: codecNames.name(format?.codec ?? 0) as AudioFormat["codec"],
    rateHz: format?.sampleRateHz ?? 0,
    channels: format?.channels ?? 0,
  };
}

// --- output ---

/** Text of an LLM goes as revisions too: the next tokens with their count, so that nothing of the port is lost. */
export function chunkToWire(chunk: InvocationChunk): Fit<SizedOutput> {
  if (chunk.kind === "text") {
    const { kind: _, endpoint = false, words = [], ...text } = chunk;
    if (text.text.length > limits.TEXT_CHARS_MAX)
      return err(`the provider's text is longer than ${limits.TEXT_CHARS_MAX} characters`);
    const value = { ...text, words: words.slice(0, limits.WORDS_MAX) };
    const output = create(OutputChunkSchema, { output: { case: "text", value }, segmentEnd: value.final, endpoint });
    return ok({ output, bytes: Buffer.byteLength(text.text) });
  }
  if (chunk.kind === "tool_call") return toolCallToWire(chunk);
  const { bytes, format, durationUs, segment, segmentEnd, segmentChars, words } = chunk;
  const codec = codecNames.number(format.codec);
  if (codec === undefined || bytes.length > limits.AUDIO_CHUNK_BYTES_MAX) {
    return err(`the provider's audio has another codec, or more than ${limits.AUDIO_CHUNK_BYTES_MAX} bytes a chunk`);
  }
  const shape = { codec, sampleRateHz: format.rateHz, channels: format.channels };
  const output = create(OutputChunkSchema, {
    output: { case: "audio", value: { format: shape, data: new Uint8Array(bytes), durationUs, segment } },
    segmentEnd,
    segmentCharacters: segmentChars,
    ...(words === undefined ? {} : { words: [...words] }),
  });
  return ok({ output, bytes: bytes.length });
}

export function outputBytes({ output }: OutputChunk): number {
  if (output.case === "audio") return output.value.data.length;
  if (output.case === "toolCall") return Buffer.byteLength(output.value.argumentsJson);
  return output.case === "text" || output.case === "delta" ? Buffer.byteLength(output.value.text) : 0;
}

/** `deltas`: tokens that came before as deltas, which count as revisions. */
export function chunkFromWire(chunk: OutputChunk, deltas: number): Fit<InvocationChunk> {
  const { output, segmentEnd, segmentCharacters: segmentChars, words } = chunk;
  switch (output.case) {
    case "text": {
      const { text, segment, revision, final, confidence, language } = output.value;
      const more = {
        ...(confidence === undefined ? {} : { confidence }),
        ...(language === "" ? {} : { language }),
        ...timingsFromWire(output.value.words),
        ...(chunk.endpoint ? { endpoint: true } : {}),
      };
      return ok({ kind: "text", text, segment, revision, final, ...more });
    }
    case "delta":
      return ok({ kind: "text", text: output.value.text, segment: 0, revision: deltas, final: false });
    case "toolCall": {
      const { id, name, argumentsJson } = output.value;
      return ok({ kind: "tool_call", callId: id, name, arguments: argumentsJson });
    }
    case "audio": {
      const audio = audioFromWire(output.value);
      if (audio.format.codec === ("" as string)) return err("audio of a codec nobody knows here");
      const timings = timingsFromWire(words);
      return ok({ kind: "audio", ...audio, segment: output.value.segment ?? 0, segmentEnd, segmentChars, ...timings });
    }
    default:
      return err("an output of a kind this runtime does not take");
  }
}

function timingsFromWire(words: readonly WordTiming[]): { words?: WordTiming[] } {
  if (words.length === 0) return {};
  return { words: words.map(({ from, to, startUs, endUs }) => ({ from, to, startUs, endUs })) };
}

// --- outcome ---

export function outcomeFromWire({ kind, detail, usage }: WireOutcome): InvocationOutcome {
  const name = outcomeNames.name(kind);
  if (name === "") return { kind: "error", detail: "the gateway sent an outcome nobody knows here" };
  const counts = {
    ...(usage?.inputTokens ? { inputTokens: Number(usage.inputTokens) } : {}),
    ...(usage?.outputTokens ? { outputTokens: Number(usage.outputTokens) } : {}),
    ...(usage?.audioUs ? { audioUs: Number(usage.audioUs) } : {}),
    ...(usage?.characters ? { characters: Number(usage.characters) } : {}),
  };
  return { kind: name as OutcomeKind, detail, ...(Object.keys(counts).length > 0 ? { usage: counts } : {}) };
}
