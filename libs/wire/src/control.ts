/**
 * Control signals <-> the `Control` payload. The closed set (kernel.md §13) is enforced here in both directions: an
 * illegal signal, emitter, scope or a missing field is refused by name, never repaired. Protovalidate checks bounds only.
 */
import { create, getOption } from "@bufbuild/protobuf";
import { err, ok, type Result } from "@rspp/base/result";
import { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import { type Control, ControlSchema, ControlSignalSchema } from "@rspp/gen/rspp/event/v1/control_pb";
import { type ControlSignalRule, control_signal_rule } from "@rspp/gen/rspp/event/v1/control_rule_pb";
import {
  CONTROL_SIGNALS,
  checkSignal,
  isControlSignal,
  type SignalClass,
  type SignalRefusal,
} from "@rspp/kernel/control-signals";
import { contractField, readFields, writeField } from "./control-fields.ts";
import { emitterNames, signalNames, signalScopeNames } from "./names.ts";
import { reasonFromWire, reasonToWire } from "./reason.ts";
import { echo, fieldError, type WireError } from "./wire-error.ts";
import type { WireControl } from "./wire-event.ts";

const rules = new Map<number, ControlSignalRule>(
  ControlSignalSchema.values
    .filter((value) => value.number !== 0)
    .map((value) => [value.number, getOption(value, control_signal_rule)]),
);

/** The class of a signal on the link; `none` keeps its order among control (kernel.md §6). */
export function signalClass(signal: string): SignalClass | null {
  return isControlSignal(signal) ? CONTROL_SIGNALS[signal].class : null;
}

/** What a signal says by itself, where its own word for the reason is not one of the enum. */
const usualReason: ReadonlyMap<string, Reason> = new Map([
  ["budget_warning", Reason.BUDGET_LOW],
  ["budget_exhausted", Reason.BUDGET_EXHAUSTED],
  ["provider_error", Reason.PROVIDER_ERROR],
  ["provider_switch", Reason.PROVIDER_FAILURE],
  ["node_error", Reason.NODE_FAILURE],
  ["stall", Reason.TRANSPORT_STALL],
  ["stale_epoch_reject", Reason.STALE_EPOCH],
  ["deauthorized_drain", Reason.AUTHORITY_LOSS],
]);

/** Signals of which the kernel may cancel "whatever is in flight": a turn in scope needs no number. */
const cancels: ReadonlySet<string> = new Set(["barge_in", "stop", "cancel", "cancel_requested"]);

/**
 * Checks a signal against the closed set, as of turn `turn` (0: session scope). The refusal names the field in the
 * contract's words, e.g. `control.cancel_scope`.
 */
export function checkControl(control: WireControl, turn: number): WireError | null {
  const fields = control.reason === "" ? control.fields : { ...control.fields, reason: control.reason };
  const refusal = checkSignal(control.signal, control.emitter, control.scope, fields);
  if (refusal !== null) return refused(control.signal, refusal);
  if (control.scope === "session" && turn !== 0) {
    return fieldError("turn_number", "control.scope", "a session-scoped signal has no turn", "set turn_number to 0");
  }
  if (control.scope === "turn" && turn === 0 && !cancels.has(control.signal)) {
    return fieldError("turn_number", "control.scope", "a turn-scoped signal names its turn", "set turn_number");
  }
  return null;
}

function refused(signal: string, refusal: SignalRefusal): WireError {
  // The kernel has one word for the extent of a signal and for what a cancel cancels.
  const extent = refusal.field === "scope" && refusal.reason.startsWith(`${signal} has scope`);
  const field = extent ? "scope" : contractField(refusal.field);
  const row = extent || field === "signal" || field === "emitter";
  return fieldError(
    `control.${field}`,
    row ? `control.${field}` : "control.required",
    refusal.reason,
    row ? "see the table of control signals in the contract" : `set control.${field}`,
  );
}

/** A signal with all it carries, less what has no field of its own: that is in `facts`. */
export interface ControlOnWire {
  control: Control;
  /** Kernel facts without a field of their own; empty when there are none. */
  facts: Record<string, string | number>;
}

/** Encodes a signal. Refuses whatever {@link checkControl} refuses and values that their field cannot hold. */
export function controlToWire(control: WireControl, turn: number): Result<ControlOnWire, WireError> {
  const problem = checkControl(control, turn);
  if (problem !== null) return err(problem);
  const signal = signalNames.number(control.signal) ?? 0;
  const message = create(ControlSchema, {
    signal,
    emitter: emitterNames.number(control.emitter) ?? 0,
    scope: scopeToWire(rules.get(signal), control.scope),
  });
  if (control.reason !== "") {
    const { reason, reasonDetail } = reasonToWire(
      control.reason,
      control.reasonDetail,
      usualReason.get(control.signal),
    );
    message.reason = reason;
    message.reasonDetail = reasonDetail;
  }
  const facts: Record<string, string | number> = {};
  for (const [name, value] of Object.entries(control.fields)) {
    const written = writeField(message, name, value, control.fields);
    if (written === "unknown") facts[name] = value;
    else if (written !== "written")
      return err(
        fieldError(`control.${contractField(name)}`, "control.value", written, "send a value of the contract"),
      );
  }
  return ok({ control: message, facts });
}

/** The kernel says `turn` of what the contract calls an active turn, and writes the table's dash as session or turn. */
function scopeToWire(rule: ControlSignalRule | undefined, scope: string): number {
  if (rule === undefined || rule.scopes.length === 0) return 0;
  const exact = signalScopeNames.number(scope) ?? 0;
  if (rule.scopes.includes(exact)) return exact;
  const active = signalScopeNames.number("active_turn") ?? 0;
  return scope === "turn" && rule.scopes.includes(active) ? active : 0;
}

/** Decodes and checks a signal of turn `turn`; `facts` are the kernel facts that came in the extension. */
export function controlFromWire(
  message: Control,
  turn: number,
  facts: Readonly<Record<string, string | number>>,
): Result<WireControl, WireError> {
  const signal = signalNames.name(message.signal);
  const rule = rules.get(message.signal);
  if (rule === undefined) {
    return err(
      fieldError(
        "control.signal",
        "control.signal",
        `${echo(String(message.signal))} is not a control signal`,
        "use a signal of the closed set",
      ),
    );
  }
  const scope = scopeFromWire(rule, message.scope, turn);
  if (scope === null) {
    const legal = rule.scopes.map((s) => signalScopeNames.name(s)).join(" or ");
    return err(
      fieldError(
        "control.scope",
        "control.scope",
        `${signal} has scope ${legal === "" ? "none" : legal}`,
        "see the table of control signals in the contract",
      ),
    );
  }
  const fields = readFields(message);
  if (!fields.ok) return fields;
  const control: WireControl = {
    kind: "control",
    signal,
    emitter: emitterNames.name(message.emitter),
    scope,
    reason: reasonFromWire(message.reason),
    reasonDetail: message.reasonDetail,
    fields: { ...facts, ...fields.value },
  };
  const problem = checkControl(control, turn);
  return problem === null ? ok(control) : err(problem);
}

function scopeFromWire(rule: ControlSignalRule, scope: number, turn: number): string | null {
  if (rule.scopes.length === 0) return scope === 0 ? (turn === 0 ? "session" : "turn") : null;
  if (!rule.scopes.includes(scope)) return null;
  const name = signalScopeNames.name(scope);
  return name === "active_turn" ? "turn" : name;
}
