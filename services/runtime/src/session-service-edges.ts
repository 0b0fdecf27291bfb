/** An edge of a resolved plan in the contract's form (`proto/rspp/pipeline/v1/buffer.proto`). */
import { Lane } from "@rspp/gen/rspp/common/v1/lane_pb";
import {
  FlowControlMode,
  OverflowStrategy,
  SyncPolicy,
  SyncScope,
  WatermarkAction,
} from "@rspp/gen/rspp/pipeline/v1/buffer_pb";
import { PortType } from "@rspp/gen/rspp/pipeline/v1/pipeline_pb";
import type { BufferSpec, EdgeDefinition } from "@rspp/kernel/graph";

const portTypes: Readonly<Record<EdgeDefinition["type"], PortType>> = {
  audio: PortType.AUDIO,
  text: PortType.TEXT,
  activity: PortType.VOICE_ACTIVITY,
  utterance: PortType.UTTERANCE,
  messages: PortType.MESSAGES,
};

const strategies: Readonly<Record<EdgeDefinition["buffer"]["strategy"], OverflowStrategy>> = {
  block: OverflowStrategy.BLOCK,
  drop_newest: OverflowStrategy.DROP_NEWEST,
  drop_oldest: OverflowStrategy.DROP_OLDEST,
  latest_only: OverflowStrategy.LATEST_ONLY,
  coalesce: OverflowStrategy.COALESCE,
  sample: OverflowStrategy.SAMPLE,
};

const flows: Readonly<Record<NonNullable<BufferSpec["flow"]>, FlowControlMode>> = {
  signal: FlowControlMode.SIGNAL,
  credit: FlowControlMode.CREDIT,
  hybrid: FlowControlMode.HYBRID,
};
const actions: Readonly<Record<NonNullable<BufferSpec["watermark"]>["action"], WatermarkAction>> = {
  block: WatermarkAction.BLOCK,
  drop: WatermarkAction.DROP,
  merge: WatermarkAction.MERGE,
  degrade: WatermarkAction.DEGRADE,
  fallback: WatermarkAction.FALLBACK,
};
const policies = {
  atomic_drop: SyncPolicy.ATOMIC_DROP,
  drop_with_discontinuity: SyncPolicy.DROP_WITH_DISCONTINUITY,
  no_sync: SyncPolicy.NO_SYNC,
} as const;
const reaches = { edge_local: SyncScope.EDGE_LOCAL, plan_wide: SyncScope.PLAN_WIDE } as const;

const MS_MAX = 10_000;

export function edgeOf({ id, from, to, type, buffer, condition }: EdgeDefinition) {
  const { maxItems, maxBytes, maxQueueMs, maxLatencyMs, watermark, sync } = buffer;
  // A bound past what the contract can say is left open there.
  const told = {
    ...(maxItems >= 1 && maxItems <= 65_536 ? { maxItems } : {}),
    ...(maxBytes >= 1 && maxBytes <= 67_108_864 ? { maxBytes } : {}),
    ...(maxQueueMs >= 1 && maxQueueMs <= 60_000 ? { maxTimeInQueueMs: maxQueueMs } : {}),
    ...(maxLatencyMs !== undefined && maxLatencyMs <= 60_000 ? { maxAddedLatencyMs: maxLatencyMs } : {}),
  };
  const watermarks =
    watermark === undefined
      ? undefined
      : {
          highPermille: Math.round(watermark.high * 1_000),
          lowPermille: Math.round(watermark.low * 1_000),
          action: actions[watermark.action],
        };
  const synced =
    sync === undefined
      ? {}
      : {
          syncPolicy: policies[sync.policy],
          syncScope: reaches[sync.scope],
          syncDomain: sync.group,
        };
  return {
    id,
    from,
    to,
    type: portTypes[type],
    buffer: { ...told, laneRules: laneRules(buffer), ...(watermarks === undefined ? {} : { watermarks }), ...synced },
    when: condition?.source ?? "",
  };
}

function laneRules({ strategy, maxBlockMs, sampleEvery = 0, coalesceMs = 0, flow, lanes }: BufferSpec) {
  const data = {
    lane: Lane.DATA,
    strategy: strategies[strategy],
    maxBlockTimeMs: Math.min(maxBlockMs, MS_MAX),
    sampleEvery,
    coalesceCadenceMs: Math.min(coalesceMs, MS_MAX),
    ...(flow === undefined ? {} : { flowControl: flows[flow] }),
  };
  const telemetry = lanes?.telemetry;
  return [
    ...(lanes?.control === undefined ? [] : [{ lane: Lane.CONTROL, strategy: strategies.block }]),
    data,
    ...(telemetry === undefined
      ? []
      : [{ lane: Lane.TELEMETRY, strategy: strategies[telemetry.strategy], sampleEvery: telemetry.sampleEvery ?? 0 }]),
  ];
}
