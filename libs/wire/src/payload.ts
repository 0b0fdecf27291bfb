/** The kinds of payload (F-022): plain values <-> the messages of the contract. */
import { create } from "@bufbuild/protobuf";
import { ok, type Result } from "@rspp/base/result";
import { ErrorDetailSchema } from "@rspp/gen/rspp/common/v1/error_pb";
import {
  type Audio,
  type AudioFormat as AudioFormatMessage,
  AudioFormatSchema,
  AudioSchema,
} from "@rspp/gen/rspp/event/v1/audio_pb";
import { type Debug, DebugSchema } from "@rspp/gen/rspp/event/v1/debug_pb";
import { type Error as ErrorMessage, ErrorSchema, OpaqueSchema } from "@rspp/gen/rspp/event/v1/error_pb";
import type { Envelope } from "@rspp/gen/rspp/event/v1/event_pb";
import { type Metrics, MetricsSchema } from "@rspp/gen/rspp/event/v1/metrics_pb";
import { type Text, TextSchema } from "@rspp/gen/rspp/event/v1/text_pb";
import type { AudioFormat } from "@rspp/kernel/event";
import { controlFromWire, controlToWire } from "./control.ts";
import { actionNames, codecNames, errorReasonNames, metricKindNames, textRoleNames } from "./names.ts";
import { echo, refuseField, type WireError } from "./wire-error.ts";
import type {
  WireAudio,
  WireDebug,
  WireErrorPayload,
  WireMetricSample,
  WireMetrics,
  WirePayload,
  WireText,
} from "./wire-event.ts";

/** The payload of an envelope; `facts` of a control signal travel beside it in an extension. */
export interface PayloadOnWire {
  payload: Envelope["payload"];
  facts: Readonly<Record<string, string | number>>;
}

const noFacts: Readonly<Record<string, string | number>> = Object.freeze({});
const plain = (payload: Envelope["payload"]): Result<PayloadOnWire, WireError> => ok({ payload, facts: noFacts });

/** Encodes a payload of turn `turn` (0: session scope). */
export function payloadToWire(payload: WirePayload, turn: number): Result<PayloadOnWire, WireError> {
  switch (payload.kind) {
    case "audio": {
      const audio = audioToWire(payload);
      return audio.ok ? plain({ case: "audio", value: audio.value }) : audio;
    }
    case "text":
      return textToWire(payload);
    case "control": {
      const control = controlToWire(payload, turn);
      if (!control.ok) return control;
      return ok({ payload: { case: "control", value: control.value.control }, facts: control.value.facts });
    }
    case "metrics":
      return metricsToWire(payload);
    case "debug":
      return plain({
        case: "debug",
        value: create(DebugSchema, { topic: payload.topic, message: payload.message, fields: { ...payload.fields } }),
      });
    case "error":
      return errorToWire(payload);
    case "opaque":
      return plain({
        case: "opaque",
        value: create(OpaqueSchema, { type: payload.type, contentType: payload.contentType, data: payload.data }),
      });
  }
}

/** Decodes a payload that was validated; control signals are checked against the closed set here. */
export function payloadFromWire(
  payload: Envelope["payload"],
  turn: number,
  facts: Readonly<Record<string, string | number>>,
): Result<WirePayload, WireError> {
  switch (payload.case) {
    case "audio":
      return ok(audioFromWire(payload.value));
    case "text":
      return textFromWire(payload.value);
    case "control":
      return controlFromWire(payload.value, turn, facts);
    case "metrics":
      return ok(metricsFromWire(payload.value));
    case "debug":
      return ok(debugFromWire(payload.value));
    case "error":
      return ok(errorFromWire(payload.value));
    case "opaque": {
      const { type, contentType, data } = payload.value;
      return ok({ kind: "opaque", type, contentType, data });
    }
    case undefined:
      return refuseField("payload", "required", "an event has a payload", "set one of the payloads of the contract");
  }
}

/** The contract's form of an audio format; refuses a codec that is not of the contract. */
export function formatToWire(format: AudioFormat): Result<AudioFormatMessage, WireError> {
  const codec = codecNames.number(format.codec);
  if (codec === undefined || codec === 0) {
    return refuseField(
      "audio.format.codec",
      "enum.defined_only",
      `${echo(format.codec)} is not a codec`,
      `use one of ${codecNames.names.join(", ")}`,
    );
  }
  return ok(create(AudioFormatSchema, { codec, sampleRateHz: format.rateHz, channels: format.channels }));
}

