/** Random legal events, for the property tests of this room; and that they are legal. */
import { CONTROL_SIGNALS, type ControlSignal, type SignalField } from "@rspp/kernel/control-signals";
import fc from "fast-check";
import { expect, test } from "vitest";
import { toEnvelope } from "./envelope.ts";
import { actionNames, codecNames, errorReasonNames, metricKindNames, textRoleNames } from "./names.ts";
import { reasonWords } from "./reason.ts";
import type { EventConstants, EventInit, WireControl, WirePayload, WireText } from "./wire-event.ts";

export const constants: EventConstants & { codec: string; sampleRateHz: number; channels: number } = {
  tenant: "acme",
  session: "s-1",
  pipelineVersion: "voice-assistant@1",
  epoch: 4_294_967_297,
  codec: "pcm_s16le",
  sampleRateHz: 16_000,
  channels: 1,
};

export const id = fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 }).filter((s) => s.isWellFormed());
const maybeId = fc.oneof(fc.constant(""), id);
const count = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const bytes = fc.uint8Array({ maxLength: 64 });
const words = fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), fc.string({ maxLength: 20, unit: "grapheme" }), {
  maxKeys: 3,
});

const fieldValue: Record<
  Exclude<SignalField, "namespaced" | "edgeOrNode" | "reason">,
  fc.Arbitrary<string | number>
> = {
  origin: fc.constantFrom("endpoint", "timer", "operator", "api", "endpoint_semantic"),
  scope: fc.constantFrom("session", "turn", "node", "provider_invocation"),
  lastDataSequence: count,
  lastMediaSequence: count,
  budgetLeft: fc.integer({ min: -5_000, max: 100_000 }),
  edge: id,
  lane: fc.constantFrom("control", "data", "telemetry"),
  amount: fc.integer({ min: 1, max: 1_000_000 }),
  fromSequence: fc.nat({ max: 1_000 }),
  toSequence: fc.integer({ min: 1_000, max: 2_000 }),
  syncDomain: id,
  discontinuityId: id,
  provider: id,
  invocation: id,
  epochOld: count,
  epochNew: count,
  mediaUs: count,
  policyId: id,
  levelOld: fc.constantFrom("L0", "L1", "L2"),
  levelNew: fc.constantFrom("L0", "L1", "L2"),
  trigger: fc.constantFrom("queue_fill", "export_lag", "calm"),
};

function fieldsOf(required: readonly SignalField[]): fc.Arbitrary<Record<string, string | number>> {
  const shape: Record<string, fc.Arbitrary<string | number>> = {};
  for (const field of required) {
    if (field === "namespaced") shape["dtmf.digit"] = fc.constantFrom("1", "#");
    else if (field === "edgeOrNode") shape.node = id;
    else if (field !== "reason") shape[field] = fieldValue[field];
  }
  return fc.record(shape);
}

/** A legal signal with its turn; `extras` adds facts without a field of their own. */
export function legalSignal(
  signal: ControlSignal,
  extras = false,
): fc.Arbitrary<{ control: WireControl; turn: number }> {
  const spec = CONTROL_SIGNALS[signal];
  const transport = spec.fields.includes("namespaced");
  const facts =
    extras && !transport
      ? fc.record({ planHash: fc.string({ unit: "grapheme" }), proposal: fc.nat() })
      : fc.constant({});
  return fc
    .record({
      emitter: fc.constantFrom(...spec.emitters),
      scope: fc.constantFrom(...spec.scopes),
      fields: fieldsOf(spec.fields),
      facts,
      reason: spec.fields.includes("reason") ? fc.constantFrom(...reasonWords) : fc.constant(""),
      detail: fc.string({ maxLength: 30, unit: "grapheme" }),
      turn: fc.integer({ min: 1, max: 99 }),
    })
    .map(({ emitter, scope, fields, facts: more, reason, detail, turn }) => ({
      turn: scope === "turn" ? turn : 0,
      control: {
        kind: "control" as const,
        signal,
        emitter,
        scope,
        reason,
        reasonDetail: reason === "" ? "" : detail,
        fields: { ...more, ...fields },
      },
    }));
}

export const signals = Object.keys(CONTROL_SIGNALS) as ControlSignal[];

const text: fc.Arbitrary<WireText> = fc.record({
  kind: fc.constant("text" as const),
  text: fc.string({ unit: "grapheme", maxLength: 80 }),
  segment: fc.nat({ max: 100_000 }),
  revision: fc.nat({ max: 100_000 }),
  final: fc.boolean(),
  role: fc.constantFrom("", ...(textRoleNames.names as WireText["role"][])) as fc.Arbitrary<WireText["role"]>,
  language: fc.constantFrom("", "en-GB", "fr"),
  confidence: fc.option(fc.float({ min: 0, max: 1, noNaN: true }).map((x) => Math.fround(x) + 0)),
  words: fc.array(
    fc
      .record({
        from: fc.nat({ max: 100 }),
        len: fc.integer({ min: 1, max: 9 }),
        startUs: fc.nat(),
        us: fc.nat({ max: 999 }),
      })
      .map(({ from, len, startUs, us }) => ({ from, to: from + len, startUs, endUs: startUs + us })),
    { maxLength: 3 },
  ),
});

