/** The closed union of what a step may ask of the shell (`kernel.md` §1). */

import type { MonoNs } from "@rspp/base/brand";
import type { AudioFormat, ChatMessage, EventBody, PayloadHandle, TextSpan } from "./event.ts";
import type { Settings, SideEffect } from "./graph.ts";
import type { PolicyCaps } from "./policy.ts";

export type Modality = "stt" | "llm" | "tts" | "tool";

export interface SignalEvent {
  signal: string;
  emitter: string;
  seq: number;
  /** 0 for session scope. */
  turn: number;
  generation: number;
  epoch: number;
  monoNs: MonoNs;
  cause: number;
  reason: string;
  fields: Readonly<Record<string, string | number>>;
}

export type TimelineRecord =
  | { kind: "evidence"; turn: number; hash: string; manifest: unknown }
  | { kind: "delivery_addendum"; turn: number; hash: string; addendum: unknown }
  /** How work ended that outlived its turn (`kernel.md` §4); linked to the turn's evidence by hash. */
  | { kind: "late_outcome"; turn: number; hash: string; outcome: unknown }
  | { kind: "dead_letter"; number: number; turn: number; hash: string; letter: unknown }
  | { kind: "refusal"; proposal: number; outcome: string; reason: string; manifest: unknown }
  | { kind: "plan"; turn: number; planId: string; hash: string; plan: unknown }
  | { kind: "session_plan"; planId: string; hash: string; plan: unknown }
  | { kind: "state_snapshot"; turns: number; state: string }
  | { kind: "recording_level"; policyId: string; from: string; to: string; trigger: string; monoNs: MonoNs };

export type Effect =
  | {
      type: "egress_media";
      epoch: number;
      turn: number;
      generation: number;
      sequence: number;
      offsetUs: number;
      durationUs: number;
      format: AudioFormat | null;
      /** null on the empty end mark. */
      payload: PayloadHandle | null;
      end: boolean;
    }
  | { type: "egress_fence"; epoch: number; turn: number; generation: number; all: boolean; reason: string }
  | {
      type: "egress_text";
      epoch: number;
      turn: number;
      generation: number;
      role: "user" | "assistant";
      spans: readonly TextSpan[];
      final: boolean;
      segment: number;
      revision: number;
    }
  /** A control event: to the timeline always, to the transport where `egress`. */
  | { type: "signal"; egress: boolean; event: SignalEvent }
  | {
      type: "provider_open";
      invocation: number;
      invocationId: string;
      modality: Modality;
      node: string;
      provider: string;
      settings: Settings;
      attempt: number;
      attemptTimeoutMs: number;
      /** Milliseconds that the shell waits before it opens it (F-059); what is pushed meanwhile is held. Absent: none. */
      afterMs?: number;
      idempotencyKey: string;
      epoch: number;
      turn: number;
      generation: number;
      /** Modality `tool`. A side-effecting one is not cut off when its session ends. */
      tool?: { name: string; sideEffect: SideEffect };
      /** What it may use, by policy (F-058). */
      caps?: PolicyCaps;
    }
  | { type: "provider_push_audio"; invocation: number; payload: PayloadHandle; format: AudioFormat; durationUs: number }
  | { type: "provider_push_text"; invocation: number; segment: number; spans: readonly TextSpan[] }
  | {
      type: "provider_push_messages";
      invocation: number;
      messages: readonly ChatMessage[];
      /** Names of the tools it may call, of those its node has; absent where the node has none. */
      tools?: readonly string[];
    }
  | { type: "provider_finish"; invocation: number }
  | { type: "provider_cancel"; invocation: number; reason: string }
  | {
      type: "node_event";
      command: number;
      node: string;
      payload: PayloadHandle;
      format: AudioFormat;
      mediaUs: number;
      durationUs: number;
    }
  | { type: "node_reset"; node: string; reason: string }
  /** Custom nodes: an instance is made; `init` and `start` run, then `node_ready` is awaited. */
  | {
      type: "node_open";
      instance: number;
      node: string;
      package: string;
      /** 0 for session scope. */
      turn: number;
      epoch: number;
      /** Of its own random stream; nothing of the session's seed can be told from it. */
      seed: string;
    }
  | { type: "node_input"; instance: number; command: number; node: string; port: string; body: EventBody }
  | { type: "node_cancel"; instance: number; command: number; reason: string }
  | { type: "node_hook"; instance: number; hook: "barge_in" | "budget_exhausted" }
  /** `kill`: at once, without asking; else in order, by its stop hook. */
  | { type: "node_stop"; instance: number; node: string; reason: string; kill: boolean }
  | { type: "timer_set"; id: string; atNs: MonoNs }
  | { type: "timer_clear"; id: string }
  | { type: "record"; record: TimelineRecord }
  | { type: "telemetry"; name: string; value: number; turn: number; node: string }
  | { type: "status"; phase: string; reconnecting: boolean; degraded: boolean; reason: string }
  | { type: "state_write"; key: string; version: number; epoch: number; parts: number }
  /** Payloads nothing will ask for again. */
  | { type: "release"; refs: readonly number[] }
  /** Caller audio below this ref; refs of caller audio rise. */
  | { type: "release_input"; below: number }
  /** All payloads received for this turn's invocations, but for those named in `keep`. */
  | { type: "release_turn"; turn: number; keep: readonly number[] }
  | { type: "error"; code: string; detail: string; inputSeq: number };

export type EffectType = Effect["type"];
