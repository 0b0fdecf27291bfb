import { describe, expect, test } from "vitest";
import { CONTROL_SIGNALS, checkSignal, INGRESS_SIGNALS, isControlSignal } from "./control-signals.ts";

/** kernel.md §13 and §6 as literals: signals | emitters | scopes | fields | class. */
const table = `
turn_open_proposed | prelude timer operator api | session | origin | none
turn_open | arbiter | turn | | none
commit | arbiter | turn | lastDataSequence | positioned
abort | arbiter | turn | reason | none
close | arbiter | turn | | positioned
end_of_utterance mute unmute | adapter client | session | lastMediaSequence | positioned
output_hold output_resume | prelude | turn | reason | none
barge_in stop cancel cancel_requested | prelude cancellation adapter operator | session turn node provider_invocation | scope reason | overtaking
cancel_ack node_stopped | node_host | node | reason | none
budget_warning budget_exhausted | budget | turn session | reason budgetLeft | none
degrade fallback degraded recovered | budget edge | turn session | reason | none
admit reject defer | local_admission control_plane_admission | session | reason | none
shed | local_admission | edge_enqueue edge_dequeue node_dispatch | reason | none
watermark | edge | session turn | edge lane reason | none
flow_xoff | flow_control | session turn | edge lane reason | none
flow_xon | flow_control | session turn | edge lane | none
credit_grant | flow_control | session turn | edge lane amount | none
drop_notice | edge merge | session turn | edge lane reason fromSequence toSequence | none
discontinuity | sync | session turn | syncDomain discontinuityId reason | none
provider_error circuit_event provider_switch | invocation | turn session | reason provider invocation | none
lease_issued lease_rotated migration_start migration_finish session_handoff | lease routing | session | epochOld epochNew | none
stale_epoch_reject | guard | pre_turn scheduling_point | reason epochOld epochNew | none
deauthorized_drain | guard | pre_turn turn | reason | overtaking
connected reconnecting disconnected silence muted | adapter | session | | none
ended | adapter | session | reason | positioned
stall | adapter | session | reason | none
output_accepted playback_started playback_completed playback_cancelled playback_lost | adapter egress | turn | mediaUs | none
recording_level_changed | recording | session | policyId levelOld levelNew trigger | none
route_decision node_error | executor node_host | turn session | edgeOrNode reason | none
dtmf transport_signal | adapter | session turn | namespaced | positioned
`;

const rows = table
  .trim()
  .split("\n")
  .flatMap((line) => {
    const [signals, emitters, scopes, fields, signalClass] = line
      .split("|")
      .map((cell) => cell.trim().split(" ").filter(Boolean));
    return signals!.map((signal) => ({
      signal,
      emitters: emitters!,
      scopes: scopes!,
      fields: fields!,
      class: signalClass![0]!,
    }));
  });

const good: Readonly<Record<string, Record<string, unknown>>> = {
  edgeOrNode: { edge: "a" },
  namespaced: { "telephony.digit": "5" },
  amount: { amount: 1 },
  fromSequence: { fromSequence: 3 },
  toSequence: { toSequence: 3 },
  lastDataSequence: { lastDataSequence: 0 },
  lastMediaSequence: { lastMediaSequence: 9 },
  mediaUs: { mediaUs: 0 },
  epochOld: { epochOld: 6 },
  epochNew: { epochNew: 7 },
  budgetLeft: { budgetLeft: -2.5 },
};
const filled = (fields: readonly string[]) =>
  Object.assign({}, ...fields.map((f) => good[f] ?? { [f]: "x" })) as Record<string, unknown>;

describe("F-025 the closed set of control signals", () => {
  test("F-025 it is exactly the table of kernel.md §13", () => {
    expect(Object.keys(CONTROL_SIGNALS).sort()).toEqual(rows.map((r) => r.signal).sort());
    for (const { signal, ...spec } of rows) {
      expect(isControlSignal(signal) && CONTROL_SIGNALS[signal], signal).toEqual(spec);
    }
  });

  test("F-025 an adapter or client may send these and no others", () => {
    expect([...INGRESS_SIGNALS].sort()).toEqual(
      [
        "end_of_utterance",
        "mute",
        "unmute",
        "barge_in",
        "stop",
        "cancel",
        "cancel_requested",
        "connected",
        "reconnecting",
        "disconnected",
        "ended",
        "silence",
        "muted",
        "stall",
        "output_accepted",
        "playback_started",
        "playback_completed",
        "playback_cancelled",
        "playback_lost",
        "dtmf",
        "transport_signal",
      ].sort(),
    );
  });

  const emitters = [...new Set(rows.flatMap((r) => r.emitters)), "", "constructor"];
  const scopes = [...new Set(rows.flatMap((r) => r.scopes)), "", "edge"];
  for (const row of rows) {
    test(`F-025 ${row.signal}: legal emitters, scopes and fields pass, each other one is refused by name`, () => {
      const fields = filled(row.fields);
      for (const emitter of emitters) {
        for (const scope of scopes) {
          const expected = !row.emitters.includes(emitter)
            ? "emitter"
            : !row.scopes.includes(scope)
              ? "scope"
              : undefined;
          expect(checkSignal(row.signal, emitter, scope, fields)?.field).toBe(expected);
        }
      }
      const check = (f: Record<string, unknown>) => checkSignal(row.signal, row.emitters[0]!, row.scopes[0]!, f)?.field;
      for (const field of row.fields) {
        expect(check(filled(row.fields.filter((f) => f !== field))), `without ${field}`).toBe(field);
        if (field !== "edgeOrNode" && field !== "namespaced") {
          for (const bad of ["", null, Number.NaN, {}, undefined])
            expect(check({ ...fields, [field]: bad })).toBe(field);
        }
      }
    });
  }

  test("F-025 a signal outside the set is refused, names of Object.prototype included", () => {
    for (const name of ["", "hello", "constructor", "__proto__", "toString", "CANCEL"]) {
      expect(checkSignal(name, "adapter", "session", {})).toEqual({ field: "signal", reason: "not a control signal" });
    }
  });

  test("F-025 numbers have their ranges", () => {
    const grant = (amount: unknown) =>
      checkSignal("credit_grant", "flow_control", "turn", { edge: "a", lane: 1, amount });
    expect([grant(1), grant(0)?.field, grant(1.5)?.field, grant("3")?.field]).toEqual([
      null,
      "amount",
      "amount",
      "amount",
    ]);
    const drop = (from: number, to: number) =>
      checkSignal("drop_notice", "edge", "turn", {
        edge: "a",
        lane: "data",
        reason: "r",
        fromSequence: from,
        toSequence: to,
      });
    expect([drop(4, 4), drop(5, 4)?.field, drop(-1, 4)?.field]).toEqual([null, "toSequence", "fromSequence"]);
  });

  test("F-025 transport signals carry namespaced fields only, and node or edge decisions name one of them", () => {
    const dtmf = (fields: Record<string, unknown>) => checkSignal("dtmf", "adapter", "session", fields)?.field;
    expect([
      dtmf({ digit: "1" }),
      dtmf({ "sip.digit": "1" }),
      dtmf({ "sip.digit": "1", turn: 4 }),
      dtmf({ reason: "r" }),
    ]).toEqual(["namespaced", undefined, "namespaced", "namespaced"]);
    expect(checkSignal("node_error", "node_host", "turn", { node: "tts", reason: "threw" })).toBeNull();
    expect(checkSignal("node_error", "node_host", "turn", { reason: "threw" })?.field).toBe("edgeOrNode");
  });
});
