/**
 * The closed set of control signals (kernel.md §13) as data: who may emit each, in which scope, and what it must carry.
 * Anything else is refused, not repaired. Delivery classes are those of kernel.md §6.
 */
import {
  CONTROL_SIGNALS,
  type ControlSignal,
  type SignalEmitter,
  type SignalField,
  type SignalScope,
} from "./control-signal-table.ts";

export type {
  ControlSignal,
  SignalClass,
  SignalEmitter,
  SignalField,
  SignalScope,
  SignalSpec,
} from "./control-signal-table.ts";
export { CONTROL_SIGNALS } from "./control-signal-table.ts";

export interface SignalRefusal {
  /** "signal", "emitter", "scope", or the name of the offending field. */
  readonly field: string;
  readonly reason: string;
}

/** Whether `name` is a signal of the closed set. */
export function isControlSignal(name: string): name is ControlSignal {
  return Object.hasOwn(CONTROL_SIGNALS, name);
}

/** The signals an adapter, or the client behind it, may send to a runtime. */
export const INGRESS_SIGNALS: readonly ControlSignal[] = Object.keys(CONTROL_SIGNALS)
  .filter(isControlSignal)
  .filter((name) => {
    const { emitters } = CONTROL_SIGNALS[name];
    return emitters.includes("adapter") || emitters.includes("client");
  });

/**
 * Null when `emitter` may send `signal` in `scope` with `fields` (all it carries, reason included), else the first thing
 * wrong with it. `signal`, `emitter` and `scope` may be any text: they come from outside.
 */
export function checkSignal(
  signal: string,
  emitter: string,
  scope: string,
  fields: Readonly<Record<string, unknown>>,
): SignalRefusal | null {
  if (!isControlSignal(signal)) return { field: "signal", reason: "not a control signal" };
  const spec = CONTROL_SIGNALS[signal];
  if (!spec.emitters.includes(emitter as SignalEmitter)) {
    return { field: "emitter", reason: `${signal} is emitted by ${spec.emitters.join(", ")} only` };
  }
  if (!spec.scopes.includes(scope as SignalScope)) {
    return { field: "scope", reason: `${signal} has scope ${spec.scopes.join(" or ")}` };
  }
  for (const field of spec.fields) {
    const reason = checkField(field, fields);
    if (reason !== null) return { field, reason };
  }
  return null;
}

function checkField(field: SignalField, fields: Readonly<Record<string, unknown>>): string | null {
  switch (field) {
    case "amount":
      return wholeFrom(1, field, fields);
    case "lastDataSequence":
    case "lastMediaSequence":
    case "fromSequence":
    case "mediaUs":
    case "epochOld":
    case "epochNew":
      return wholeFrom(0, field, fields);
    case "toSequence":
      return (
        wholeFrom(0, field, fields) ??
        (Number(own(fields, field)) < Number(own(fields, "fromSequence")) ? "is below fromSequence" : null)
      );
    case "budgetLeft":
      return numberField(field, fields);
    case "edgeOrNode":
      return named("edge", fields) === null || named("node", fields) === null ? null : "needs edge or node";
    case "namespaced":
      return namespaced(fields);
    default:
      return named(field, fields);
  }
}

function own(fields: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(fields, name) ? fields[name] : undefined;
}

/** Names and ids: text that is not empty, or a whole number from the kernel's own counters. */
function named(name: string, fields: Readonly<Record<string, unknown>>): string | null {
  const value = own(fields, name);
  if (value === undefined) return "is missing";
  const good = typeof value === "string" ? value !== "" : Number.isSafeInteger(value);
  return good ? null : "must be text that is not empty, or a whole number";
}

function wholeFrom(least: number, name: string, fields: Readonly<Record<string, unknown>>): string | null {
  const value = own(fields, name);
  if (value === undefined) return "is missing";
  return Number.isSafeInteger(value) && Number(value) >= least ? null : `must be a whole number from ${least}`;
}

function numberField(name: string, fields: Readonly<Record<string, unknown>>): string | null {
  const value = own(fields, name);
  if (value === undefined) return "is missing";
  return Number.isFinite(value) ? null : "must be a number";
}

/** Transport signals carry at least one field, and each but `reason` has its namespace: "telephony.digit". */
function namespaced(fields: Readonly<Record<string, unknown>>): string | null {
  const names = Object.keys(fields).filter((name) => name !== "reason" && name !== "lastMediaSequence");
  if (names.length === 0) return "needs at least one namespaced field";
  return names.every((name) => /^[a-z][a-z0-9_]*\.[a-zA-Z][\w.]*$/.test(name))
    ? null
    : "each field needs its namespace";
}