export function formatFromWire(format: AudioFormatMessage | undefined): AudioFormat {
  return {
    codec: codecNames.name(format?.codec ?? 0),
    rateHz: format?.sampleRateHz ?? 0,
    channels: format?.channels ?? 0,
  };
}

export function audioToWire(audio: WireAudio): Result<Audio, WireError> {
  const format = formatToWire(audio.format);
  if (!format.ok) return format;
  const message = create(AudioSchema, {
    format: format.value,
    data: audio.bytes,
    durationUs: audio.durationUs,
    end: audio.end,
  });
  if (audio.segment >= 0) message.segment = audio.segment;
  return ok(message);
}

export function audioFromWire(audio: Audio): WireAudio {
  return {
    kind: "audio",
    format: formatFromWire(audio.format),
    bytes: audio.data,
    durationUs: audio.durationUs,
    end: audio.end,
    segment: audio.segment ?? -1,
  };
}

function textToWire(text: WireText): Result<PayloadOnWire, WireError> {
  if (!text.text.isWellFormed()) {
    return refuseField("text.text", "string.utf8", "holds half a surrogate pair", "cut text between characters");
  }
  const message = create(TextSchema, {
    segment: text.segment,
    revision: text.revision,
    final: text.final,
    text: text.text,
    role: textRoleNames.number(text.role) ?? 0,
    language: text.language,
    words: text.words.map((word) => ({ ...word })),
  });
  if (text.confidence !== null) message.confidence = text.confidence;
  return plain({ case: "text", value: message });
}

function textFromWire(text: Text): Result<WireText, WireError> {
  return ok({
    kind: "text",
    text: text.text,
    segment: text.segment,
    revision: text.revision,
    final: text.final,
    role: textRoleNames.name(text.role) as WireText["role"],
    language: text.language,
    // JSON may bring a double; the binary form is single precision, and both decode to the same event (F-030).
    confidence: text.confidence === undefined ? null : Math.fround(text.confidence),
    words: text.words.map(({ from, to, startUs, endUs }) => ({ from, to, startUs, endUs })),
  });
}

function metricsToWire(metrics: WireMetrics): Result<PayloadOnWire, WireError> {
  const samples = metrics.samples.map((sample) => ({
    name: sample.name,
    kind: metricKindNames.number(sample.kind) ?? 0,
    value: sample.value,
    nodeId: sample.nodeId,
    edgeId: sample.edgeId,
    labels: { ...sample.labels },
  }));
  return plain({ case: "metrics", value: create(MetricsSchema, { samples }) });
}

function metricsFromWire(metrics: Metrics): WireMetrics {
  return {
    kind: "metrics",
    samples: metrics.samples.map((sample) => ({
      name: sample.name,
      kind: metricKindNames.name(sample.kind) as WireMetricSample["kind"],
      value: sample.value,
      nodeId: sample.nodeId,
      edgeId: sample.edgeId,
      labels: { ...sample.labels },
    })),
  };
}

function debugFromWire(debug: Debug): WireDebug {
  return { kind: "debug", topic: debug.topic, message: debug.message, fields: { ...debug.fields } };
}

function errorToWire(error: WireErrorPayload): Result<PayloadOnWire, WireError> {
  const reason = errorReasonNames.number(error.code);
  if (reason === undefined || reason === 0) {
    return refuseField(
      "error.detail.reason",
      "enum.defined_only",
      `${echo(error.code)} is not in the catalogue of errors`,
      "use a reason of the catalogue",
    );
  }
  const action = actionNames.number(error.action);
  if (action === undefined) {
    return refuseField("error.action_taken", "enum.defined_only", "is not an action", "use an action of the contract");
  }
  const detail = create(ErrorDetailSchema, {
    reason,
    domain: error.domain,
    metadata: { ...error.metadata },
    violations: error.violations.map((v) => ({ ...v })),
    remedy: error.remedy,
    retryAfterMs: error.retryAfterMs,
  });
  const value = create(ErrorSchema, { detail, actionTaken: action, causedByEventId: error.causedByEventId });
  return plain({ case: "error", value });
}

function errorFromWire(error: ErrorMessage): WireErrorPayload {
  const detail = error.detail ?? create(ErrorDetailSchema);
  return {
    kind: "error",
    code: errorReasonNames.name(detail.reason),
    domain: detail.domain,
    metadata: { ...detail.metadata },
    violations: detail.violations.map(({ field, rule, message, file, line, column }) => ({
      field,
      rule,
      message,
      file,
      line,
      column,
    })),
    remedy: detail.remedy,
    retryAfterMs: detail.retryAfterMs,
    action: actionNames.name(error.actionTaken),
    causedByEventId: error.causedByEventId,
  };
}
