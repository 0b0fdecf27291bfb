import { toBinary, toJson, toJsonString } from "@bufbuild/protobuf";
import { type Envelope, EnvelopeSchema } from "@rspp/gen/rspp/event/v1/event_pb";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { constants, eventInit, payloads } from "./arbitrary.test.ts";
import {
  type DecodeOptions,
  type Encoding,
  encodeEnvelope,
  fromEnvelope,
  isKind,
  type UnknownTypeAudit,
} from "./decode.ts";
import { SCHEMA_VERSION_MAX, toEnvelope } from "./envelope.ts";
import { describeError } from "./wire-error.ts";
import {
  type EventInit,
  PAYLOAD_CLASS,
  PAYLOAD_LANE,
  turnIdOf,
  type WireEvent,
  type WirePayload,
} from "./wire-event.ts";

const pass: DecodeOptions = { unknownTypes: "pass" };

function envelopeOf(init: EventInit): Envelope {
  const made = toEnvelope(constants, init);
  if (!made.ok) throw new Error(describeError(made.error));
  return made.value;
}

function decoded(input: Uint8Array | string | Envelope, options = pass): WireEvent {
  const result = fromEnvelope(input, options);
  if (!result.ok) throw new Error(describeError(result.error));
  if (result.value.outcome !== "event") throw new Error("dropped");
  return result.value.event;
}

function refusal(input: Uint8Array | string | Envelope, options?: DecodeOptions): string {
  const result = fromEnvelope(input, options);
  if (result.ok) throw new Error("was accepted");
  expect(result.error.remedy).not.toBe("");
  return describeError(result.error);
}

/** The event that an init stands for. */
function full(init: EventInit): WireEvent {
  const { tenant, session, pipelineVersion, epoch } = constants;
  const turn = init.turn ?? 0;
  return {
    ...{ schemaVersion: SCHEMA_VERSION_MAX, tenant, session, pipelineVersion, epoch },
    ...{ lane: PAYLOAD_LANE[init.payload.kind], turn, turnId: turnIdOf(turn), generation: 0 },
    ...{ runtimeSequence: 0, transportSequence: 0, nodeId: "", edgeId: "", causalParentId: "", idempotencyKey: "" },
    ...{ providerInvocationId: "", monoNs: 0, wallMs: 0, mediaTime: null, syncId: "", syncDomain: "" },
    ...{ discontinuityId: "", mergeGroupId: "", mergedFromEventIds: [], lateAfterCancel: false },
    ...{ payloadClass: PAYLOAD_CLASS[init.payload.kind], handling: "allow" as const, extensions: {} },
    ...init,
  };
}

const audio: EventInit = {
  eventId: "a-1",
  transportSequence: 1,
  mediaTime: { kind: "samples", index: 320, rateHz: 16_000 },
  payload: {
    kind: "audio",
    format: { codec: "pcm_s16le", rateHz: 16_000, channels: 1 },
    bytes: new Uint8Array(640),
    durationUs: 20_000,
    end: false,
    segment: -1,
  },
};

describe.each(Object.keys(payloads) as WirePayload["kind"][])("F-022 payload %s", (kind) => {
  test("F-020 F-030 any event decodes to itself from both encodings", () => {
    fc.assert(
      fc.property(eventInit(payloads[kind]), fc.constantFrom<Encoding>("binary", "json"), (init, encoding) => {
        const encoded = encodeEnvelope(envelopeOf(init), encoding);
        if (!encoded.ok) throw new Error(describeError(encoded.error));
        expect(decoded(encoded.value)).toEqual(full(init));
      }),
      { numRuns: 150 },
    );
  });

  test("a subscriber by kind sees its kinds only", () => {
    const event = decoded(envelopeOf(fc.sample(eventInit(payloads[kind]), { numRuns: 1, seed: 7 })[0]!));
    expect(isKind(event, new Set([kind]))).toBe(true);
    expect(isKind(event, new Set())).toBe(false);
  });
});

