import { getOption, hasOption } from "@bufbuild/protobuf";
import { ControlClass } from "@rspp/gen/rspp/common/v1/lane_pb";
import { ControlSchema, ControlSignalSchema } from "@rspp/gen/rspp/event/v1/control_pb";
import { control_signal_rule, SignalEmitterSchema, SignalScopeSchema } from "@rspp/gen/rspp/event/v1/control_rule_pb";
import { describe, expect, test } from "vitest";

/**
 * The table of `kernel.md` §13, written out by hand:
 * signals | emitted by | scope ("-" where the table has a dash) | must carry ("a/b": one of the two).
 */
const table = `
turn_open_proposed | prelude timer operator api | session | origin
turn_open close | arbiter | turn | -
abort | arbiter | turn | reason
commit | arbiter | turn | last_data_sequence
end_of_utterance mute unmute | adapter client | session | last_media_sequence
output_hold output_resume | prelude | turn | reason
barge_in stop cancel cancel_requested | prelude cancellation adapter operator | session turn node provider_invocation | cancel_scope reason
cancel_ack node_stopped | node_host | node | reason
budget_warning budget_exhausted | budget | turn session | reason budget_left
degrade fallback degraded recovered | budget edge | turn session | reason
admit reject defer | local_admission control_plane_admission | session | reason
shed | local_admission | edge_enqueue edge_dequeue node_dispatch | reason
watermark | edge | - | edge_id lane reason
flow_xoff | flow_control | - | edge_id lane reason
flow_xon | flow_control | - | edge_id lane
credit_grant | flow_control | - | edge_id lane amount
drop_notice | edge merge | - | edge_id lane reason sequence_range
discontinuity | sync | - | sync_domain discontinuity_id reason
provider_error circuit_event provider_switch | invocation | turn session | reason provider_id invocation_id
lease_issued lease_rotated migration_start migration_finish session_handoff | lease routing | session | epoch_old epoch_new
stale_epoch_reject | guard | pre_turn scheduling_point | reason epoch_old epoch_new
deauthorized_drain | guard | pre_turn active_turn | reason
connected reconnecting disconnected silence muted | adapter | session | -
ended stall | adapter | session | reason
output_accepted playback_started playback_completed playback_cancelled playback_lost | adapter egress | turn | media_time
recording_level_changed | recording | session | recording_policy_id recording_level_old recording_level_new recording_trigger
route_decision node_error | executor node_host | turn session | edge_id/node_id reason
dtmf transport_signal | adapter | session turn | transport_fields
`;

/** `kernel.md` §2 and §6; every other signal keeps its order within the lane. */
const overtaking = "barge_in stop cancel cancel_requested deauthorized_drain".split(" ");
const positioned = "end_of_utterance mute unmute dtmf transport_signal ended commit close".split(" ");

interface Row {
  emitters: string[];
  scopes: string[];
  required: string[];
  anyOf: string[];
  class: string;
}

function words(cell: string | undefined): string[] {
  const text = (cell ?? "").trim();
  return text === "-" || text === "" ? [] : text.split(" ");
}

function classOf(signal: string): string {
  if (overtaking.includes(signal)) return "overtaking";
  return positioned.includes(signal) ? "positioned" : "ordered";
}

const expected = new Map<string, Row>();
for (const line of table.trim().split("\n")) {
  const [signals, emitters, scopes, carried] = line.split("|");
  const fields = words(carried);
  for (const signal of words(signals)) {
    expected.set(signal, {
      emitters: words(emitters).sort(),
      scopes: words(scopes).sort(),
      required: fields.filter((field) => !field.includes("/")).sort(),
      anyOf: fields
        .filter((field) => field.includes("/"))
        .flatMap((field) => field.split("/"))
        .sort(),
      class: classOf(signal),
    });
  }
}

const short = (name: string | undefined, prefix: string): string => (name ?? "?").replace(prefix, "").toLowerCase();

const actual = new Map<string, Row>();
for (const value of ControlSignalSchema.values) {
  if (value.number === 0) continue;
  const rule = getOption(value, control_signal_rule);
  actual.set(short(value.name, "CONTROL_SIGNAL_"), {
    emitters: rule.emitters.map((e) => short(SignalEmitterSchema.value[e]?.name, "SIGNAL_EMITTER_")).sort(),
    scopes: rule.scopes.map((s) => short(SignalScopeSchema.value[s]?.name, "SIGNAL_SCOPE_")).sort(),
    required: [...rule.requiredFields].sort(),
    anyOf: [...rule.requiredAnyOf].sort(),
    class: short(ControlClass[rule.controlClass], ""),
  });
}

describe("the control signals of the contracts are the table of kernel.md §13", () => {
  test("F-025 the set is closed and the same", () => {
    expect([...actual.keys()].sort()).toEqual([...expected.keys()].sort());
  });

  test.each([...expected])("%s has its emitters, scopes, fields and class", (signal, row) => {
    expect(actual.get(signal)).toEqual(row);
  });

  test("every value but zero has a row, and every row names fields of Control", () => {
    const names = new Set(ControlSchema.fields.map((field) => field.name));
    for (const value of ControlSignalSchema.values) {
      expect(hasOption(value, control_signal_rule), value.name).toBe(value.number !== 0);
    }
    for (const [signal, row] of actual) {
      for (const field of [...row.required, ...row.anyOf]) expect(names, signal).toContain(field);
    }
  });

  test("required fields can be told from absent ones", () => {
    const required = new Set([...expected.values()].flatMap((row) => [...row.required, ...row.anyOf]));
    for (const name of required) {
      const field = ControlSchema.fields.find((candidate) => candidate.name === name);
      expect(field?.fieldKind === "map" || field?.proto.proto3Optional, name).toBe(true);
    }
  });
});
