/** Metrics, debug events and errors of a session on a link, for those who observe it at the adapter. */
import { create } from "@bufbuild/protobuf";
import { ok, type Result } from "@rspp/base/result";
import { type ErrorDetail, ErrorDetailSchema, ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { Lane, Scope } from "@rspp/gen/rspp/common/v1/lane_pb";
import { ErrorSchema } from "@rspp/gen/rspp/event/v1/error_pb";
import { type Envelope, EnvelopeSchema, PayloadClass, PayloadHandling } from "@rspp/gen/rspp/event/v1/event_pb";
import type { SessionNote } from "@rspp/ports/session-opener";
import { SCHEMA_VERSION_MAX, toEnvelope } from "@rspp/wire/envelope";
import { errorReasonNames } from "@rspp/wire/names";
import type { WireError } from "@rspp/wire/wire-error";
import type { LinkCodec, LinkItem } from "./link-codec.ts";
import { eventId } from "./link-egress.ts";
import { limits } from "./link-limits.ts";

/** Metrics and debug are telemetry and may be lost; an error is control, so that it comes before the end it explains. */
export function noteToLink(codec: LinkCodec, note: SessionNote, number: number): Result<LinkItem, WireError> {
  if (note.kind === "error") return ok(errorItem(codec, number, noteDetail(note)));
  const payload =
    note.kind === "metrics"
      ? ({ kind: "metrics", samples: [sampleOf(note)] } as const)
      : ({
          kind: "debug",
          topic: "session",
          message: note.text.slice(0, limits.DEBUG_CHARS_MAX),
          fields: shortFields(note.fields),
        } as const);
  const turn = note.kind === "metrics" ? note.turn : 0;
  const made = toEnvelope(codec.constants, { eventId: eventId(number), turn, wallMs: codec.wallMs(), payload });
  return made.ok ? ok({ kind: "media", envelope: made.value, urgent: false }) : made;
}

function sampleOf({ name, value, node, edge = "" }: Extract<SessionNote, { kind: "metrics" }>) {
  return { name, kind: "gauge", value, nodeId: node, edgeId: edge, labels: {} } as const;
}

function noteDetail({ code, detail }: Extract<SessionNote, { kind: "error" }>): ErrorDetail {
  const known = errorReasonNames.number(code);
  const reason = known === undefined || known === 0 ? ErrorReason.RUNTIME_INTERNAL_ERROR : known;
  const metadata = { code: code.slice(0, 256) };
  return create(ErrorDetailSchema, { reason, domain: "session", remedy: detail.slice(0, 512), metadata });
}

/** An error of the catalogue as the link takes it: a refusal, the reason of a break, or a note. */
export function errorItem(codec: LinkCodec, number: number, detail: ErrorDetail): LinkItem {
  const { constants } = codec;
  const envelope = create(EnvelopeSchema, {
    schemaVersion: SCHEMA_VERSION_MAX,
    lane: Lane.CONTROL,
    scope: Scope.SESSION,
    authorityEpoch: codec.epoch,
    tenantId: constants.tenant,
    sessionId: constants.session,
    pipelineVersion: constants.pipelineVersion,
    eventId: eventId(number),
    wallMs: BigInt(codec.wallMs()),
    payloadClass: PayloadClass.METADATA,
    payloadHandling: PayloadHandling.ALLOW,
    payload: { case: "error", value: create(ErrorSchema, { detail }) },
  });
  return {
    kind: "control",
    payload: { kind: "event", envelope },
    how: { class: "positioned", afterMedia: false },
  };
}

function shortFields(fields: Readonly<Record<string, string | number>>): Record<string, string> {
  const entries = Object.entries(fields).slice(0, limits.NOTE_FIELDS_MAX);
  return Object.fromEntries(entries.map(([name, value]) => [name.slice(0, 64), String(value).slice(0, 512)]));
}

/** What an event says to observers; null for one that is not for them. Numbers among a debug event's fields are text. */
export function noteFromLink({ payload, turnNumber: turn }: Envelope): SessionNote | null {
  switch (payload.case) {
    case "metrics": {
      const sample = payload.value.samples[0];
      if (sample === undefined) return null;
      const { name, value, nodeId: node, edgeId: edge } = sample;
      return { kind: "metrics", name, value, turn, node, ...(edge === "" ? {} : { edge }) };
    }
    case "debug":
      return { kind: "debug", text: payload.value.message, fields: { ...payload.value.fields } };
    case "error": {
      const { detail } = payload.value;
      const name = errorReasonNames.name(detail?.reason ?? 0);
      return { kind: "error", code: detail?.metadata.code ?? name, detail: detail?.remedy ?? "" };
    }
    default:
      return null;
  }
}
