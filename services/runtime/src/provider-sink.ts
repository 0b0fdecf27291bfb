import type { ChunkAudio, ChunkText, ChunkToolCall, InputBody, OutcomeKind, Usage } from "@rspp/kernel/input";
import { TOOL_ARGUMENTS_CHARS_MAX, TOOL_CALL_NAME_CHARS_MAX } from "@rspp/kernel/limits";
import type { Invocation, InvocationChunk, InvocationOutcome, InvocationSink, Modality } from "@rspp/ports/provider";
import { limits } from "./limits.ts";
import { type PayloadStore, TAG_SESSION } from "./payload-store.ts";

export interface SinkHost {
  readonly payloads: PayloadStore;
  submit(body: InputBody): void;
  /** The session cannot go on. */
  fail(reason: string): void;
  chunkRefused(): void;
  /** Of the first good chunk. */
  firstOutput(invocation: number): void;
  outcomeSeen(invocation: number, outcome: OutcomeKind): void;
}

const outcomes: ReadonlySet<OutcomeKind> = new Set<OutcomeKind>([
  "success",
  "timeout",
  "overload",
  "unauthorized",
  "disconnect",
  "safety_block",
  "empty",
  "cancelled",
  "error",
]);

/** Turns what one invocation says into inputs; refuses and counts what it says after its outcome, or says wrongly. */
export class ProviderSink implements InvocationSink {
  handle: Invocation | null = null;
  readonly modality: Modality;
  /** Its work is not cut off when the session ends. */
  outlives = false;
  private readonly host: SinkHost;
  private readonly invocation: number;
  private readonly tag: number;
  private index = 0;
  private done = false;
  private gone = false;

  constructor(host: SinkHost, invocation: number, modality: Modality, turn: number) {
    this.host = host;
    this.invocation = invocation;
    this.modality = modality;
    // Transcripts outlive the turn they open; the kernel releases them by name.
    this.tag = modality === "stt" ? TAG_SESSION : turn;
  }

  /** The session is over: whatever still comes is nobody's. */
  abandon(): void {
    this.gone = true;
  }

  /** It has ignored its cancel: whatever still comes is refused and counted. */
  forget(): void {
    this.done = true;
  }

  chunk(chunk: InvocationChunk): void {
    if (this.gone) return;
    if (this.done || !isGoodChunk(chunk)) return this.host.chunkRefused();
    const taken = this.take(chunk);
    if (taken === null) return this.host.fail("payload_bytes_limit");
    if (this.index === 0) this.host.firstOutput(this.invocation);
    this.host.submit({ type: "provider_chunk", invocation: this.invocation, index: this.index++, chunk: taken });
  }

  outcome(outcome: InvocationOutcome): void {
    if (this.gone) return;
    if (this.done) return this.host.chunkRefused();
    this.done = true;
    const { kind, detail, usage } = outcome;
    const known = outcomes.has(kind);
    this.host.outcomeSeen(this.invocation, known ? kind : "error");
    this.host.submit({
      type: "provider_outcome",
      invocation: this.invocation,
      outcome: known ? kind : "error",
      detail:
        known && typeof detail === "string" ? detail.slice(0, limits.INGRESS_REASON_CHARS_MAX) : "unknown_outcome",
      usage: known ? usageOf(usage) : null,
    });
  }

  private take(chunk: InvocationChunk): ChunkText | ChunkAudio | ChunkToolCall | null {
    if (chunk.kind === "tool_call") return this.takeToolCall(chunk);
    return chunk.kind === "text" ? this.takeText(chunk) : this.takeAudio(chunk);
  }

  private takeToolCall(chunk: Extract<InvocationChunk, { kind: "tool_call" }>): ChunkToolCall | null {
    const { callId, name } = chunk;
    const payload = this.host.payloads.putText(chunk.arguments, this.tag);
    if (payload === null) return null;
    return { type: "tool_call", payload, chars: chunk.arguments.length, callId, name };
  }

  private takeText(chunk: Extract<InvocationChunk, { kind: "text" }>): ChunkText | null {
    const { text, segment, revision, final, confidence, language } = chunk;
    const payload = this.host.payloads.putText(text, this.tag);
    if (payload === null) return null;
    const chars = text.length;
    return {
      type: "text",
      payload,
      chars,
      segment,
      revision,
      final,
      confidence: confidence ?? 1,
      language: language ?? "",
    };
  }

  private takeAudio(chunk: Extract<InvocationChunk, { kind: "audio" }>): ChunkAudio | null {
    const { bytes, format, durationUs, segment, segmentEnd, segmentChars, words } = chunk;
    const payload = this.host.payloads.putAudio(bytes, this.tag);
    if (payload === null) return null;
    return { type: "audio", payload, format, durationUs, segment, segmentEnd, segmentChars, words: words ?? null };
  }
}

/** Only known fields are passed on, so that what is journaled is what was declared. */
function usageOf(usage: InvocationOutcome["usage"]): Usage | null {
  if (usage === undefined) return null;
  const { inputTokens, outputTokens, audioUs, characters } = usage;
  return {
    ...(inputTokens === undefined ? {} : { inputTokens }),
    ...(outputTokens === undefined ? {} : { outputTokens }),
    ...(audioUs === undefined ? {} : { audioUs }),
    ...(characters === undefined ? {} : { characters }),
  };
}

function isGoodChunk(chunk: InvocationChunk): boolean {
  const count = (n: unknown): boolean => Number.isSafeInteger(n) && Number(n) >= 0;
  if (chunk?.kind === "text") {
    const good = typeof chunk.text === "string" && chunk.text.length <= limits.CHUNK_TEXT_CHARS_MAX;
    return good && count(chunk.segment) && count(chunk.revision) && typeof chunk.final === "boolean";
  }
  if (chunk?.kind === "tool_call") {
    const short = (text: unknown): boolean => typeof text === "string" && text.length <= TOOL_CALL_NAME_CHARS_MAX;
    const args = typeof chunk.arguments === "string" && chunk.arguments.length <= TOOL_ARGUMENTS_CHARS_MAX;
    return args && short(chunk.callId) && short(chunk.name);
  }
  if (chunk?.kind !== "audio" || !(chunk.bytes instanceof Uint8Array)) return false;
  if (chunk.bytes.length > limits.CHUNK_AUDIO_BYTES_MAX || (chunk.words?.length ?? 0) > limits.CHUNK_WORDS_MAX)
    return false;
  const { format } = chunk;
  const goodFormat = typeof format?.codec === "string" && count(format.rateHz) && count(format.channels);
  return goodFormat && count(chunk.durationUs) && count(chunk.segment) && count(chunk.segmentChars);
}
