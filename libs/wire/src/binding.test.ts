import { create, equals, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Envelope, EnvelopeSchema } from "@rspp/gen/rspp/event/v1/event_pb";
import { LinkEventSchema, TurnCutoffSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";
import { fencesCreate, isFenced, raiseFence } from "@rspp/protocol/link-fence";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { anyPayload, constants, eventInit } from "./arbitrary.test.ts";
import { type Binding, bindingCreate, bindToWire, type LinkSender, receiveEvent, shorten } from "./binding.ts";
import { bindingTableCreate, tableBind, tableResolve, tableUnbind } from "./binding-table.ts";
import { CUTS_NOTHING, cutoffFromWire, cutoffOfFence, cutoffToWire, fenceOfCutoff } from "./cutoff.ts";
import { toEnvelope } from "./envelope.ts";
import { describeError } from "./wire-error.ts";
import type { EventInit } from "./wire-event.ts";

const base = 1_790_000_000_000;

function value<T>(result: { ok: true; value: T } | { ok: false; error: Parameters<typeof describeError>[0] }): T {
  if (!result.ok) throw new Error(describeError(result.error));
  return result.value;
}

const binding: Binding = value(bindingCreate(1, constants, base));
const place = { sequence: 9, sentAudioUs: 180_000, sentBytes: 5_760 };

function envelopeOf(init: EventInit, sender: LinkSender): Envelope {
  return value(toEnvelope(constants, { ...init, transportSequence: sender === "adapter" ? place.sequence : 0 }));
}

const frame: EventInit = {
  eventId: "a-9",
  wallMs: base + 180,
  mediaTime: { kind: "samples", index: 2_560, rateHz: 16_000 },
  payload: {
    kind: "audio",
    format: { codec: "pcm_s16le", rateHz: 16_000, channels: 1 },
    bytes: new Uint8Array(640),
    durationUs: 20_000,
    end: false,
    segment: -1,
  },
};

describe("the short form", () => {
  test("F-013 bound to a session_ref and expanded again, any event is the full envelope", () => {
    fc.assert(
      fc.property(eventInit(anyPayload), fc.constantFrom<LinkSender>("adapter", "runtime"), (init, sender) => {
        const envelope = envelopeOf(init, sender);
        const bytes = toBinary(LinkEventSchema, value(shorten(binding, sender, envelope, place)));
        const back = value(receiveEvent(binding, sender, fromBinary(LinkEventSchema, bytes)));
        expect(back).toEqual(envelope);
        expect(equals(EnvelopeSchema, back, envelope)).toBe(true);
      }),
      { numRuns: 600 },
    );
  });

  test("a frame of audio carries no string and no 64-bit integer", () => {
    const short = value(shorten(binding, "adapter", envelopeOf(frame, "adapter"), place));
    expect(short.details).toBeUndefined();
    expect(toBinary(LinkEventSchema, short).length - 640).toBeLessThan(60);
  });

  test.each<[string, (e: Envelope) => object]>([
    ["tenant_id", (e) => Object.assign(e, { tenantId: "other" })],
    ["session_id", (e) => Object.assign(e, { sessionId: "other" })],
    ["pipeline_version", (e) => Object.assign(e, { pipelineVersion: "x@2" })],
    ["authority_epoch", (e) => Object.assign(e, { authorityEpoch: e.authorityEpoch + 1n })],
    ["schema_version", (e) => Object.assign(e, { schemaVersion: 2 })],
    ["transport_sequence", (e) => Object.assign(e, { transportSequence: 8n })],
  ])("an envelope whose %s is not the bound one is refused", (field, change) => {
    const envelope = envelopeOf(frame, "adapter");
    change(envelope);
    const result = shorten(binding, "adapter", envelope, place);
    expect(result.ok ? "" : describeError(result.error)).toContain(field);
  });

  test.each<[string, object]>([
    ["session_ref", { sessionRef: 0 }],
    ["sequence", { sequence: 0 }],
    ["lane", { lane: 3 }],
    ["audio", { audio: new Uint8Array(262_145) }],
    ["duration_us", { durationUs: 10_000_001 }],
    ["event_number", { eventNumber: 0 }],
    ["elapsed_us", { elapsedUs: Number.NaN }],
    ["elapsed_us", { elapsedUs: 1e300 }],
    ["sent_bytes", { sentBytes: -1 }],
    ["sent_audio_us", { sentAudioUs: Number.POSITIVE_INFINITY }],
    ["skip_to_sequence", { skipToSequence: 12 }],
    ["skip_reason", { skipReason: 1 }],
  ])("the short way of audio refuses a bad %s by name", (field, change) => {
    const short = value(shorten(binding, "adapter", envelopeOf(frame, "adapter"), place));
    const result = receiveEvent(binding, "adapter", { ...short, ...change });
    expect(result.ok ? "accepted" : describeError(result.error)).toContain(field);
  });
});

describe("bindings of a pair", () => {
  const event = value(shorten(binding, "adapter", envelopeOf(frame, "adapter"), place));

  test("an unknown ref is held while its bind may be under way, refused once it was unbound", () => {
    const table = bindingTableCreate();
    expect(tableResolve(table, "adapter", event)).toEqual({ kind: "held", ref: 1 });
    value(tableBind(table, value(bindToWire(1, constants, base, null))));
    expect(tableResolve(table, "adapter", event)).toMatchObject({ kind: "event", envelope: { sessionId: "s-1" } });
    tableUnbind(table, 1);
    expect(tableResolve(table, "adapter", event)).toMatchObject({
      kind: "refused",
      error: { reason: "session_ref_unknown" },
    });
  });

  test("a ref is never used twice, not even after an unbind; odd and even count apart", () => {
    const table = bindingTableCreate();
    const bind = (ref: number) => tableBind(table, value(bindToWire(ref, constants, base, null)));
    expect([bind(3).ok, bind(2).ok, bind(1).ok, bind(3).ok, bind(5).ok]).toEqual([true, true, false, false, true]);
    tableUnbind(table, 5);
    expect(bind(5).ok).toBe(false);
  });

  test("a bind that breaks the contract is refused by name; F-021 so is one of an unknown schema", () => {
    const bad = bindToWire(1, { ...constants, tenant: "" }, base, null);
    expect(bad.ok ? "" : describeError(bad.error)).toContain("binding.session.tenant_id");
    const message = value(bindToWire(1, constants, base, 7));
    expect(message.supersedesSessionRef).toBe(7);
    message.binding!.schemaVersion = 2;
    const table = bindingTableCreate();
    const result = tableBind(table, message);
    expect(result.ok ? "" : result.error.reason).toBe("unsupported_schema_version");
    message.binding!.schemaVersion = 0;
    expect(tableBind(table, message).ok).toBe(true);
  });
});

describe("F-033 cut-offs", () => {
  test("contract, link machine and transport port all mean the least generation still accepted", () => {
    fc.assert(
      fc.property(
        fc.record({ turn: fc.nat({ max: 9 }), generation: fc.nat({ max: 9 }), olderTurns: fc.boolean() }),
        fc.nat({ max: 10 }),
        fc.nat({ max: 10 }),
        (cutoff, turn, generation) => {
          const wire = cutoffToWire(cutoff);
          const fences = fencesCreate();
          raiseFence(fences, cutoffFromWire(wire));
          const accepted =
            turn === wire.turnNumber ? generation >= wire.minGeneration : !(wire.olderTurns && turn < wire.turnNumber);
          expect(isFenced(fences, turn, generation)).toBe(!accepted);
          expect(cutoffFromWire(wire)).toEqual(cutoff);
          expect(cutoffOfFence(fenceOfCutoff(cutoff))).toEqual(cutoff);
        },
      ),
    );
  });

  test("a fence of the transport keeps its own generation on the wire", () => {
    const wire = cutoffToWire(cutoffOfFence({ turn: 4, generation: 2, all: true }));
    expect(wire).toEqual(create(TurnCutoffSchema, { turnNumber: 4, minGeneration: 2, olderTurns: true }));
  });

  test("an overtaking message without a cut-off cuts nothing", () => {
    const fences = fencesCreate();
    raiseFence(fences, CUTS_NOTHING);
    expect([isFenced(fences, 0, 0), isFenced(fences, 1, 0)]).toEqual([false, false]);
    expect(cutoffToWire(CUTS_NOTHING)).toEqual(create(TurnCutoffSchema, {}));
    expect(() => cutoffToWire({ turn: 1, generation: 2 ** 32, olderTurns: false })).toThrow(/fits the contract/);
  });
});
