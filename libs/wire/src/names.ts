/** Enums of the contracts <-> the words the kernel uses: the value's name without its prefix, in lower case. */
import type { DescEnum } from "@bufbuild/protobuf";
import { DefaultActionSchema, ErrorReasonSchema } from "@rspp/gen/rspp/common/v1/error_pb";
import { CancelScopeSchema, LaneSchema, RecordingLevelSchema } from "@rspp/gen/rspp/common/v1/lane_pb";
import { AudioCodecSchema } from "@rspp/gen/rspp/event/v1/audio_pb";
import { ControlSignalSchema, RecordingTriggerSchema, TurnOriginSchema } from "@rspp/gen/rspp/event/v1/control_pb";
import { SignalEmitterSchema, SignalScopeSchema } from "@rspp/gen/rspp/event/v1/control_rule_pb";
import { PayloadClassSchema, PayloadHandlingSchema } from "@rspp/gen/rspp/event/v1/event_pb";
import { MetricKindSchema } from "@rspp/gen/rspp/event/v1/metrics_pb";
import { TextRoleSchema } from "@rspp/gen/rspp/event/v1/text_pb";
import { DeliveryStateSchema, HeardBySchema, InvocationOutcomeKindSchema } from "@rspp/gen/rspp/replay/v1/evidence_pb";
import { InputKindSchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { LinkBreakReasonSchema, LinkDropReasonSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";

export interface EnumNames {
  /** The number of a name; undefined for a name that is not one of the enum. "" is zero. */
  number(name: string): number | undefined;
  /** The name of a number, "" for zero and for a number that is not of the enum. */
  name(number: number): string;
  readonly names: readonly string[];
}

function enumNames(schema: DescEnum, rename: (name: string) => string = (name) => name): EnumNames {
  const numbers = new Map<string, number>([["", 0]]);
  const names = new Map<number, string>();
  const prefix = schema.sharedPrefix?.length ?? 0;
  for (const value of schema.values) {
    if (value.number === 0) continue;
    const name = rename(value.name.slice(prefix).toLowerCase());
    numbers.set(name, value.number);
    names.set(value.number, name);
  }
  return {
    number: (name) => numbers.get(name),
    name: (number) => names.get(number) ?? "",
    names: [...names.values()],
  };
}

export const laneNames: EnumNames = enumNames(LaneSchema);
export const codecNames: EnumNames = enumNames(AudioCodecSchema);
export const signalNames: EnumNames = enumNames(ControlSignalSchema);
export const emitterNames: EnumNames = enumNames(SignalEmitterSchema);
export const signalScopeNames: EnumNames = enumNames(SignalScopeSchema);
export const cancelScopeNames: EnumNames = enumNames(CancelScopeSchema);
/** The kernel says `endpoint` for the one endpoint decision it makes itself, by voice activity. */
export const originNames: EnumNames = enumNames(TurnOriginSchema, (n) => (n === "endpoint_vad" ? "endpoint" : n));
/** `L0`, `L1`, `L2`: the only names in capitals. */
export const levelNames: EnumNames = enumNames(RecordingLevelSchema, (name) => name.toUpperCase());
export const triggerNames: EnumNames = enumNames(RecordingTriggerSchema);
export const payloadClassNames: EnumNames = enumNames(PayloadClassSchema);
export const handlingNames: EnumNames = enumNames(PayloadHandlingSchema);
export const metricKindNames: EnumNames = enumNames(MetricKindSchema);
export const textRoleNames: EnumNames = enumNames(TextRoleSchema);
export const errorReasonNames: EnumNames = enumNames(ErrorReasonSchema);
export const actionNames: EnumNames = enumNames(DefaultActionSchema);
export const inputKindNames: EnumNames = enumNames(InputKindSchema);
export const outcomeNames: EnumNames = enumNames(InvocationOutcomeKindSchema);
export const deliveryStateNames: EnumNames = enumNames(DeliveryStateSchema);
export const heardByNames: EnumNames = enumNames(HeardBySchema);
export const breakReasonNames: EnumNames = enumNames(LinkBreakReasonSchema);
export const dropReasonNames: EnumNames = enumNames(LinkDropReasonSchema);
