import type { MonoNs } from "@rspp/base/brand";
import type { SignalEvent } from "@rspp/kernel/effect";
import type { EventBody, KernelEvent } from "@rspp/kernel/event";
import { describe, expect, test } from "vitest";
import { constants } from "./arbitrary.test.ts";
import { fromEnvelope } from "./decode.ts";
import { toEnvelope } from "./envelope.ts";
import { ingressOf, kernelEventInit, mediaInit, signalInit } from "./kernel-event.ts";
import { describeError } from "./wire-error.ts";
import type { EventInit, WireEvent } from "./wire-event.ts";

function sent(init: EventInit): WireEvent {
  const made = toEnvelope(constants, init);
  if (!made.ok) throw new Error(describeError(made.error));
  const result = fromEnvelope(made.value);
  if (!result.ok || result.value.outcome !== "event") throw new Error("refused");
  return result.value.event;
}

const signal = (event: Partial<SignalEvent>): SignalEvent => ({
  ...{ signal: "close", emitter: "arbiter", seq: 12, turn: 2, generation: 1, epoch: constants.epoch },
  ...{ monoNs: 5 as MonoNs, cause: 4, reason: "", fields: {} },
  ...event,
});

describe("signals as the kernel emits them", () => {
  test.each<[string, Partial<SignalEvent>, object]>([
    [
      "turn_open",
      { signal: "turn_open", fields: { origin: "endpoint", turnId: "turn-9", planHash: "ab" } },
      { scope: "turn" },
    ],
    ["commit", { signal: "commit", fields: { lastDataSequence: 40 } }, {}],
    ["abort", { signal: "abort", reason: "cancelled", fields: { cause: "barge_in" } }, { reason: "cancelled" }],
    [
      "barge_in",
      { signal: "barge_in", emitter: "prelude", reason: "barge_in", fields: { scope: "turn" } },
      { scope: "turn", fields: { scope: "turn" } },
    ],
    [
      "deauthorized_drain",
      { signal: "deauthorized_drain", emitter: "guard", reason: "revoked", fields: { scope: "turn" } },
      { scope: "turn", reason: "authority_loss", reasonDetail: "revoked", fields: {} },
    ],
    [
      "stale_epoch_reject",
      {
        ...{ signal: "stale_epoch_reject", emitter: "guard", turn: 0, generation: 0, reason: "stale_epoch_audio" },
        fields: { scope: "scheduling_point", epochOld: 1, epochNew: 2 },
      },
      { scope: "scheduling_point", reason: "stale_epoch" },
    ],
    [
      "drop_notice",
      {
        ...{ signal: "drop_notice", emitter: "edge", reason: "drop_oldest" },
        fields: { scope: "none", edge: "a.out->b.in", lane: "data", fromSequence: 3, toSequence: 5 },
      },
      { scope: "turn", fields: { edge: "a.out->b.in", lane: "data", fromSequence: 3, toSequence: 5 } },
    ],
    [
      "drop_notice of a merge",
      {
        ...{ signal: "drop_notice", emitter: "edge", reason: "merged" },
        fields: {
          ...{ edge: "a.out->b.in", lane: "telemetry", fromSequence: 3, toSequence: 5 },
          ...{ mergeGroup: 1, mergedInto: 6, mergedFrom: "3,4,5", mergedCount: 3 },
        },
      },
      {},
    ],
    [
      "watermark",
      {
        ...{ signal: "watermark", emitter: "edge", reason: "high" },
        fields: { edge: "e", lane: "data", action: "degrade", level: 80 },
      },
      {},
    ],
    [
      "credit_grant",
      { signal: "credit_grant", emitter: "flow_control", fields: { edge: "e", lane: "data", amount: 4 } },
      {},
    ],
    [
      "degrade",
      { signal: "degrade", emitter: "edge", reason: "watermark_degrade", fields: { edge: "e", node: "vad" } },
      {},
    ],
    [
      "route_decision",
      { signal: "route_decision", emitter: "executor", reason: "condition", fields: { edge: "e", taken: 1, event: 9 } },
      {},
    ],
  ])("%s arrives as it was meant", (_name, event, expected) => {
    const got = sent(signalInit(signal(event), 1_790_000_000_000));
    expect(got).toMatchObject({
      runtimeSequence: 12,
      eventId: "r-12",
      causalParentId: "i-4",
      lane: "control",
      monoNs: 5,
    });
    expect(got.payload).toMatchObject({ kind: "control", signal: event.signal, ...expected });
    const { scope: _scope, ...fields } = event.fields ?? {};
    expect(got.payload.kind === "control" ? got.payload.fields : {}).toMatchObject(fields);
  });
});

