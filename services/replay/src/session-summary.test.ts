import { create } from "@bufbuild/protobuf";
import { canonicalJson } from "@rspp/base/canonical-json";
import type { TimelineRecord } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { TimelineRecordSchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { expect, test } from "vitest";
import { SessionSummaryBuilder } from "./session-summary.ts";
import { summaryToWire } from "./summary-wire.ts";
import { chainOf } from "./testing/records.ts";

const session = { tenantId: "t", sessionId: "s" };
const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(canonicalJson(value));

function stepOf(...inputs: unknown[]): TimelineRecord {
  const value = { inputs: inputs.map((body, i) => ({ monotonicNs: BigInt(i), body: bytes(body) })) };
  return create(TimelineRecordSchema, { session, level: 2, wallMs: 5_000n, body: { case: "batch", value } as never });
}

function summed(records: readonly TimelineRecord[]) {
  const builder = new SessionSummaryBuilder();
  for (const record of records) builder.take(record);
  return builder.finish(session);
}

const outcome = (usage: object | null) => ({
  type: "provider_outcome",
  invocation: 1,
  outcome: "success",
  detail: "",
  usage,
});

test("F-075 tokens and the caller's audio are summed from the journal; without one they are not known, which is not none", () => {
  const [header, ...rest] = chainOf(3, { ended: true });
  if (header === undefined) throw new Error("no header");
  const steps = [
    stepOf(outcome({ inputTokens: 100, outputTokens: 7 }), outcome(null), outcome({ audioUs: 5 })),
    stepOf({ type: "audio", durationUs: 20_000, mediaUs: 0 }, { type: "audio", durationUs: 20_000, mediaUs: 20_000 }),
    stepOf(outcome({ inputTokens: 11 })),
  ];
  const told = summed([header, ...steps, ...rest]);
  expect(told).toMatchObject({
    tokens: { input: 111, output: 7 },
    audio: { caller_ms: 40, heard_ms: 0 },
    complete: true,
  });
  // The pipeline has no prices.
  expect(told.cost_micros).toBeNull();
  expect(summaryToWire(told)).toMatchObject({ inputTokens: 111n, outputTokens: 7n, callerAudioMs: 40n });
  const bare = summed([header, ...rest]);
  expect(bare).toMatchObject({ tokens: null, audio: { caller_ms: null }, complete: true });
  expect(summaryToWire(bare).inputTokens).toBeUndefined();
});

test("F-075 a session without an end, with a declared loss or with what cannot be read is not complete", () => {
  const whole = chainOf(3, { ended: true });
  expect(summed(whole).complete).toBe(true);
  expect(summed(chainOf(3))).toMatchObject({ complete: false, reason: "lost" });
  const value = { name: "evidence_lost", fields: {} };
  const loss = create(TimelineRecordSchema, { session, body: { case: "marker", value } });
  expect(summed([...whole, loss]).complete).toBe(false);
  const garbled = create(TimelineRecordSchema, {
    session,
    body: { case: "batch", value: { inputs: [{ body: new TextEncoder().encode("{") }] } } as never,
  });
  expect(summed([...whole, garbled]).complete).toBe(false);
});
