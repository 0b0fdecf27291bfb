import { equals } from "@bufbuild/protobuf";
import { ControlSchema } from "@rspp/gen/rspp/event/v1/control_pb";
import { type Envelope, EnvelopeSchema } from "@rspp/gen/rspp/event/v1/event_pb";
import { CONTROL_SIGNALS, type ControlSignal, type SignalField } from "@rspp/kernel/control-signals";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { constants, legalSignal, signals } from "./arbitrary.test.ts";
import { controlFromWire, controlToWire, signalClass } from "./control.ts";
import { fromEnvelope } from "./decode.ts";
import { toEnvelope } from "./envelope.ts";
import { emitterNames, signalNames, signalScopeNames } from "./names.ts";
import { reasonFromWire, reasonToWire, reasonWords } from "./reason.ts";
import { describeError } from "./wire-error.ts";
import type { WireControl } from "./wire-event.ts";

const contractName: Partial<Record<SignalField, string>> = {
  scope: "cancel_scope",
  lastDataSequence: "last_data_sequence",
  lastMediaSequence: "last_media_sequence",
  budgetLeft: "budget_left",
  edge: "edge_id",
  fromSequence: "sequence_range",
  toSequence: "sequence_range",
  syncDomain: "sync_domain",
  discontinuityId: "discontinuity_id",
  provider: "provider_id",
  invocation: "invocation_id",
  epochOld: "epoch_old",
  epochNew: "epoch_new",
  mediaUs: "media_time",
  policyId: "recording_policy_id",
  levelOld: "recording_level_old",
  levelNew: "recording_level_new",
  trigger: "recording_trigger",
  edgeOrNode: "edge_id or node_id",
  namespaced: "transport_fields",
};

const sampleOf = (signal: ControlSignal) => fc.sample(legalSignal(signal), { numRuns: 1, seed: 3 })[0]!;

function envelopeOf(control: WireControl, turn: number): Envelope {
  const made = toEnvelope(constants, { eventId: "r-1", turn, payload: control });
  if (!made.ok) throw new Error(describeError(made.error));
  return made.value;
}

function refusal(result: { ok: true } | { ok: false; error: Parameters<typeof describeError>[0] }): string {
  return result.ok ? "was accepted" : describeError(result.error);
}

function encoding(control: WireControl, turn: number): string {
  return refusal(toEnvelope(constants, { eventId: "r-1", turn, payload: control }));
}

describe.each(signals)("F-025 signal %s", (signal) => {
  const spec = CONTROL_SIGNALS[signal];

  test("round trip with every legal emitter, scope and field", () => {
    fc.assert(
      fc.property(legalSignal(signal, true), ({ control, turn }) => {
        const wire = controlToWire(control, turn);
        if (!wire.ok) throw new Error(describeError(wire.error));
        expect(controlFromWire(wire.value.control, turn, wire.value.facts)).toEqual({ ok: true, value: control });
      }),
      { numRuns: 40 },
    );
  });

  test("an illegal emitter or scope is refused by name, in both directions", () => {
    const { control, turn } = sampleOf(signal);
    const envelope = envelopeOf(control, turn);
    for (const emitter of [...emitterNames.names, "nobody"]) {
      if (spec.emitters.some((legal) => legal === emitter)) continue;
      expect(encoding({ ...control, emitter }, turn)).toContain("control.emitter");
      if (emitter === "nobody" || envelope.payload.case !== "control") continue;
      const foreign = structuredClone(envelope.payload.value);
      foreign.emitter = emitterNames.number(emitter)!;
      expect(refusal(controlFromWire(foreign, turn, {}))).toContain("control.emitter");
    }
    for (const scope of [...signalScopeNames.names, "galaxy"]) {
      if (spec.scopes.some((legal) => legal === scope)) continue;
      expect(encoding({ ...control, scope }, turn)).toContain("control.scope");
    }
    if (envelope.payload.case !== "control") throw new Error("no control");
    const legal = envelope.payload.value.scope;
    const legals = signalScopeNames.names.filter((name) =>
      spec.scopes.some((s) => s === name || name === "active_turn"),
    );
    for (const [i, scope] of ["", ...signalScopeNames.names].entries()) {
      if (i === legal || legals.includes(scope) || (scope === "" && legal === 0)) continue;
      const foreign = structuredClone(envelope.payload.value);
      foreign.scope = i;
      expect(refusal(controlFromWire(foreign, turn, {}))).toContain("control.scope");
    }
  });

  test("each missing field is refused by name, in both directions", () => {
    const { control, turn } = sampleOf(signal);
    for (const field of spec.fields) {
      const name = `control.${contractName[field] ?? field}`;
      const { edge: _e, node: _n, ...noPlace } = control.fields;
      const fields = field === "edgeOrNode" ? noPlace : field === "namespaced" ? {} : without(control.fields, field);
      const broken = field === "reason" ? { ...control, reason: "" } : { ...control, fields };
      expect(encoding(broken, turn)).toContain(name);
      const wire = controlToWire(control, turn);
      if (!wire.ok) throw new Error(describeError(wire.error));
      const message = wire.value.control;
      for (const unset of name === "control.edge_id or node_id" ? ["edge_id", "node_id"] : [name.slice(8)]) {
        const desc = ControlSchema.fields.find((f) => f.name === unset)!;
        if (desc.fieldKind === "map") message.transportFields = {};
        else delete (message as unknown as Record<string, unknown>)[desc.localName];
      }
      expect(refusal(controlFromWire(message, turn, {}))).toMatch(name);
    }
  });
});