test("F-023 audio keeps codec, rate, channels and end mark, and an empty end chunk is legal", () => {
  for (const codec of ["pcm_s16le", "mulaw", "alaw", "opus"]) {
    const payload = {
      ...audio.payload,
      format: { codec, rateHz: 48_000, channels: 2 },
      bytes: new Uint8Array(0),
      end: true,
    };
    expect(decoded(envelopeOf({ ...audio, payload } as EventInit)).payload).toEqual(payload);
  }
  const made = toEnvelope(constants, {
    ...audio,
    payload: { ...audio.payload, format: { codec: "mp3", rateHz: 1, channels: 1 } },
  } as EventInit);
  expect(made.ok ? "" : describeError(made.error)).toMatch(/audio\.format\.codec.*mp3.*pcm_s16le/s);
});

describe("F-021 every event has a schema version and is decoded by it", () => {
  test.each([
    [2, "Upgrade this receiver"],
    [0, "Have the sender write"],
    [999, "schema_version 999"],
  ])("version %i fails with what to do", (version, remedy) => {
    const envelope = envelopeOf(audio);
    envelope.schemaVersion = version;
    for (const input of [toBinary(EnvelopeSchema, envelope), toJsonString(EnvelopeSchema, envelope)]) {
      const text = refusal(input);
      expect(text).toContain("unsupported_schema_version");
      expect(text).toContain(`found=${version}`);
      expect(text).toContain(remedy);
    }
  });

  test("a newer JSON event is refused for its version before its unknown fields", () => {
    expect(refusal('{"schemaVersion":2,"colour":"red"}')).toContain("unsupported_schema_version");
    expect(refusal('{"schema_version":"3"}')).toContain("found=3");
  });
});

describe("F-020 events of unknown type follow the configured action and are audited", () => {
  const known = envelopeOf(audio);
  const json = toJson(EnvelopeSchema, known) as Record<string, unknown>;
  const { audio: _audio, ...rest } = json;
  const bare = envelopeOf(audio);
  bare.payload = { case: undefined };
  const inputs: [string, Uint8Array | string][] = [
    [
      "acme.sentiment",
      toBinary(
        EnvelopeSchema,
        envelopeOf({
          ...audio,
          payload: { kind: "opaque", type: "acme.sentiment", contentType: "", data: new Uint8Array([1]) },
        }),
      ),
    ],
    ["gesture", JSON.stringify({ ...rest, gesture: { hand: "left" } })],
    ["rspp.field-60", new Uint8Array([...toBinary(EnvelopeSchema, bare), 0xe2, 0x03, 0x02, 0x08, 0x01])],
  ];

  test.each(inputs)("F-020 %s is dropped, passed on or rejected as configured, and audited", (type, input) => {
    for (const unknownTypes of ["drop", "pass", "reject"] as const) {
      const audits: UnknownTypeAudit[] = [];
      const result = fromEnvelope(input, { unknownTypes, audit: (entry) => audits.push(entry) });
      expect(audits).toEqual([{ action: unknownTypes, type, session: "s-1", eventId: "a-1" }]);
      if (unknownTypes === "reject") expect(result.ok ? "" : result.error.reason).toBe("unknown_event_type");
      else if (unknownTypes === "drop") expect(result).toMatchObject({ ok: true, value: { outcome: "dropped" } });
      else
        expect(result).toMatchObject({
          ok: true,
          value: { known: false, event: { payload: { kind: "opaque", type } } },
        });
    }
  });

  test("the default is reject, and a known type is never audited", () => {
    expect(refusal(inputs[0]![1])).toContain("unknown_event_type");
    const result = fromEnvelope(known, { audit: () => expect.unreachable() });
    expect(result.ok).toBe(true);
  });
});

