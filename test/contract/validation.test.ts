import {
  create,
  type DescMessage,
  fromBinary,
  type Message,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { ErrorDetailSchema } from "@rspp/gen/rspp/common/v1/error_pb";
import { Lane } from "@rspp/gen/rspp/common/v1/lane_pb";
import { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import { ControlSchema, ControlSignal } from "@rspp/gen/rspp/event/v1/control_pb";
import { GrantSchema } from "@rspp/gen/rspp/lease/v1/lease_pb";
import { GrantLeaseRequestSchema } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { BudgetSchema } from "@rspp/gen/rspp/pipeline/v1/budget_pb";
import { BufferSpecSchema, LaneRuleSchema } from "@rspp/gen/rspp/pipeline/v1/buffer_pb";
import { PipelineSpecSchema } from "@rspp/gen/rspp/pipeline/v1/pipeline_pb";
import { ResolvedTurnPlanSchema } from "@rspp/gen/rspp/plan/v1/plan_pb";
import { InvokeRequestSchema, InvokeResponseSchema } from "@rspp/gen/rspp/provider/v1/provider_service_pb";
import {
  CreateRouteRequestSchema,
  PublishPipelineRequestSchema,
  WatchSnapshotsRequestSchema,
} from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { DeliveryAddendumSchema, EvidenceManifestSchema } from "@rspp/gen/rspp/replay/v1/evidence_pb";
import { TimelineRecordSchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { AppendTimelineRequestSchema } from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import { LinkControlFrameSchema, LinkEventSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";
import { ControlRequestSchema, MediaRequestSchema } from "@rspp/gen/rspp/runtime/v1/link_service_pb";
import { ProposeTurnRequestSchema } from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import { CompareAndSetStateRequestSchema } from "@rspp/gen/rspp/state/v1/state_service_pb";
import { ClientFrameSchema, ServerFrameSchema } from "@rspp/gen/rspp/transport/v1/websocket_pb";
import { describe, expect, test } from "vitest";
import { digest, epoch, error, evidence, format, pipeline, session, spec } from "./samples.ts";

const validator = createValidator();

interface Sample {
  schema: DescMessage;
  message: Message;
  /** A change for the worse, and what the refusal must name. */
  bad: readonly (readonly [string, (message: never) => void])[];
}

function sample<D extends DescMessage>(
  schema: D,
  init: MessageInitShape<D>,
  bad: Record<string, (message: ReturnType<typeof create<D>>) => void>,
): Sample {
  return { schema, message: create(schema, init), bad: Object.entries(bad) as Sample["bad"] };
}

const hello = { protocolVersion: 1, linkId: "l-1", incarnation: 1n, peerId: "adapter-1" };
const instant = { monotonicNs: 1n, wallMs: 2n };
const candidate = { provider: "local/flite", attemptTimeoutMs: 1000 };

const samples: Record<string, Sample> = {
  error: sample(ErrorDetailSchema, error, {
    reason: (m) => {
      m.reason = 0;
    },
    retry_after_ms: (m) => {
      m.retryAfterMs = 3_600_001;
    },
    metadata: (m) => {
      m.metadata = { long: "x".repeat(257) };
    },
  }),
  control: sample(
    ControlSchema,
    { signal: ControlSignal.CREDIT_GRANT, emitter: 14, edgeId: "a->b", lane: Lane.DATA, amount: 1 },
    {
      amount: (m) => {
        m.amount = 0;
      },
      signal: (m) => {
        m.signal = 9999 as never;
      },
      transport_fields: (m) => {
        m.transportFields = { digit: "5" };
      },
    },
  ),
  pipeline: sample(PipelineSpecSchema, spec as never, {
    name: (m) => {
      m.name = "Voice Assistant";
    },
    "nodes[1].provider.candidates": (m) => {
      m.nodes[1]!.provider!.candidates = [];
    },
    "edges[0].buffer.max_items": (m) => {
      m.edges[0]!.buffer!.maxItems = 0;
    },
    "edges[0].to": (m) => {
      delete m.edges[0]!.to;
    },
  }),
  "buffer spec": sample(
    BufferSpecSchema,
    { maxItems: 64, maxBytes: 65536, watermarks: { highPermille: 800, lowPermille: 400 } },
    {
      max_bytes: (m) => {
        m.maxBytes = 67_108_865;
      },
      watermarks: (m) => {
        m.watermarks!.lowPermille = 900;
      },
    },
  ),
  "lane rule": sample(
    LaneRuleSchema,
    { lane: Lane.CONTROL, strategy: 1, maxBlockTimeMs: 50 },
    {
      "must be block": (m) => {
        m.strategy = 2;
      },
      max_block_time_ms: (m) => {
        m.maxBlockTimeMs = 10_001;
      },
    },
  ),
  budget: sample(
    BudgetSchema,
    { scope: 2, targetId: "llm", softMs: 800, hardMs: 1000, onExhausted: 3 },
    {
      hard_ms: (m) => {
        m.hardMs = 700;
      },
      on_exhausted: (m) => {
        m.onExhausted = 0;
      },
    },
  ),
  plan: sample(
    ResolvedTurnPlanSchema,
    {
      schemaVersion: 1,
      planId: "p-1",
      turnId: "t-1",
      pipeline,
      executionProfile: "simple/v1",
      nodes: [{ id: "tts", kind: "tts", configDigest: digest, sideEffect: 1, stateScope: 1, limits: {} }],
      arbitration: {},
      recording: {},
      determinism: { seed: digest, epoch, evaluatorVersion: "1", level: 2 },
      admissionOutcome: "admit",
      authorityEpoch: epoch,
    },
    {
      plan_hash: (m) => {
        m.planHash = new Uint8Array(31);
      },
      determinism: (m) => {
        delete m.determinism;
      },
      "nodes[0].config_digest": (m) => {
        m.nodes[0]!.configDigest = new Uint8Array(0);
      },
    },
  ),
  evidence: sample(EvidenceManifestSchema, evidence as never, {
    schema: (m) => {
      m.schema = "or01/v1";
    },
    terminal_reason: (m) => {
      m.terminal = 1;
    },
    plan_hash: (m) => {
      m.planHash = new Uint8Array(0);
    },
    closed: (m) => {
      delete m.closed;
    },
  }),
  addendum: sample(
    DeliveryAddendumSchema,
    {
      session,
      turnId: "t-1",
      manifestDigest: digest,
      state: 4,
      settled: instant,
      heardBy: 1,
      epochAtSettlement: epoch,
      digest,
    },
    {
      state: (m) => {
        m.state = 0;
      },
      manifest_digest: (m) => {
        m.manifestDigest = new Uint8Array(5);
      },
    },
  ),
  record: sample(
    TimelineRecordSchema,
    {
      schemaVersion: 1,
      session,
      epoch,
      sequence: 1n,
      level: 1,
      digest,
      body: { case: "marker", value: { name: "start" } },
    },
    {
      sequence: (m) => {
        m.sequence = 0n;
      },
      body: (m) => {
        m.body = { case: undefined };
      },
    },
  ),
  append: sample(
    AppendTimelineRequestSchema,
    { message: { case: "open", value: { instanceId: "runtime-1" } } },
    {
      "open.instance_id": (m) => {
        if (m.message.case === "open") m.message.value.instanceId = "";
      },
      message: (m) => {
        m.message = { case: undefined };
      },
    },
  ),
  "link event": sample(
    LinkEventSchema,
    { sessionRef: 1, lane: Lane.DATA, sequence: 1, audio: new Uint8Array(640), durationUs: 20000, elapsedUs: 40.5 },
    {
      session_ref: (m) => {
        m.sessionRef = 0;
      },
      audio: (m) => {
        m.audio = new Uint8Array(262_145);
      },
      elapsed_us: (m) => {
        m.elapsedUs = Number.NaN;
      },
    },
  ),
  "control connection": sample(
    ControlRequestSchema,
    {
      hello,
      frames: [
        {
          frame: {
            case: "bind",
            value: {
              sessionRef: 1,
              binding: { session, pipelineVersion: "voice-assistant@1", authorityEpoch: epoch, format, baseWallMs: 1n },
            },
          },
        },
        {
          frame: {
            case: "overtaking",
            value: {
              sessionRef: 1,
              sequence: 1,
              cutoffs: [{ turnNumber: 2, minGeneration: 1, olderTurns: true }],
              payload: { case: "fence", value: { reason: Reason.BARGE_IN, authorityEpoch: epoch } },
            },
          },
        },
      ],
    },
    {
      "hello.protocol_version": (m) => {
        m.hello!.protocolVersion = 0;
      },
      "frames[0].bind.binding.format": (m) => {
        const frame = m.frames[0]!.frame;
        if (frame.case === "bind") delete frame.value.binding!.format;
      },
      "frames[1].overtaking.payload": (m) => {
        const frame = m.frames[1]!.frame;
        if (frame.case === "overtaking") frame.value.payload = { case: undefined };
      },
    },
  ),
  "positioned frame": sample(
    LinkControlFrameSchema,
    {
      frame: {
        case: "positioned",
        value: {
          sessionRef: 1,
          sequence: 2,
          lastMediaSequence: 9,
          payload: { case: "delivery", value: { turnNumber: 1, step: 4, playedUs: 5n, authorityEpoch: epoch } },
        },
      },
    },
    {
      "positioned.sequence": (m) => {
        if (m.frame.case === "positioned") m.frame.value.sequence = 0;
      },
    },
  ),
  "media connection": sample(
    MediaRequestSchema,
    { events: [{ sessionRef: 1, lane: Lane.DATA, sequence: 1 }] },
    {
      "events[0].lane": (m) => {
        m.events[0]!.lane = 0;
      },
    },
  ),
  "invocation open": sample(
    InvokeRequestSchema,
    {
      message: {
        case: "open",
        value: {
          invocationId: "i-1",
          session,
          authorityEpoch: epoch,
          nodeId: "tts",
          attempt: 1,
          modality: 3,
          candidate,
          idempotencyKey: "k-1",
        },
      },
    },
    {
      "open.candidate.provider": (m) => {
        if (m.message.case === "open") m.message.value.candidate!.provider = "";
      },
      "open.session": (m) => {
        if (m.message.case === "open") delete m.message.value.session;
      },
    },
  ),
  "invocation outcome": sample(
    InvokeResponseSchema,
    { message: { case: "outcome", value: { kind: 2, detail: "no answer in 1000 ms", error, usage: {} } } },
    {
      "outcome.kind": (m) => {
        if (m.message.case === "outcome") m.message.value.kind = 0;
      },
    },
  ),
  grant: sample(
    GrantSchema,
    {
      session,
      epoch,
      storeIncarnation: 1,
      holderId: "runtime-1",
      termMs: 60000,
      receivers: [{ receiverId: "adapter-1", kind: 3 }],
      grantId: "g-1",
    },
    {
      term_ms: (m) => {
        m.termMs = 10;
      },
      store_incarnation: (m) => {
        m.storeIncarnation = 0;
      },
    },
  ),
  "lease request": sample(
    GrantLeaseRequestSchema,
    { session, holderId: "runtime-1", idempotencyKey: "k" },
    {
      holder_id: (m) => {
        m.holderId = "";
      },
    },
  ),
  state: sample(
    CompareAndSetStateRequestSchema,
    { session, epoch, put: [{ key: "consent", value: new Uint8Array([1]) }], idempotencyKey: "k" },
    {
      "put[0].key": (m) => {
        m.put[0]!.key = "";
      },
      epoch: (m) => {
        m.epoch = 0n;
      },
    },
  ),
  publish: sample(
    PublishPipelineRequestSchema,
    { tenantId: "acme", spec: spec as never },
    {
      spec: (m) => {
        delete m.spec;
      },
      tenant_id: (m) => {
        m.tenantId = "";
      },
    },
  ),
  route: sample(
    CreateRouteRequestSchema,
    { tenantId: "acme", pipelineName: "voice-assistant", idempotencyKey: "k" },
    {
      pipeline_name: (m) => {
        m.pipelineName = "../x";
      },
    },
  ),
  snapshots: sample(
    WatchSnapshotsRequestSchema,
    { instanceId: "runtime-1", kinds: ["policy"] },
    {
      kinds: (m) => {
        m.kinds = Array.from({ length: 17 }, () => "policy");
      },
    },
  ),
  say: sample(
    ProposeTurnRequestSchema,
    { session, origin: 6, say: "Are you still there?", idempotencyKey: "k" },
    {
      say: (m) => {
        m.say = "x".repeat(4097);
      },
    },
  ),
  "client frame": sample(
    ClientFrameSchema,
    { message: { case: "open", value: { protocolVersion: 1, token: "t", inputFormat: format, outputFormat: format } } },
    {
      "open.token": (m) => {
        if (m.message.case === "open") m.message.value.token = "";
      },
    },
  ),
  "server frame": sample(
    ServerFrameSchema,
    { sequence: 1n, message: { case: "flush", value: { turnNumber: 1, fenceGeneration: 1, reason: Reason.BARGE_IN } } },
    {
      "flush.reason": (m) => {
        if (m.message.case === "flush") m.message.value.reason = 0;
      },
    },
  ),
};

describe.each(Object.entries(samples))("%s", (_name, { schema, message, bad }) => {
  test("a good one is accepted", () => {
    const result = validator.validate(schema, message);
    expect(result.kind === "invalid" ? result.violations.map(String) : result.kind).toBe("valid");
  });

  test.each(bad)("a bad %s is refused by name", (name, change) => {
    const copy = fromBinary(schema, toBinary(schema, message));
    change(copy as never);
    const result = validator.validate(schema, copy);
    expect(result.kind).toBe("invalid");
    expect(result.violations?.map(String).join("; ")).toContain(name);
  });
});