const event = (body: EventBody): KernelEvent => ({
  ...{ seq: 7, lane: 1 as const, turn: 1, generation: 0, utterance: 1, monoNs: 9 as MonoNs, cause: 3, body },
});
const from = { wallMs: 1_790_000_000_000, nodeId: "tts", edgeId: "tts.audio->output.audio" };
const handle = { ref: 1, hash: "", bytes: 640 };
const format = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 };

test("F-146 a discontinuity arrives with its domain, id and edge", () => {
  const event = signal({
    ...{ signal: "discontinuity", emitter: "sync", reason: "atomic_drop" },
    fields: { syncDomain: "mic", discontinuityId: 41, edge: "e" },
  });
  const { payload } = sent(signalInit(event, 1_790_000_000_000));
  expect(payload).toMatchObject({ fields: { syncDomain: "mic", discontinuityId: "41", edge: "e" } });
});

describe("events of the graph", () => {
  test("audio and text carry what their handles stand for", () => {
    const audio = kernelEventInit(
      event({
        ...{ type: "audio", payload: handle, format, durationUs: 20_000, mediaUs: 40_000, segment: 2 },
        ...{ segmentEnd: false, segmentChars: 0, words: null },
      }),
      { ...from, bytes: new Uint8Array(640) },
    );
    if (!audio.ok) throw new Error("refused");
    expect(sent(audio.value)).toMatchObject({
      ...{ nodeId: "tts", causalParentId: "r-3", mediaTime: { kind: "samples", index: 640, rateHz: 16_000 } },
      payload: { kind: "audio", segment: 2, durationUs: 20_000 },
    });
    const text = kernelEventInit(
      event({
        type: "text",
        spans: [],
        chars: 5,
        segment: 0,
        revision: 1,
        final: true,
        confidence: 0.9,
        language: "en-US",
      }),
      { ...from, text: "hello", role: "user" },
    );
    if (!text.ok) throw new Error("refused");
    expect(sent(text.value).payload).toMatchObject({ kind: "text", text: "hello", final: true, role: "user" });
  });

  test("bodies without a payload kind, and unresolved handles, are refused by name", () => {
    const activity = kernelEventInit(
      event({ type: "activity", speech: true, probability: 1, mediaUs: 0, durationUs: 1 }),
      from,
    );
    expect(activity.ok ? "" : describeError(activity.error)).toContain("activity has no payload kind");
    const text = kernelEventInit(
      event({ type: "text", spans: [], chars: 5, segment: 0, revision: 1, final: true, confidence: 0.9, language: "" }),
      from,
    );
    expect(text.ok ? "" : describeError(text.error)).toContain("text.text");
  });
});

describe("what an adapter sends, as the transport port takes it", () => {
  const audio: EventInit = {
    ...mediaInit(
      { turn: 0, generation: 0, offsetUs: 20_000, durationUs: 20_000, format, bytes: new Uint8Array(2), end: false },
      "a-1",
      1,
    ),
    transportSequence: 2,
    idempotencyKey: "k",
  };
  const control: EventInit = {
    ...{ eventId: "a-2", transportSequence: 3 },
    payload: {
      ...{ kind: "control", signal: "mute", emitter: "client", scope: "session", reason: "", reasonDetail: "" },
      fields: { lastMediaSequence: 8 },
    },
  };

  test("audio and control", () => {
    expect(ingressOf(sent(audio))).toEqual({
      ok: true,
      value: {
        ...{ kind: "audio", epoch: constants.epoch, sequence: 2, mediaUs: 20_000, durationUs: 20_000, format },
        ...{ bytes: new Uint8Array(2), idempotencyKey: "k" },
      },
    });
    expect(ingressOf(sent(control))).toEqual({
      ok: true,
      value: {
        ...{ kind: "control", epoch: constants.epoch, sequence: 3, signal: "mute", controlClass: "positioned" },
        lastMediaSequence: 8,
      },
    });
  });

  test.each<[string, EventInit]>([
    ["media_time", { ...audio, mediaTime: null }],
    ["transport_sequence", { ...audio, transportSequence: 0 }],
    ["an adapter sends no debug", { ...audio, payload: { kind: "debug", topic: "t", message: "", fields: {} } }],
  ])("refused by name: %s", (what, init) => {
    const result = ingressOf(sent(init));
    expect(result.ok ? "accepted" : describeError(result.error)).toContain(what);
  });
});