describe("extensions never override a core field", () => {
  const data = { contentType: "", data: new Uint8Array([1]) };
  test.each(["turn_id", "authorityEpoch", "payload", "__proto__", "", "Acme.crm"])(
    "namespace %j is refused",
    (name) => {
      const extensions = Object.defineProperty({}, name, { value: data, enumerable: true });
      const made = toEnvelope(constants, { ...audio, extensions });
      expect(made.ok ? "accepted" : describeError(made.error)).toContain("extensions");
    },
  );

  test("the platform's own namespaces are refused from outside, in and out", () => {
    const made = toEnvelope(constants, { ...audio, extensions: { "rspp.signal": data } });
    expect(made.ok ? "accepted" : describeError(made.error)).toContain("extension.reserved");
    const envelope = envelopeOf({ ...audio, extensions: { "acme.crm": data } });
    envelope.extensions = { "rspp.core": envelope.extensions["acme.crm"]! };
    expect(refusal(envelope)).toContain("extension.reserved");
  });

  test("facts of a signal cannot stand in for a field of the contract", () => {
    const control = envelopeOf({
      eventId: "r-1",
      turn: 1,
      payload: {
        kind: "control",
        signal: "close",
        emitter: "arbiter",
        scope: "turn",
        reason: "",
        reasonDetail: "",
        fields: { planHash: "x" },
      },
    });
    expect(decoded(control).payload).toMatchObject({ fields: { planHash: "x" } });
    for (const facts of [
      '{"lastDataSequence":9}',
      '{"dtmf.digit":"5"}',
      '{"a":{}}',
      "[1]",
      "x",
      '{"__proto__":1}',
      '{"reason":"a"}',
    ]) {
      control.extensions["rspp.signal"]!.data = new TextEncoder().encode(facts);
      expect(refusal(control)).toContain("extension.signal_facts");
    }
  });
});

describe("numbers that cannot be held exactly are refused by name", () => {
  test.each<[string, (e: Envelope) => void]>([
    [
      "runtime_sequence",
      (e) => {
        e.runtimeSequence = 2n ** 53n;
      },
    ],
    [
      "transport_sequence",
      (e) => {
        e.transportSequence = 2n ** 64n - 1n;
      },
    ],
    [
      "wall_ms",
      (e) => {
        e.wallMs = 2n ** 60n;
      },
    ],
    [
      "media_time",
      (e) => {
        e.mediaTime!.position = { case: "sampleIndex", value: 2n ** 60n };
      },
    ],
    [
      "media_time",
      (e) => {
        e.mediaTime!.sampleRateHz = 0;
      },
    ],
  ])("%s", (field, change) => {
    const envelope = envelopeOf(audio);
    change(envelope);
    expect(refusal(envelope)).toContain(field);
  });

  test.each([
    ["runtime_sequence", { runtimeSequence: -1 }],
    ["wall_ms", { wallMs: 0.5 }],
    ["monotonic_ns", { monoNs: Number.NaN }],
    ["media_time", { mediaTime: { kind: "pts", us: Number.POSITIVE_INFINITY } }],
  ])("encoding: %s", (field, change) => {
    const made = toEnvelope(constants, { ...audio, ...(change as Partial<EventInit>) });
    expect(made.ok ? "accepted" : describeError(made.error)).toContain(field);
  });
});

test("half a surrogate pair is refused in both directions, since binary could not carry it", () => {
  const text = {
    kind: "text",
    text: "\ud800",
    segment: 0,
    revision: 0,
    final: true,
    role: "",
    language: "",
    confidence: null,
    words: [],
  };
  const made = toEnvelope(constants, { eventId: "a-1", payload: text as WirePayload });
  expect(made.ok ? "accepted" : describeError(made.error)).toContain("text.text");
  const json = toJsonString(
    EnvelopeSchema,
    envelopeOf({ eventId: "a-1", payload: { ...text, text: "X" } as WirePayload }),
  );
  expect(refusal(json.replace('"X"', '"\\ud800"'))).toContain("half a surrogate pair");
});
