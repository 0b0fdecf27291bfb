/** The kernel's events and the transport's messages <-> events on the wire. Session constants are added by `toEnvelope`. */
import { ok, type Result } from "@rspp/base/result";
import { CONTROL_SIGNALS, isControlSignal } from "@rspp/kernel/control-signals";
import type { SignalEvent } from "@rspp/kernel/effect";
import { type AudioFormat, type KernelEvent, LANE_NAMES } from "@rspp/kernel/event";
import { signalClass } from "./control.ts";
import { refuseField, type WireError } from "./wire-error.ts";
import { type EventInit, mediaTimeAt, mediaTimeUs, type WireEvent, type WirePayload } from "./wire-event.ts";

/** Ids by runtime sequence: what the kernel numbered needs no other name. */
export function runtimeEventId(seq: number): string {
  return `r-${seq}`;
}

/** The id of the input that caused a signal; a number of its own, not a runtime sequence. */
export function inputId(seq: number): string {
  return `i-${seq}`;
}

/** A control event of the kernel. `wallMs` is the shell's stamp of the batch it came from. */
export function signalInit(event: SignalEvent, wallMs: number): EventInit {
  const { scope, ...rest } = event.fields;
  const cancelScope = isControlSignal(event.signal) && CONTROL_SIGNALS[event.signal].fields.includes("scope");
  const extent = typeof scope === "string" && scope !== "none" ? scope : event.turn === 0 ? "session" : "turn";
  return {
    eventId: runtimeEventId(event.seq),
    runtimeSequence: event.seq,
    turn: event.turn,
    generation: event.generation,
    monoNs: event.monoNs,
    wallMs,
    causalParentId: event.cause === 0 ? "" : inputId(event.cause),
    payload: {
      kind: "control",
      signal: event.signal,
      emitter: event.emitter,
      scope: extent,
      reason: event.reason,
      reasonDetail: "",
      fields: cancelScope && scope !== undefined ? { ...rest, scope } : rest,
    },
  };
}

/** What the shell adds to a kernel event: the payload its handles stand for, and where it came from. */
export interface ResolvedEvent {
  wallMs: number;
  nodeId: string;
  edgeId: string;
  /** Bytes of an audio body. */
  bytes?: Uint8Array;
  /** Joined spans of a text body. */
  text?: string;
  role?: "user" | "assistant" | "system" | "tool";
}

/**
 * An event of the graph with its payload, for observers and recordings. Refuses bodies that have no payload kind in the
 * envelope (activity, messages, end): they stay inside the runtime and are journaled as kernel inputs.
 */
export function kernelEventInit(event: KernelEvent, resolved: ResolvedEvent): Result<EventInit, WireError> {
  const payload = bodyPayload(event, resolved);
  if (!payload.ok) return payload;
  const init: EventInit = {
    eventId: runtimeEventId(event.seq),
    runtimeSequence: event.seq,
    lane: LANE_NAMES[event.lane],
    turn: event.turn,
    generation: event.generation,
    monoNs: event.monoNs,
    wallMs: resolved.wallMs,
    nodeId: resolved.nodeId,
    edgeId: resolved.edgeId,
    causalParentId: event.cause === 0 ? "" : runtimeEventId(event.cause),
    payload: payload.value,
  };
  if (event.body.type === "audio") init.mediaTime = mediaTimeAt(event.body.mediaUs, event.body.format.rateHz);
  return ok(init);
}

function bodyPayload({ body }: KernelEvent, resolved: ResolvedEvent): Result<WirePayload, WireError> {
  switch (body.type) {
    case "audio":
      if (resolved.bytes === undefined) return unresolved("audio.data");
      return ok({
        kind: "audio",
        format: body.format,
        bytes: resolved.bytes,
        durationUs: body.durationUs,
        end: false,
        segment: body.segment,
      });
    case "text":
      if (resolved.text === undefined) return unresolved("text.text");
      return ok({
        kind: "text",
        text: resolved.text,
        segment: body.segment,
        revision: body.revision,
        final: body.final,
        role: resolved.role ?? "",
        language: body.language,
        confidence: body.confidence >= 0 && body.confidence <= 1 ? Math.fround(body.confidence) : null,
        words: [],
      });
    case "metrics":
      return ok({
        kind: "metrics",
        samples: [{ name: body.name, kind: "gauge", value: body.value, nodeId: "", edgeId: "", labels: {} }],
      });
    case "debug":
      return ok({ kind: "debug", topic: "kernel", message: body.text.slice(0, 1024), fields: {} });
    case "error":
      return ok(errorPayload(body.code));
    default:
      return refuseField(
        "payload",
        "envelope.kind",
        `an event of type ${body.type} has no payload kind in the envelope`,
        "keep it inside the runtime; it is journaled as a kernel input",
      );
  }
}