function without(fields: Readonly<Record<string, string | number>>, name: string): Record<string, string | number> {
  return Object.fromEntries(Object.entries(fields).filter(([key]) => key !== name));
}

test("an unknown signal is refused in both directions", () => {
  const { control, turn } = sampleOf("close");
  expect(encoding({ ...control, signal: "explode" }, turn)).toContain("control.signal");
  const wire = controlToWire(control, turn);
  if (!wire.ok) throw new Error("refused");
  wire.value.control.signal = 999 as never;
  expect(refusal(controlFromWire(wire.value.control, turn, {}))).toContain("control.signal");
  expect(signalNames.names.length).toBe(signals.length);
});

test("scope and turn agree, but a cancel of a turn may mean whatever is in flight", () => {
  expect(encoding(sampleOf("close").control, 0)).toContain("turn_number");
  expect(encoding(sampleOf("connected").control, 4)).toContain("turn_number");
  const cancel = { ...sampleOf("cancel").control, scope: "turn" };
  expect(encoding(cancel, 0)).toBe("was accepted");
});

test("values their field cannot hold are refused by name", () => {
  const cases: [ControlSignal, Record<string, string | number>, string][] = [
    ["credit_grant", { amount: 1_000_001 }, "control.amount"],
    ["turn_open_proposed", { origin: "moon" }, "control.origin"],
    ["flow_xon", { lane: "fast" }, "control.lane"],
    ["flow_xon", { edge: "x".repeat(129) }, "control.edge_id"],
    ["recording_level_changed", { levelNew: "L9" }, "control.recording_level_new"],
    ["dtmf", { "dtmf.Digit": "5" }, "control.transport_fields"],
  ];
  for (const [signal, change, field] of cases) {
    const { control, turn } = sampleOf(signal);
    const text = encoding({ ...control, fields: { ...control.fields, ...change } }, turn);
    expect(text, field).toMatch(signal === "dtmf" ? /control\.(transport_fields|dtmf\.Digit)/ : field);
  }
});

test("a peer speaks only as the emitters it may", () => {
  const { control, turn } = sampleOf("commit");
  const options = { emitters: ["adapter", "client"] };
  expect(refusal(fromEnvelope(envelopeOf(control, turn), options))).toContain("control.emitter");
  const mute = { ...sampleOf("mute").control, emitter: "client" };
  expect(fromEnvelope(envelopeOf(mute, 0), options).ok).toBe(true);
});

describe("F-035 reasons", () => {
  test("every word of the enum maps to itself", () => {
    for (const word of reasonWords) {
      const { reason, reasonDetail } = reasonToWire(word);
      expect([reasonFromWire(reason), reasonDetail]).toEqual([word, ""]);
    }
    expect(reasonWords).toEqual(expect.arrayContaining(["barge_in", "timeout", "user_cancel", "provider_error"]));
  });

  test.each([
    ["edge_full", "queue_full"],
    ["stale_epoch_audio", "stale_epoch"],
    ["threw", "node_failure"],
    ["drained", "draining"],
    ["runtime_draining", "draining"],
    ["drain_deadline", "draining"],
    ["snapshot: too old", "internal"],
    ["", "internal"],
  ])("the kernel's %j travels as %s with its own word as the detail", (word, mapped) => {
    const { reason, reasonDetail } = reasonToWire(word);
    expect([reasonFromWire(reason), reasonDetail]).toEqual([mapped, word]);
  });

  test("a signal's own reason stands in where the kernel's word is not of the enum", () => {
    const { control, turn } = sampleOf("budget_warning");
    const wire = controlToWire({ ...control, reason: "turn_first_output", reasonDetail: "" }, turn);
    if (!wire.ok) throw new Error("refused");
    expect([reasonFromWire(wire.value.control.reason), wire.value.control.reasonDetail]).toEqual([
      "budget_low",
      "turn_first_output",
    ]);
  });

  test("a detail keeps to its bound in code points and to whole characters", () => {
    const { reasonDetail } = reasonToWire("x", `${"🎙".repeat(300)}\ud800`);
    expect(Array.from(reasonDetail).length).toBe(256);
    expect(reasonDetail.isWellFormed()).toBe(true);
  });
});

test("classes are the kernel's", () => {
  expect([signalClass("cancel"), signalClass("commit"), signalClass("connected"), signalClass("no")]).toEqual([
    "overtaking",
    "positioned",
    "none",
    null,
  ]);
  expect(
    equals(EnvelopeSchema, envelopeOf(sampleOf("close").control, 1), envelopeOf(sampleOf("close").control, 1)),
  ).toBe(true);
});
