import { create } from "@bufbuild/protobuf";
import { Lane } from "@rspp/gen/rspp/common/v1/lane_pb";
import { FlowControlMode, OverflowStrategy, SyncScope, WatermarkAction } from "@rspp/gen/rspp/pipeline/v1/buffer_pb";
import { ResolvedEdgeSchema } from "@rspp/gen/rspp/plan/v1/plan_pb";
import type { BufferSpec, EdgeDefinition } from "@rspp/kernel/graph";
import { validate } from "@rspp/wire/validate";
import { expect, test } from "vitest";
import { edgeOf } from "./session-service-edges.ts";

const plain: BufferSpec = {
  maxItems: 8,
  maxBytes: 1_000,
  maxQueueMs: 500,
  strategy: "drop_oldest",
  maxBlockMs: 0,
  source: "spec",
};

function told(over: Partial<BufferSpec>, condition?: EdgeDefinition["condition"]) {
  const from = { node: "a", port: "out" };
  const to = { node: "b", port: "in" };
  const edge: EdgeDefinition = { id: "e", from, to, type: "audio", buffer: { ...plain, ...over } };
  const message = create(ResolvedEdgeSchema, edgeOf(condition === undefined ? edge : { ...edge, condition }));
  const checked = validate(ResolvedEdgeSchema, message);
  if (!checked.ok) throw new Error(JSON.stringify(checked.error));
  return message;
}

test("F-143 F-144 F-145 F-146 F-147 a resolved edge in the contract's form says all of its buffer, and its condition", () => {
  const message = told(
    {
      maxLatencyMs: 200,
      strategy: "sample",
      sampleEvery: 3,
      watermark: { high: 0.8, low: 0.35, action: "fallback" },
      flow: "hybrid",
      credits: 4,
      lanes: { control: "block", telemetry: { strategy: "sample", maxItems: 4, sampleEvery: 10 } },
      sync: { group: "mic", policy: "atomic_drop", scope: "plan_wide" },
    },
    { source: 'event.language == "de"', evaluator: "cel/1" },
  );
  expect(message.when).toBe('event.language == "de"');
  expect(message.buffer).toMatchObject({
    maxAddedLatencyMs: 200,
    watermarks: { highPermille: 800, lowPermille: 350, action: WatermarkAction.FALLBACK },
    syncDomain: "mic",
    syncScope: SyncScope.PLAN_WIDE,
  });
  expect(message.buffer?.laneRules).toMatchObject([
    { lane: Lane.CONTROL, strategy: OverflowStrategy.BLOCK },
    { lane: Lane.DATA, strategy: OverflowStrategy.SAMPLE, sampleEvery: 3, flowControl: FlowControlMode.HYBRID },
    { lane: Lane.TELEMETRY, strategy: OverflowStrategy.SAMPLE, sampleEvery: 10 },
  ]);
});

test("F-143 an edge of which nothing more was said says nothing more", () => {
  const message = told({});
  expect(message.when).toBe("");
  expect(message.buffer?.watermarks).toBeUndefined();
  expect(message.buffer?.laneRules).toHaveLength(1);
  expect(message.buffer?.maxAddedLatencyMs).toBeUndefined();
});