function errorPayload(code: string): WirePayload {
  return {
    kind: "error",
    code,
    domain: "runtime",
    metadata: {},
    violations: [],
    remedy: "",
    retryAfterMs: 0,
    action: "",
    causedByEventId: "",
  };
}

function unresolved(field: string): { readonly ok: false; readonly error: WireError } {
  return refuseField(field, "required", "the handle was not resolved", "pass the payload the handle stands for");
}

/** The transport port's media message, as far as an event needs it. */
export interface EgressMedia {
  turn: number;
  generation: number;
  /** Microseconds within this turn's output. */
  offsetUs: number;
  durationUs: number;
  format: AudioFormat;
  bytes: Uint8Array;
  end: boolean;
}

/** An output frame of a turn. */
export function mediaInit(media: EgressMedia, eventId: string, wallMs: number): EventInit {
  return {
    eventId,
    wallMs,
    turn: media.turn,
    generation: media.generation,
    mediaTime: mediaTimeAt(media.offsetUs, media.format.rateHz),
    payload: {
      kind: "audio",
      format: media.format,
      bytes: media.bytes,
      durationUs: media.durationUs,
      end: media.end,
      segment: -1,
    },
  };
}

/** Audio or a signal from an adapter, as the runtime's transport port takes it. */
export type IngressMessage =
  | {
      kind: "audio";
      epoch: number;
      sequence: number;
      mediaUs: number;
      durationUs: number;
      format: AudioFormat;
      bytes: Uint8Array;
      idempotencyKey?: string;
    }
  | {
      kind: "control";
      epoch: number;
      sequence: number;
      signal: string;
      controlClass: "overtaking" | "positioned";
      lastMediaSequence?: number;
      reason?: string;
      turn?: number;
      fields?: Readonly<Record<string, string | number>>;
      idempotencyKey?: string;
    };

/** An adapter's event for the runtime; refuses payloads an adapter does not send and audio without media time. */
export function ingressOf(event: WireEvent): Result<IngressMessage, WireError> {
  const common = { epoch: event.epoch, sequence: event.transportSequence };
  const key = event.idempotencyKey === "" ? {} : { idempotencyKey: event.idempotencyKey };
  const { payload } = event;
  if (event.transportSequence < 1) {
    return refuseField("transport_sequence", "required", "events of an adapter are numbered from 1", "number them");
  }
  if (payload.kind === "audio") {
    const mediaUs = mediaTimeUs(event.mediaTime);
    if (mediaUs === null) {
      return refuseField("media_time", "required", "audio has a media time", "set sample_index with its rate");
    }
    const { durationUs, format, bytes } = payload;
    return ok({ kind: "audio", ...common, mediaUs, durationUs, format, bytes, ...key });
  }
  if (payload.kind !== "control") {
    return refuseField("payload", "ingress.kind", `an adapter sends no ${payload.kind}`, "send audio or control");
  }
  const { lastMediaSequence, ...fields } = payload.fields;
  return ok({
    kind: "control",
    ...common,
    signal: payload.signal,
    controlClass: signalClass(payload.signal) === "overtaking" ? "overtaking" : "positioned",
    ...(typeof lastMediaSequence === "number" ? { lastMediaSequence } : {}),
    ...(payload.reason === "" ? {} : { reason: payload.reason }),
    ...(event.turn === 0 ? {} : { turn: event.turn }),
    ...(Object.keys(fields).length === 0 ? {} : { fields }),
    ...key,
  });
}
