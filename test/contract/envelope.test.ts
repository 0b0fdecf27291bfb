import {
  create,
  equals,
  fromBinary,
  fromJson,
  fromJsonString,
  toBinary,
  toJson,
  toJsonString,
} from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { type Envelope, EnvelopeSchema } from "@rspp/gen/rspp/event/v1/event_pb";
import { LinkEventSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";
import { describe, expect, test } from "vitest";
import { envelopes } from "./samples.ts";

const validator = createValidator();

describe("F-020 F-022 one envelope for every kind of payload", () => {
  test("the samples cover every payload of the envelope", () => {
    const kinds = EnvelopeSchema.oneofs.find((oneof) => oneof.name === "payload")?.fields.map((field) => field.name);
    expect(envelopes.map(([kind]) => kind)).toEqual(kinds);
  });

  test.each(envelopes)("%s is valid and survives binary and JSON (F-030)", (_kind, envelope) => {
    expect(validator.validate(EnvelopeSchema, envelope).violations ?? []).toEqual([]);
    const viaBinary = fromBinary(EnvelopeSchema, toBinary(EnvelopeSchema, envelope));
    const viaJson = fromJsonString(EnvelopeSchema, toJsonString(EnvelopeSchema, envelope));
    expect(equals(EnvelopeSchema, viaBinary, envelope)).toBe(true);
    expect(equals(EnvelopeSchema, viaJson, envelope)).toBe(true);
  });
});

const sample = envelopes[0]![1];
const changed = (change: (envelope: Envelope) => void): Envelope => {
  const copy = fromBinary(EnvelopeSchema, toBinary(EnvelopeSchema, sample));
  change(copy);
  return copy;
};

function refusals(envelope: Envelope): string {
  const result = validator.validate(EnvelopeSchema, envelope);
  expect(result.kind).toBe("invalid");
  return result.kind === "invalid" ? result.violations.map((v) => v.toString()).join("; ") : "";
}

describe("an envelope that breaks its contract is refused by name", () => {
  test.each<[string, (envelope: Envelope) => void]>([
    [
      "schema_version",
      (e) => {
        e.schemaVersion = 0;
      },
    ],
    [
      "lane",
      (e) => {
        e.lane = 0;
      },
    ],
    [
      "lane",
      (e) => {
        e.lane = 99 as never;
      },
    ],
    [
      "authority_epoch",
      (e) => {
        e.authorityEpoch = 0n;
      },
    ],
    [
      "authority_epoch",
      (e) => {
        e.authorityEpoch = 2n ** 53n;
      },
    ],
    [
      "tenant_id",
      (e) => {
        e.tenantId = "";
      },
    ],
    [
      "session_id",
      (e) => {
        e.sessionId = "x".repeat(129);
      },
    ],
    [
      "event_id",
      (e) => {
        e.eventId = "";
      },
    ],
    [
      "merged_from_event_ids",
      (e) => {
        e.mergedFromEventIds = Array.from({ length: 65 }, (_, i) => `e-${i}`);
      },
    ],
    [
      "payload",
      (e) => {
        e.payload = { case: undefined };
      },
    ],
    [
      "extensions",
      (e) => {
        e.extensions = { turn_id: e.extensions["acme.crm"]! };
      },
    ],
    [
      "turn_id",
      (e) => {
        e.turnId = "";
      },
    ],
    [
      "turn_number",
      (e) => {
        e.turnNumber = 0;
      },
    ],
    [
      "turn-scoped",
      (e) => {
        e.scope = 1;
      },
    ],
    [
      "data lane",
      (e) => {
        e.lane = 1;
      },
    ],
    [
      "audio.data",
      (e) => {
        if (e.payload.case === "audio") e.payload.value.data = new Uint8Array(262145);
      },
    ],
    [
      "audio.format.channels",
      (e) => {
        if (e.payload.case === "audio") e.payload.value.format!.channels = 9;
      },
    ],
  ])("%s", (name, change) => {
    expect(refusals(changed(change))).toContain(name);
  });
});

describe("the envelope as the kernel's document lists it", () => {
  const listed =
    "schema_version tenant_id session_id turn_id scope pipeline_version node_id edge_id event_id causal_parent_id idempotency_key provider_invocation_id lane transport_sequence runtime_sequence authority_epoch fence_generation monotonic_ns wall_ms media_time sync_id sync_domain discontinuity_id merge_group_id merged_from_event_ids late_after_cancel payload_class payload_handling extensions";

  test("F-013 has every field of kernel.md §13", () => {
    const names = EnvelopeSchema.fields.map((field) => field.name);
    expect(names).toEqual(expect.arrayContaining(listed.split(" ")));
  });

  test("the link's short form carries all of it that is not bound to the session_ref", () => {
    const short = new Set(LinkEventSchema.fields.map((field) => field.name));
    const rare = LinkEventSchema.fields.find((field) => field.name === "details")?.message;
    for (const field of rare?.fields ?? []) short.add(field.name);
    const bound = "schema_version tenant_id session_id pipeline_version authority_epoch".split(" ");
    const derived = "turn_id scope transport_sequence monotonic_ns wall_ms media_time".split(" ");
    const varying = EnvelopeSchema.fields
      .map((field) => field.name)
      .filter((name) => ![...bound, ...derived].includes(name));
    expect(varying.filter((name) => !short.has(name))).toEqual([]);
  });

  test("unknown fields are kept over binary, unknown JSON fields are refused", () => {
    const json = toJson(EnvelopeSchema, sample) as Record<string, never>;
    expect(() => fromJson(EnvelopeSchema, { ...json, colour: "red" })).toThrow(/colour/);
    const extended = new Uint8Array([...toBinary(EnvelopeSchema, create(EnvelopeSchema, {})), 0xf8, 0xff, 0x01, 0x07]);
    expect(toBinary(EnvelopeSchema, fromBinary(EnvelopeSchema, extended))).toEqual(extended);
  });
});
