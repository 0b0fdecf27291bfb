/** The closed union of what may enter a step (`kernel.md` §1). */
import type { MonoNs, WallMs } from "@rspp/base/brand";
import type { ProposalOptions } from "./dialogue-state.ts";
import type { AudioFormat, EventBody, PayloadHandle, TextSpan, WordMark } from "./event.ts";
import type { PolicyResolution } from "./policy.ts";
import type { RecordingLevel } from "./recording.ts";
import type { SnapshotRefs } from "./session-config.ts";
import type { TurnRate } from "./turn-rate.ts";

export type ProposalOrigin = "endpoint" | "timer" | "operator" | "api";

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

export interface Usage {
  inputTokens?: number;
  outputTokens?: number;
  audioUs?: number;
  characters?: number;
}

export interface IngressAudio {
  type: "audio";
  epoch: number;
  /** transport_sequence of the data lane. */
  sequence: number;
  mediaUs: number;
  durationUs: number;
  format: AudioFormat;
  payload: PayloadHandle;
  key: string;
}

export interface IngressControl {
  type: "control";
  epoch: number;
  sequence: number;
  signal: string;
  controlClass: "overtaking" | "positioned";
  lastMediaSequence: number;
  turn: number;
  reason: string;
  key: string;
  fields: Readonly<Record<string, string | number>> | null;
}

export interface DeliveryReport {
  type: "delivery";
  epoch: number;
  turn: number;
  generation: number;
  state: "accepted" | "started" | "progress" | "completed" | "cancelled" | "lost";
  playedUs: number;
}

export interface FenceAck {
  type: "fence_ack";
  epoch: number;
  turn: number;
  generation: number;
  playedUs: number;
  flushed: number;
}

export interface ChunkText {
  type: "text";
  payload: PayloadHandle;
  chars: number;
  segment: number;
  revision: number;
  final: boolean;
  confidence: number;
  language: string;
}

export interface ChunkAudio {
  type: "audio";
  payload: PayloadHandle;
  format: AudioFormat;
  durationUs: number;
  segment: number;
  segmentEnd: boolean;
  segmentChars: number;
  words: readonly WordMark[] | null;
}

export interface ProposalInput extends ProposalOptions {
  type: "proposal";
  origin: ProposalOrigin;
  key: string;
  say: { spans: readonly TextSpan[]; chars: number } | null;
  reason: string;
}

/** A language model calls a tool. The payload is its arguments, JSON as the model wrote it. */
export interface ChunkToolCall {
  type: "tool_call";
  payload: PayloadHandle;
  chars: number;
  /** The model's own name of the call. */
  callId: string;
  name: string;
}

export type InputBody =
  | IngressAudio
  | IngressControl
  | DeliveryReport
  | FenceAck
  | { type: "node_emitted"; command: number; index: number; port: string; body: EventBody }
  | { type: "node_done"; command: number }
  | { type: "node_failed"; command: number; reason: string }
  /** A custom node's instance has been through `init` and `start`. */
  | { type: "node_ready"; instance: number }
  /** `instance`: of a custom node, whose last word it is; reason `stopped` where it was asked and did so in order. */
  | { type: "node_stopped"; node: string; reason: string; instance?: number }
  | { type: "cancel_acked"; command: number }
  | { type: "provider_chunk"; invocation: number; index: number; chunk: ChunkText | ChunkAudio | ChunkToolCall }
  | { type: "provider_outcome"; invocation: number; outcome: OutcomeKind; detail: string; usage: Usage | null }
  | { type: "timer"; id: string }
  | {
      type: "authority";
      kind: "renewed" | "rotated" | "revoked" | "granted_elsewhere";
      epoch: number;
      deadlineNs: MonoNs;
    }
  | {
      type: "snapshot";
      refs: SnapshotRefs;
      usable: boolean;
      reason: string;
      /** What policy and provider health came to (F-056, F-060); null: the pipeline's own. Absent: as before. */
      resolution?: PolicyResolution | null;
      /** Turns a minute (F-050); null: no bound. Absent: as before. */
      rate?: TurnRate | null;
    }
  | {
      type: "capacity";
      admit: boolean;
      outcome: "defer" | "reject";
      reason: string;
      evidenceQuotaBytes: number;
      overload?: true;
    }
  | { type: "append_failed"; turn: number; exhausted: boolean }
  | { type: "recording_pressure"; fill: number; lagMs: number }
  /** An operator's capture (F-076) at `level`; "": none any longer, `expired` where its time has run out. */
  | { type: "recording_capture"; policyId: string; level: "" | RecordingLevel; expired: boolean }
  | ProposalInput
  | {
      type: "operator";
      command: "cancel_turn" | "cancel_session" | "drain" | "hang_up" | "end" | "migrate" | "migrate_now";
      turn: number;
      reason: string;
      /** Of a cancel; absent: as the session's policy says (F-041). */
      mode?: "hard" | "soft";
    };

export type InputType = InputBody["type"];

/** An input with the shell's stamp. */
export interface Input {
  /** Per-session input sequence, rises by one. */
  seq: number;
  monoNs: MonoNs;
  wallMs: WallMs;
  body: InputBody;
}

export interface Batch {
  /** Rises by one per step of the session. */
  index: number;
  /** Instant of the poll; equals or follows every input's stamp. */
  monoNs: MonoNs;
  wallMs: WallMs;
  inputs: readonly Input[];
}
