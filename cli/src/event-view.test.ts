import { create } from "@bufbuild/protobuf";
import { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import { ControlSchema, ControlSignal } from "@rspp/gen/rspp/event/v1/control_pb";
import { type Envelope, EnvelopeSchema } from "@rspp/gen/rspp/event/v1/event_pb";
import { MetricsSchema } from "@rspp/gen/rspp/event/v1/metrics_pb";
import { TextRole, TextSchema } from "@rspp/gen/rspp/event/v1/text_pb";
import { expect, test } from "vitest";
import { eventData, eventLine, isNoise } from "./event-view.ts";

const event = (payload: Envelope["payload"]): Envelope =>
  create(EnvelopeSchema, { schemaVersion: 1, turnNumber: 2, sessionId: "s", wallMs: 1_700_000_000_123n, payload });
const metrics = (name: string, value: number): Envelope["payload"] => ({
  case: "metrics",
  value: create(MetricsSchema, { samples: [{ name, value, nodeId: "tts" }] }),
});

test("an event in one line: turn, kind, words; control characters cannot act", () => {
  const text = create(TextSchema, { role: TextRole.USER, text: "tell me\u001b[2J", final: true });
  expect(eventLine(event({ case: "text", value: text }))).toMatch(/:\d\d\.123 {2}turn 2 {3}caller {4}"tell me \[2J"$/);
  const control = create(ControlSchema, { signal: ControlSignal.BARGE_IN, reason: Reason.BARGE_IN, nodeId: "tts" });
  expect(eventLine(event({ case: "control", value: control }))).toMatch(/control {3}barge_in, node tts$/);
  expect(eventLine(event(metrics("voice_to_voice_ms", 571.956)))).toMatch(/latency {3}tts voice_to_voice_ms 571\.96$/);
  expect([isNoise(event(metrics("edge_depth_items", 3))), isNoise(event(metrics("turn_open_ms", 3)))]).toEqual([
    true,
    false,
  ]);
  expect(eventData(event({ case: "text", value: text }))).toMatchObject({ session_id: "s", turn_number: 2 });
});
