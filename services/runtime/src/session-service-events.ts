/** What onlookers see in a process, as events of the contract. */

import { asMonoNs } from "@rspp/base/brand";
import type { Result } from "@rspp/base/result";
import type { Envelope } from "@rspp/gen/rspp/event/v1/event_pb";
import { toEnvelope } from "@rspp/wire/envelope";
import { signalInit } from "@rspp/wire/kernel-event";
import { errorReasonNames } from "@rspp/wire/names";
import type { WireError } from "@rspp/wire/wire-error";
import { type EventConstants, type EventInit, mediaTimeAt, type WirePayload } from "@rspp/wire/wire-event";
import type { ObservedEvent } from "./observers.ts";

export interface EventPlace {
  readonly constants: EventConstants;
  /** Wall time at monotonic 0, milliseconds since 1970 UTC. */
  readonly wallOriginMs: number;
  /** Of events that the kernel did not number; unique within the session's watchers. */
  readonly nextId: () => string;
}

/** An observed event in full. Refused only where it breaks the contract, which the caller counts as lost. */
export function observedEnvelope(event: ObservedEvent, place: EventPlace): Result<Envelope, WireError> {
  const wallMs = Math.max(0, Math.round(place.wallOriginMs + event.atNs / 1e6));
  return toEnvelope(place.constants, initOf(event, wallMs, place));
}

function initOf(event: ObservedEvent, wallMs: number, { constants, nextId }: EventPlace): EventInit {
  if (event.kind === "control") {
    const { signal, emitter, turn, generation, reason, fields, seq, cause } = event;
    const monoNs = asMonoNs(Math.round(event.atNs));
    return signalInit(
      { signal, emitter, seq, turn, generation, epoch: constants.epoch, monoNs, cause, reason, fields },
      wallMs,
    );
  }
  const monoNs = Math.max(0, Math.round(event.atNs));
  const init: EventInit = { eventId: nextId(), wallMs, monoNs, payload: payloadOf(event) };
  if ("turn" in event) init.turn = event.turn;
  if (event.kind === "audio") {
    init.generation = event.generation;
    init.mediaTime = mediaTimeAt(event.mediaUs, event.format.rateHz);
    init.nodeId = event.direction === "in" ? "ingress" : "output";
  }
  if (event.kind === "error") init.lane = "control";
  return init;
}

function payloadOf(event: Exclude<ObservedEvent, { kind: "control" }>): WirePayload {
  switch (event.kind) {
    case "audio": {
      const { format, bytes, durationUs } = event;
      return { kind: "audio", format, bytes, durationUs, end: false, segment: -1 };
    }
    case "text": {
      const { text, segment, revision, final, role } = event;
      return { kind: "text", text, segment, revision, final, role, language: "", confidence: null, words: [] };
    }
    case "metrics": {
      const kind = event.name.endsWith("_ms") ? "duration" : "gauge";
      const sample = {
        name: event.name,
        kind,
        value: event.value,
        nodeId: event.node,
        edgeId: event.edge,
        labels: {},
      } as const;
      return { kind: "metrics", samples: [sample] };
    }
    case "debug": {
      const fields = Object.entries(event.fields).slice(0, 32);
      const texts = fields.map(([name, value]) => [name.slice(0, 64), String(value).slice(0, 512)] as const);
      return { kind: "debug", topic: "runtime", message: event.text.slice(0, 1024), fields: Object.fromEntries(texts) };
    }
    case "error":
      return errorOf(event.code, event.detail);
  }
}

/** Words of the runtime that the catalogue does not have are told beside its entry for them. */
function errorOf(word: string, detail: string): WirePayload {
  const known = errorReasonNames.number(word) ?? 0;
  const code = known === 0 ? "runtime_internal_error" : word;
  const metadata = { word: word.slice(0, 256), detail: detail.slice(0, 256) };
  const rest = { violations: [], remedy: "", retryAfterMs: 0, action: "", causedByEventId: "" };
  return { kind: "error", code, domain: "runtime", metadata, ...rest };
}