export const payloads: Record<WirePayload["kind"], fc.Arbitrary<{ payload: WirePayload; turn: number | null }>> = {
  audio: fc
    .record({
      kind: fc.constant("audio" as const),
      format: fc.oneof(
        fc.constant({ codec: "pcm_s16le", rateHz: 16_000, channels: 1 }),
        fc.record({
          codec: fc.constantFrom(...codecNames.names),
          rateHz: fc.constantFrom(8_000, 24_000, 48_000),
          channels: fc.integer({ min: 1, max: 8 }),
        }),
      ),
      bytes,
      durationUs: fc.nat({ max: 10_000_000 }),
      end: fc.boolean(),
      segment: fc.integer({ min: -1, max: 5 }),
    })
    .map((payload) => ({ payload, turn: null })),
  text: text.map((payload) => ({ payload, turn: null })),
  control: fc
    .constantFrom(...signals)
    .chain((signal) => legalSignal(signal, true))
    .map(({ control, turn }) => ({ payload: control, turn })),
  metrics: fc
    .array(
      fc.record({
        name: fc.constantFrom("edge_depth_items", "latency_ms"),
        kind: fc.constantFrom(...metricKindNames.names) as fc.Arbitrary<"gauge">,
        value: fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => x + 0),
        nodeId: maybeId,
        edgeId: maybeId,
        labels: words,
      }),
      { minLength: 1, maxLength: 3 },
    )
    .map((samples) => ({ payload: { kind: "metrics" as const, samples }, turn: null })),
  debug: fc
    .record({
      kind: fc.constant("debug" as const),
      topic: fc.constant("arbiter"),
      message: fc.string({ unit: "grapheme" }),
      fields: words,
    })
    .map((payload) => ({ payload, turn: null })),
  error: fc
    .record({
      kind: fc.constant("error" as const),
      code: fc.constantFrom(...errorReasonNames.names),
      domain: fc.constant("runtime"),
      metadata: words,
      violations: fc.array(
        fc.record({
          field: fc.constant("a.b"),
          rule: fc.constant("r"),
          message: fc.string({ unit: "grapheme" }),
          file: fc.constant(""),
          line: fc.nat(),
          column: fc.nat(),
        }),
        { maxLength: 2 },
      ),
      remedy: fc.constant("Do it again."),
      retryAfterMs: fc.nat({ max: 1000 }),
      action: fc.constantFrom("", ...actionNames.names),
      causedByEventId: maybeId,
    })
    .map((payload) => ({ payload, turn: null })),
  opaque: fc
    .record({
      kind: fc.constant("opaque" as const),
      type: fc.constant("acme.sentiment"),
      contentType: fc.constant("text/plain"),
      data: bytes,
    })
    .map((payload) => ({ payload, turn: null })),
};

export const anyPayload = fc.oneof(...Object.values(payloads));

/** A legal event with random envelope fields around `payload`. */
export function eventInit(
  payload: fc.Arbitrary<{ payload: WirePayload; turn: number | null }>,
): fc.Arbitrary<EventInit> {
  const core = fc.record({
    turn: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 0xffff_ffff })),
    ownTurnId: fc.boolean(),
    generation: fc.nat({ max: 0xffff_ffff }),
    runtimeSequence: count,
    eventId: fc.oneof(id, fc.constantFrom("a-7", "r-8", "a-0", "r-007", "a-4294967296")),
    nodeId: maybeId,
    edgeId: maybeId,
    causalParentId: maybeId,
    idempotencyKey: maybeId,
    providerInvocationId: maybeId,
    monoNs: fc.oneof(fc.constant(0), count),
    wallMs: fc.oneof(fc.constantFrom(0, 1_790_000_000_123), count),
    mediaTime: fc.option(
      fc.oneof(
        fc.record({ kind: fc.constant("samples" as const), index: count, rateHz: fc.constantFrom(16_000, 48_000) }),
        fc.record({
          kind: fc.constant("samples" as const),
          index: fc.nat({ max: 9_999 }),
          rateHz: fc.constant(16_000),
        }),
        fc.record({ kind: fc.constant("pts" as const), us: count }),
      ),
    ),
    syncId: maybeId,
    syncDomain: maybeId,
    discontinuityId: maybeId,
    mergeGroupId: maybeId,
    mergedFromEventIds: fc.array(id, { maxLength: 3 }),
    lateAfterCancel: fc.boolean(),
    payloadClass: fc.constantFrom("pii", "raw_audio", "raw_text", "metadata", "phi", "derived_summary"),
    handling: fc.constantFrom("allow", "mask", "hash", "drop", "tokenise"),
    extensions: fc.dictionary(
      fc.constantFrom("acme.crm", "acme.x-1"),
      fc.record({ contentType: fc.constant(""), data: bytes }),
      {
        noNullPrototype: true,
      },
    ),
  });
  return fc.tuple(core, payload).map(([{ ownTurnId, ...rest }, { payload: p, turn }]) => {
    const number = turn ?? rest.turn;
    const turnId = number !== 0 && ownTurnId ? { turnId: "turn-x" } : {};
    return { ...rest, turn: number, ...turnId, payload: p } as EventInit;
  });
}

test("random legal events are legal", () => {
  fc.assert(
    fc.property(eventInit(anyPayload), (init) => {
      expect(toEnvelope(constants, init).ok).toBe(true);
    }),
  );
});
