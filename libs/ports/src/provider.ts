/**
 * The in-process form of `rspp.provider.v1`: one invocation stream for STT, LLM and TTS alike (F-055, F-160).
 * Calls never throw for operating errors; they end in exactly one outcome.
 */

export type Modality = "stt" | "llm" | "tts" | "tool";
export type SettingValue = string | number | boolean | readonly string[];

export interface AudioFormat {
  codec: "pcm_s16le" | "mulaw" | "alaw" | "opus";
  rateHz: number;
  channels: number;
}

export interface InvocationOpen {
  /** Unique within the session; names the invocation in events, logs and evidence. */
  invocationId: string;
  modality: Modality;
  /** Chosen candidate, e.g. `local/flite`, `local/pocketsphinx`, `local/responder`, `openai/chat`, `sim/tts`. */
  provider: string;
  /** Frozen settings of the plan: voice, language, rate, prompt, grammar, model, and sim options. */
  settings: Readonly<Record<string, SettingValue>>;
  /** Milliseconds within which the first chunk should arrive; the kernel's own timer decides. */
  attemptTimeoutMs: number;
  idempotencyKey: string;
  /** Whose session it is: ids are unique within a tenant only. Default "". */
  tenantId?: string;
  sessionId: string;
  epoch: number;
  /** Turn number; 0 for session-scoped work (recognition, speculation). */
  turn: number;
  generation: number;
  /** What it may use, by the control plane's policy (F-058); the gateway enforces it. */
  caps?: InvocationCaps;
  /** Text headers of the call, e.g. `traceparent`; what is done with them changes nothing of the outcome. */
  headers?: Readonly<Record<string, string>>;
}

/** Bounds of one invocation; absent: none. */
export interface InvocationCaps {
  /** LLM: read and made. */
  tokens?: number;
  /** STT: milliseconds of audio. */
  audioMs?: number;
  /** TTS. */
  ttsCharacters?: number;
  /** Millionths of money, where the gateway knows the price. */
  costMicros?: number;
  /** Truncate: what fits is done, and the outcome says so. Refuse: it fails with outcome `error`. */
  onExceeded: "truncate" | "refuse";
}

/** Begins the detail of the outcome of an invocation that met a cap; the unit follows. */
export const CAP_REACHED = "cap_reached:";

export interface WordTiming {
  /** Character offsets in the text of the segment: `from` inclusive, `to` exclusive. */
  from: number;
  to: number;
  /** Microseconds from the start of the segment's audio. */
  startUs: number;
  endUs: number;
}

/** A tool that a language model may call. */
export interface ToolOffer {
  name: string;
  description: string;
  /** JSON Schema of the arguments, as JSON. */
  parameters: string;
}

export interface ToolCall {
  /** The model's own name of the call; unique within its conversation. */
  callId: string;
  name: string;
  /** JSON as the model wrote it, which may be none. */
  arguments: string;
}

export interface ChatMessage {
  role: "system" | "user" | "assistant" | "tool";
  text: string;
  /** Role assistant: tools it called. */
  toolCalls?: readonly ToolCall[];
  /** Role tool: the call that the text is the result of. */
  callId?: string;
}

export type InvocationInput =
  | { kind: "audio"; bytes: Uint8Array; format: AudioFormat; durationUs: number }
  /** TTS: one clause to speak. `segment` counts clauses from 0. Tool: its arguments as JSON, once, segment 0. */
  | { kind: "text"; text: string; segment: number }
  /** LLM: the conversation so far, oldest first, and the tools it may call. Sent once, before `finish`. */
  | { kind: "messages"; messages: readonly ChatMessage[]; tools?: readonly ToolOffer[] };

export type InvocationChunk =
  /** LLM: it calls a tool. Told whole, after the text that came before it. */
  | ({ kind: "tool_call" } & ToolCall)
  /** STT: `text` replaces the segment's text so far (revision rises); LLM: the next token(s); tool: of its result. */
  | {
      kind: "text";
      text: string;
      segment: number;
      revision: number;
      final: boolean;
      confidence?: number;
      language?: string;
      /** STT, where the recogniser tells them: microseconds from the start of the invocation's audio. */
      words?: readonly WordTiming[];
      /** STT: the recogniser takes the caller to have finished speaking here; a hint for endpointing. */
      endpoint?: boolean;
    }
  /**
   * TTS: audio of `segment` (the pushed clause). Word timings come with its first or a later chunk, and again where the
   * engine tells them as it speaks: a later list, which begins with the one before, replaces it. Omitted when it gives none.
   */
  | {
      kind: "audio";
      bytes: Uint8Array;
      format: AudioFormat;
      durationUs: number;
      segment: number;
      segmentEnd: boolean;
      /** Length in characters of the clause this audio speaks. */
      segmentChars: number;
      words?: readonly WordTiming[];
    };

export type OutcomeKind =
  | "success"
  | "timeout"
  | "overload"
  | "unauthorized"
  | "disconnect"
  | "safety_block"
  | "empty"
  | "cancelled"
  | "error";

export interface InvocationOutcome {
  kind: OutcomeKind;
  /** Short static reason for logs and evidence; never payload text, never a secret. */
  detail: string;
  usage?: { inputTokens?: number; outputTokens?: number; audioUs?: number; characters?: number };
}

export interface InvocationSink {
  chunk(chunk: InvocationChunk): void;
  /** Exactly once; chunks after it are refused and counted by the shell. */
  outcome(outcome: InvocationOutcome): void;
}

export interface Invocation {
  push(input: InvocationInput): void;
  /** No more input: STT finalises at once, LLM and TTS run to their end. */
  finish(): void;
  /** Stops the work; the outcome `cancelled` follows at once. Idempotent. */
  cancel(reason: string): void;
}

export interface Provider {
  /** Name used by candidates, e.g. `local/flite`. */
  readonly name: string;
  readonly modality: Modality;
  open(request: InvocationOpen, sink: InvocationSink): Invocation;
}

/** The provider gateway as the runtime sees it, library or service. */
export interface ProviderPort {
  /** An unknown provider ends in outcome `error` with the known names in the detail. */
  open(request: InvocationOpen, sink: InvocationSink): Invocation;
  /** Names that can be opened now, e.g. to say which recogniser serves. */
  providers(): readonly string[];
  close(): Promise<void>;
}
