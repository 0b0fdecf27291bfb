/**
 * The event inside one session (`kernel.md` §13). Session-constant envelope fields (tenant, session, pipeline
 * version, epoch) are not repeated here; `libs/wire` adds them at the edge.
 */
import type { MonoNs } from "@rspp/base/brand";

export const LANE_CONTROL = 0;
export const LANE_DATA = 1;
export const LANE_TELEMETRY = 2;
export type Lane = typeof LANE_CONTROL | typeof LANE_DATA | typeof LANE_TELEMETRY;
export const LANE_NAMES = ["control", "data", "telemetry"] as const;

/** Payload bytes stay in the shell; the kernel handles this. `ref` is positive for received, negative for derived payloads. */
export interface PayloadHandle {
  ref: number;
  /** Keyed hash per tenant; empty at recording level L0. */
  hash: string;
  bytes: number;
}

/** A range of a text payload, in UTF-16 code units, `to` exclusive. */
export interface TextSpan {
  ref: number;
  from: number;
  to: number;
}

export interface WordMark {
  from: number;
  to: number;
  startUs: number;
  endUs: number;
}

export interface AudioFormat {
  codec: string;
  rateHz: number;
  channels: number;
}

export interface AudioBody {
  type: "audio";
  payload: PayloadHandle;
  format: AudioFormat;
  durationUs: number;
  /** Media time of the first sample, microseconds, in the stream it belongs to. */
  mediaUs: number;
  /** Clause this synthesised audio speaks; -1 for caller audio. */
  segment: number;
  segmentEnd: boolean;
  segmentChars: number;
  words: readonly WordMark[] | null;
}

export interface TextBody {
  type: "text";
  spans: readonly TextSpan[];
  chars: number;
  segment: number;
  revision: number;
  final: boolean;
  confidence: number;
  language: string;
}

export interface ChatMessage {
  role: "system" | "user" | "assistant" | "tool";
  spans: readonly TextSpan[];
  /** Role assistant: the tools it called, with their arguments. */
  toolCalls?: readonly { callId: string; name: string; spans: readonly TextSpan[] }[];
  /** Role tool: the call that this is the result of. */
  callId?: string;
}

export interface MessagesBody {
  type: "messages";
  messages: readonly ChatMessage[];
}

/** Speech activity over one frame, from a VAD node. */
export interface ActivityBody {
  type: "activity";
  speech: boolean;
  probability: number;
  mediaUs: number;
  durationUs: number;
}

export interface MetricsBody {
  type: "metrics";
  name: string;
  value: number;
}

export interface DebugBody {
  type: "debug";
  text: string;
}

export interface ErrorBody {
  type: "error";
  code: string;
}

/** End of the stream of this turn at this port. */
export interface EndBody {
  type: "end";
}

export type EventBody =
  | AudioBody
  | TextBody
  | MessagesBody
  | ActivityBody
  | MetricsBody
  | DebugBody
  | ErrorBody
  | EndBody;
export type BodyType = EventBody["type"];

export interface KernelEvent {
  /** runtime_sequence: rises by one per event of the session. */
  seq: number;
  lane: typeof LANE_DATA | typeof LANE_TELEMETRY;
  /** Turn number; 0 for session scope. */
  turn: number;
  generation: number;
  utterance: number;
  /** Stamp of the input that caused it. */
  monoNs: MonoNs;
  /** seq of the causal parent; 0 for none. */
  cause: number;
  body: EventBody;
  /** Of an event that others were merged into: the group's number, and the first of the sequences it stands for. */
  merged?: MergeLineage;
  /** First event behind a loss in its sync domain: its consumer starts anew (F-146). */
  discontinuity?: number;
}

export interface MergeLineage {
  group: number;
  /** Bounded; `count` tells all. */
  from: readonly number[];
  count: number;
}

export function laneOf(type: BodyType): typeof LANE_DATA | typeof LANE_TELEMETRY {
  return type === "metrics" || type === "debug" ? LANE_TELEMETRY : LANE_DATA;
}
