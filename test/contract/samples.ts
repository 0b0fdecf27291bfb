/** One good sample of each main message, and of an envelope with each kind of payload. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { DefaultAction, ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { CancelScope, Lane, RecordingLevel, Scope } from "@rspp/gen/rspp/common/v1/lane_pb";
import { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import { AudioCodec } from "@rspp/gen/rspp/event/v1/audio_pb";
import { ControlSignal } from "@rspp/gen/rspp/event/v1/control_pb";
import { SignalEmitter, SignalScope } from "@rspp/gen/rspp/event/v1/control_rule_pb";
import { type Envelope, EnvelopeSchema, PayloadClass, PayloadHandling } from "@rspp/gen/rspp/event/v1/event_pb";
import { MetricKind } from "@rspp/gen/rspp/event/v1/metrics_pb";
import { TextRole } from "@rspp/gen/rspp/event/v1/text_pb";
import { PortType } from "@rspp/gen/rspp/pipeline/v1/pipeline_pb";

export const session = { tenantId: "acme", sessionId: "s-1" };
export const format = { codec: AudioCodec.PCM_S16LE, sampleRateHz: 16000, channels: 1 };
export const digest: Uint8Array = new Uint8Array(32).fill(7);
export const epoch = 4294967297n;
export const pipeline = { name: "voice-assistant", version: 1, digest };
const instant = { monotonicNs: 5n, wallMs: 6n, runtimeSequence: 7n };
export const error = {
  reason: ErrorReason.PROVIDER_TIMEOUT,
  domain: "provider-gateway",
  metadata: { provider: "local/flite" },
  remedy: "Raise the attempt budget, or add a candidate.",
  retryAfterMs: 100,
};

type Payload = NonNullable<MessageInitShape<typeof EnvelopeSchema>["payload"]>;

export function envelope(payload: Payload, lane: Lane): Envelope {
  return create(EnvelopeSchema, {
    schemaVersion: 1,
    lane,
    scope: Scope.TURN,
    runtimeSequence: 12n,
    transportSequence: 3n,
    authorityEpoch: epoch,
    turnNumber: 2,
    fenceGeneration: 1,
    payload,
    tenantId: "acme",
    sessionId: "s-1",
    turnId: "t-2",
    pipelineVersion: "voice-assistant@1",
    eventId: "e-12",
    nodeId: "tts",
    edgeId: "tts.out->output.in",
    causalParentId: "e-11",
    idempotencyKey: "k-12",
    providerInvocationId: "i-4",
    monotonicNs: 123456789012345678n,
    wallMs: 1790000000000n,
    mediaTime: { position: { case: "sampleIndex", value: 320n }, sampleRateHz: 16000 },
    syncId: "y-1",
    syncDomain: "d-1",
    discontinuityId: "x-1",
    mergeGroupId: "m-1",
    mergedFromEventIds: ["e-9", "e-10"],
    lateAfterCancel: true,
    payloadClass: PayloadClass.RAW_AUDIO,
    payloadHandling: PayloadHandling.ALLOW,
    extensions: { "acme.crm": { contentType: "text/plain", data: new Uint8Array([1]) } },
  });
}

const control: Payload = {
  case: "control",
  value: {
    signal: ControlSignal.CANCEL,
    emitter: SignalEmitter.ADAPTER,
    scope: SignalScope.TURN,
    reason: Reason.BARGE_IN,
    cancelScope: CancelScope.TURN,
    lastMediaSequence: 0n,
    transportFields: { "dtmf.digit": "5" },
  },
};

/** An envelope with each kind of payload. */
export const envelopes: readonly (readonly [string, Envelope])[] = [
  [
    "audio",
    envelope(
      { case: "audio", value: { format, data: new Uint8Array(640), durationUs: 20000, end: true, segment: 0 } },
      Lane.DATA,
    ),
  ],
  [
    "text",
    envelope(
      {
        case: "text",
        value: {
          segment: 1,
          revision: 3,
          final: true,
          text: "what time is it – ¿qué?",
          role: TextRole.USER,
          language: "en-GB",
          confidence: 0.5,
          words: [{ from: 0, to: 4, startUs: 0, endUs: 200000 }],
        },
      },
      Lane.DATA,
    ),
  ],
  ["control", envelope(control, Lane.CONTROL)],
  [
    "metrics",
    envelope(
      {
        case: "metrics",
        value: {
          samples: [{ name: "edge_depth_items", kind: MetricKind.GAUGE, value: 3.5, labels: { lane: "data" } }],
        },
      },
      Lane.TELEMETRY,
    ),
  ],
  [
    "debug",
    envelope({ case: "debug", value: { topic: "arbiter", message: "tie", fields: { a: "b" } } }, Lane.TELEMETRY),
  ],
  [
    "error",
    envelope({ case: "error", value: { detail: error, actionTaken: DefaultAction.RETRY_THEN_FALLBACK } }, Lane.CONTROL),
  ],
  [
    "opaque",
    envelope(
      { case: "opaque", value: { type: "acme.sentiment", contentType: "text/plain", data: new Uint8Array([1, 2]) } },
      Lane.DATA,
    ),
  ],
];

export const evidence = {
  schema: "or02/v1",
  session,
  turnId: "t-2",
  turnNumber: 2,
  pipeline,
  planId: "p-2",
  planHash: digest,
  profileVersion: "simple/v1",
  epochAtOpen: epoch,
  epochAtTerminal: epoch,
  admissionOutcome: "admit",
  seed: digest,
  orderingMarkers: [{ lane: Lane.DATA, range: { first: 1n, last: 9n } }],
  opened: instant,
  terminal: 2,
  terminalReason: Reason.CANCELLED,
  terminated: instant,
  closed: instant,
  level: RecordingLevel.L0,
  incarnation: "1",
  digest,
};

export const spec = {
  apiVersion: "rspp/pipeline/v1",
  name: "voice-assistant",
  executionProfile: "simple/v1",
  nodes: [
    { id: "stt", kind: "stt", ports: [{ name: "out", direction: 2, type: PortType.TEXT }] },
    {
      id: "llm",
      kind: "llm",
      provider: { modality: 2, candidates: [{ provider: "local/responder", settings: { prompt: "brief" } }] },
    },
  ],
  edges: [
    {
      from: { node: "stt", port: "out" },
      to: { node: "llm", port: "in" },
      buffer: { maxItems: 64, laneRules: [{ lane: Lane.DATA, strategy: 3 }] },
    },
  ],
};
