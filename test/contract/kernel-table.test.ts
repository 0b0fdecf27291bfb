import { getOption } from "@bufbuild/protobuf";
import { ControlClass } from "@rspp/gen/rspp/common/v1/lane_pb";
import { ControlSignalSchema } from "@rspp/gen/rspp/event/v1/control_pb";
import { control_signal_rule, SignalEmitterSchema, SignalScopeSchema } from "@rspp/gen/rspp/event/v1/control_rule_pb";
import { CONTROL_SIGNALS, type SignalField } from "@rspp/kernel/control-signal-table";
import { expect, test } from "vitest";

/** The kernel's names of required fields and the contract's. */
const fieldNames: Record<SignalField, readonly string[]> = {
  origin: ["origin"],
  reason: ["reason"],
  lastDataSequence: ["last_data_sequence"],
  lastMediaSequence: ["last_media_sequence"],
  scope: ["cancel_scope"],
  budgetLeft: ["budget_left"],
  edge: ["edge_id"],
  lane: ["lane"],
  amount: ["amount"],
  fromSequence: ["sequence_range"],
  toSequence: ["sequence_range"],
  syncDomain: ["sync_domain"],
  discontinuityId: ["discontinuity_id"],
  provider: ["provider_id"],
  invocation: ["invocation_id"],
  epochOld: ["epoch_old"],
  epochNew: ["epoch_new"],
  mediaUs: ["media_time"],
  policyId: ["recording_policy_id"],
  levelOld: ["recording_level_old"],
  levelNew: ["recording_level_new"],
  trigger: ["recording_trigger"],
  edgeOrNode: ["edge_id", "node_id"],
  namespaced: ["transport_fields"],
};

const short = (name: string | undefined, prefix: string): string => (name ?? "?").replace(prefix, "").toLowerCase();

/** The kernel writes a dash as both scopes of an event, and an active turn as a turn. */
function kernelScopes(scopes: readonly string[]): string[] {
  const names = scopes.map((scope) => (scope === "active_turn" ? "turn" : scope));
  return (names.length === 0 ? ["session", "turn"] : names).sort();
}

const rules = ControlSignalSchema.values
  .filter((value) => value.number !== 0)
  .map((value) => [short(value.name, "CONTROL_SIGNAL_"), getOption(value, control_signal_rule)] as const);

test("F-025 the kernel and the contracts know the same signals", () => {
  expect(rules.map(([signal]) => signal).sort()).toEqual(Object.keys(CONTROL_SIGNALS).sort());
});

test.each(rules)("%s means the same to the kernel and to the contracts", (signal, rule) => {
  const spec = CONTROL_SIGNALS[signal as keyof typeof CONTROL_SIGNALS];
  const emitters = rule.emitters.map((e) => short(SignalEmitterSchema.value[e]?.name, "SIGNAL_EMITTER_"));
  const scopes = rule.scopes.map((s) => short(SignalScopeSchema.value[s]?.name, "SIGNAL_SCOPE_"));
  const fields = new Set(spec.fields.flatMap((field) => fieldNames[field]));
  expect(emitters.sort()).toEqual([...spec.emitters].sort());
  expect(kernelScopes(scopes)).toEqual([...spec.scopes].sort());
  expect([...rule.requiredFields, ...rule.requiredAnyOf].sort()).toEqual([...fields].sort());
  expect(short(ControlClass[rule.controlClass], "").replace("ordered", "none")).toBe(spec.class);
});
