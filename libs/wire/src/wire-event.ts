/**
 * An event in full, as a plain value (kernel.md §13): what `fromEnvelope` gives and `toEnvelope` takes. Names are the
 * kernel's; numbers are safe integers; bytes are the payload's own and are never copied.
 */
import type { AudioFormat, WordMark } from "@rspp/kernel/event";
import type { SessionConstants } from "@rspp/protocol/link-types";

export type { SessionConstants } from "@rspp/protocol/link-types";

export type LaneName = "control" | "data" | "telemetry";
export type PayloadClassName = "pii" | "phi" | "raw_audio" | "raw_text" | "derived_summary" | "metadata";
export type HandlingName = "allow" | "mask" | "hash" | "drop" | "tokenise";

/** Media time: samples per channel at a rate, or microseconds; from the start of the stream or of the turn's output. */
export type WireMediaTime =
  | { readonly kind: "samples"; readonly index: number; readonly rateHz: number }
  | { readonly kind: "pts"; readonly us: number };

export interface WireExtension {
  readonly contentType: string;
  readonly data: Uint8Array;
}

export interface WireAudio {
  kind: "audio";
  format: AudioFormat;
  /** Empty with a bare end mark. */
  bytes: Uint8Array;
  durationUs: number;
  /** The last chunk of the turn's or utterance's audio. */
  end: boolean;
  /** Clause it speaks; -1 for none. */
  segment: number;
}

export interface WireText {
  kind: "text";
  text: string;
  segment: number;
  revision: number;
  final: boolean;
  role: "" | "user" | "assistant" | "system" | "tool";
  language: string;
  /** 0 to 1 in single precision; null when the engine gives none. */
  confidence: number | null;
  words: readonly WordMark[];
}

export interface WireControl {
  kind: "control";
  signal: string;
  emitter: string;
  /** The kernel's scope; "session" or "turn" where the table has a dash. */
  scope: string;
  reason: string;
  /** Words for people; nobody matches them. */
  reasonDetail: string;
  /** By the kernel's names, `scope` meaning what a cancel cancels. Ids are text; budgetLeft is milliseconds. */
  fields: Readonly<Record<string, string | number>>;
}

export interface WireMetricSample {
  name: string;
  kind: "counter" | "gauge" | "duration";
  value: number;
  nodeId: string;
  edgeId: string;
  labels: Readonly<Record<string, string>>;
}

export interface WireMetrics {
  kind: "metrics";
  samples: readonly WireMetricSample[];
}

export interface WireDebug {
  kind: "debug";
  topic: string;
  message: string;
  fields: Readonly<Record<string, string>>;
}

export interface WireFieldViolation {
  field: string;
  rule: string;
  message: string;
  file: string;
  line: number;
  column: number;
}

export interface WireErrorPayload {
  kind: "error";
  /** Entry of the catalogue, e.g. `provider_timeout`. */
  code: string;
  domain: string;
  metadata: Readonly<Record<string, string>>;
  violations: readonly WireFieldViolation[];
  remedy: string;
  retryAfterMs: number;
  /** What was done about it; "" unknown. */
  action: string;
  causedByEventId: string;
}

/** An event of a type this build does not know; handed on only where the action is `pass` (F-020). */
export interface WireOpaque {
  kind: "opaque";
  type: string;
  contentType: string;
  data: Uint8Array;
}

export type WirePayload = WireAudio | WireText | WireControl | WireMetrics | WireDebug | WireErrorPayload | WireOpaque;
export type PayloadKind = WirePayload["kind"];

/** What varies from event to event. */
export interface EventFields {
  lane: LaneName;
  /** From 1; 0 with session scope. */
  turn: number;
  /** "" with session scope. */
  turnId: string;
  generation: number;
  runtimeSequence: number;
  transportSequence: number;
  eventId: string;
  nodeId: string;
  edgeId: string;
  causalParentId: string;
  idempotencyKey: string;
  providerInvocationId: string;
  /** Nanoseconds; 0 when it came from another process. */
  monoNs: number;
  /** Milliseconds since 1970 UTC. */
  wallMs: number;
  mediaTime: WireMediaTime | null;
  syncId: string;
  syncDomain: string;
  discontinuityId: string;
  mergeGroupId: string;
  mergedFromEventIds: readonly string[];
  lateAfterCancel: boolean;
  payloadClass: PayloadClassName;
  handling: HandlingName;
  /** By namespace; kept apart from the core fields, which they can never override. */
  extensions: Readonly<Record<string, WireExtension>>;
  payload: WirePayload;
}

export type EventConstants = Pick<SessionConstants, "tenant" | "session" | "pipelineVersion" | "epoch">;

export interface WireEvent extends EventFields, EventConstants {
  schemaVersion: number;
}

/** What a sender must say; the rest has defaults. */
export type EventInit = Partial<EventFields> & Pick<EventFields, "payload" | "eventId">;

/** The lane a payload travels in; errors and unknown types may choose. */
export const PAYLOAD_LANE: Readonly<Record<PayloadKind, LaneName>> = {
  audio: "data",
  text: "data",
  control: "control",
  metrics: "telemetry",
  debug: "telemetry",
  error: "control",
  opaque: "data",
};

/** What a payload holds unless its sender says otherwise; the unknown is taken for personal. */
export const PAYLOAD_CLASS: Readonly<Record<PayloadKind, PayloadClassName>> = {
  audio: "raw_audio",
  text: "raw_text",
  control: "metadata",
  metrics: "metadata",
  debug: "metadata",
  error: "metadata",
  opaque: "pii",
};

/** The id a turn has on the wire unless its sender says otherwise; "" for session scope. */
export function turnIdOf(turn: number): string {
  return turn === 0 ? "" : `t-${turn}`;
}

/** Microseconds of a media time; null where there is none or it is past exact arithmetic. */
export function mediaTimeUs(time: WireMediaTime | null): number | null {
  if (time === null) return null;
  if (time.kind === "pts") return time.us;
  const us = Math.round((time.index * 1_000_000) / time.rateHz);
  return Number.isSafeInteger(us) ? us : null;
}

/** Media time of `us` as samples where it falls on a sample, else as microseconds. */
export function mediaTimeAt(us: number, rateHz: number): WireMediaTime {
  const scaled = us * rateHz;
  return Number.isSafeInteger(scaled) && scaled % 1_000_000 === 0
    ? { kind: "samples", index: scaled / 1_000_000, rateHz }
    : { kind: "pts", us };
}
