/** Signals a client may say, in the contract's form. */
import { create } from "@bufbuild/protobuf";
import type { CancelScope } from "@rspp/gen/rspp/common/v1/lane_pb";
import type { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import { type Control, ControlSchema, type ControlSignal } from "@rspp/gen/rspp/event/v1/control_pb";
import { SignalEmitter, SignalScope } from "@rspp/gen/rspp/event/v1/control_rule_pb";

export interface SignalFields {
  lastMediaSequence?: bigint;
  cancelScope?: CancelScope;
  reason?: Reason;
  transportFields?: Record<string, string>;
}

/** The server speaks it to the runtime in its own name. */
export function controlOf(signal: ControlSignal, fields: SignalFields): Control {
  return create(ControlSchema, { signal, emitter: SignalEmitter.CLIENT, scope: SignalScope.SESSION, ...fields });
}
